"""Charges: what a payment became, with its place in the balance and its receipt."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from billing.gateway.client import API_PATH
from billing.sandbox import balances, cards, customers, events, store
from billing.sandbox.models import Thing
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json
from billing.sandbox.serving import Call, merged, only, serves


def page(path: str) -> str:
    """The address of a page that Stripe would host."""
    return f"{settings.PUBLIC_URL}{API_PATH}/{path}"


def make(
    intent: Thing, method: Thing, *, now: datetime, status: str, failure: tuple[str, str] | None = None
) -> Thing:
    """The charge of an attempt to pay: succeeded, pending or failed."""
    data = intent.data
    is_paid = status == "succeeded"
    name = store.new_name("charge")
    row = store.put(
        "charge",
        {
            "id": name,
            "amount": data["amount"],
            "amount_captured": data["amount"] if is_paid else 0,
            "amount_refunded": 0,
            "billing_details": method.data["billing_details"],
            "calculated_statement_descriptor": "VITRINE",
            "captured": is_paid,
            "currency": data["currency"],
            "customer": data["customer"],
            "description": data["description"],
            "disputed": False,
            "failure_code": failure[0] if failure else None,
            "failure_message": failure[1] if failure else None,
            "metadata": dict(data["metadata"]),
            "outcome": _outcome(status),
            "paid": is_paid,
            "payment_intent": intent.name,
            "payment_method": method.name,
            "payment_method_details": {"type": "card", "card": cards.as_charged(method.data["card"])},
            "receipt_email": data["receipt_email"],
            "receipt_url": page(f"receipts/{name}") if is_paid else None,
            "refunded": False,
            "status": status,
            "transfer_group": data["transfer_group"],
        },
        now=now,
        card=method.hidden["card"],
    )
    if is_paid:
        collect(row, now=now)
    elif status == "failed":
        events.tell("charge.failed", row.data, now=now)
    else:
        events.tell("charge.pending", row.data, now=now)
    return row


def collect(row: Thing, *, now: datetime) -> None:
    """The money of a charge comes into the balance."""
    data = row.data
    fee = balances.fee_of(data["amount"])
    is_quick = row.hidden["card"] == "bypassPending"
    entry = balances.write(
        "charge",
        data["amount"],
        source=row.name,
        fee=fee,
        currency=data["currency"],
        now=now,
        waits=not is_quick,
        description=data["description"] or "",
    )
    store.change(
        row,
        balance_transaction=entry.name,
        status="succeeded",
        paid=True,
        captured=True,
        amount_captured=data["amount"],
        outcome=_outcome("succeeded"),
        receipt_url=page(f"receipts/{row.name}"),
    )
    events.tell("charge.succeeded", row.data, now=now)


def fail(row: Thing, *, now: datetime, code: str, message: str) -> None:
    """A charge that was pending came to nothing."""
    store.change(row, status="failed", failure_code=code, failure_message=message, outcome=_outcome("failed"))
    events.tell("charge.failed", row.data, now=now)


def _outcome(status: str) -> Json:
    network = {"succeeded": "approved_by_network", "failed": "declined_by_network"}
    return {
        "network_status": network.get(status, "not_sent_to_network"),
        "reason": "generic_decline" if status == "failed" else None,
        "risk_level": "normal",
        "seller_message": "Payment complete." if status == "succeeded" else "The payment was not completed.",
        "type": {"succeeded": "authorized", "failed": "issuer_declined"}.get(status, "authorized"),
    }


reads("charge", "/v1/charges", "charge", by=("customer", "payment_intent", "transfer_group"))


@serves("post", "/v1/charges/{charge}")
def update(call: Call) -> Json:
    only(call, "metadata", "description", "receipt_email", "customer")
    row = store.find("charge", call.named["charge"])
    if call.get("customer"):
        customers.find(call.params["customer"])
    data = {
        name: call.params[name]
        for name in ("description", "receipt_email", "customer")
        if name in call.params
    }
    store.change(row, metadata=merged(row.data["metadata"], call.get("metadata")), **data)
    events.tell("charge.updated", row.data, now=call.now)
    return dict(row.data)
