"""Refunds: a payment goes back, all of it or in parts; sometimes it cannot."""

from __future__ import annotations

from datetime import datetime

from billing.sandbox import balances, events, store
from billing.sandbox.models import Thing
from billing.sandbox.modes import behaviour
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json, Refused, missing
from billing.sandbox.serving import Call, merged, only, serves


@serves("post", "/v1/refunds")
def create(call: Call) -> Json:
    only(call, "amount", "charge", "payment_intent", "reason", "metadata")
    charge = _charge(call)
    data = charge.data
    left = data["amount"] - data["amount_refunded"]
    if data["disputed"]:
        raise Refused("This charge has been charged back.", code="charge_disputed")
    if left == 0:
        raise Refused(f"Charge {charge.name} has already been refunded.", code="charge_already_refunded")
    amount = call.params.get("amount", left)
    if not 0 < amount <= left:
        raise Refused(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    row = _make(charge, amount, call)
    events.tell("refund.created", row.data, now=call.now, key=call.key)
    if row.data["status"] == "succeeded":
        events.tell("charge.refunded", charge.data, now=call.now)
    return dict(row.data)


def _charge(call: Call) -> Thing:
    if ("charge" in call.params) == ("payment_intent" in call.params):
        raise Refused(
            "One of these params must be provided: charge, payment_intent.", code="parameter_missing"
        )
    if "charge" in call.params:
        charge = store.find("charge", call.params["charge"], param="charge")
    else:
        intent = store.find("payment_intent", call.params["payment_intent"], param="payment_intent")
        if not intent.data["latest_charge"]:
            raise Refused(
                "This PaymentIntent does not have a successful charge to refund.", param="payment_intent"
            )
        charge = store.find("charge", intent.data["latest_charge"])
    if not charge.data["paid"]:
        raise Refused("This charge was not paid, so it cannot be refunded.", param="charge")
    return charge


def _make(charge: Thing, amount: int, call: Call) -> Thing:
    data, now = charge.data, call.now
    name = store.new_name("refund")
    waits = behaviour().refunds == "pending"
    row = store.put(
        "refund",
        {
            "id": name,
            "amount": amount,
            "charge": charge.name,
            "currency": data["currency"],
            "customer": data["customer"],
            "destination_details": {"type": "card", "card": {"type": "refund", "reference_status": "pending"}},
            "metadata": merged({}, call.get("metadata")),
            "payment_intent": data["payment_intent"],
            "payment_method": data["payment_method"],
            "pending_reason": "processing" if waits else None,
            "reason": call.get("reason"),
            "status": "pending" if waits else "succeeded",
        },
        now=now,
        fails=behaviour().refunds == "fail" or charge.hidden["card"] == "keeps_refund"
        or charge.hidden["card"] == "refundFail",
    )  # fmt: skip
    out = balances.write("refund", -amount, source=name, currency=data["currency"], now=now)
    store.change(row, balance_transaction=out.name)
    total = data["amount_refunded"] + amount
    store.change(charge, amount_refunded=total, refunded=total == data["amount"])
    return row


def succeed(row: Thing, *, now: datetime) -> None:
    """A refund that was under way has arrived."""
    store.change(row, status="succeeded", pending_reason=None)
    events.tell("refund.updated", row.data, now=now)
    events.tell("charge.refunded", store.find("charge", row.data["charge"]).data, now=now)


def fail(row: Thing, *, now: datetime) -> None:
    """A refund comes back, even one that seemed done. Raises Refused if it had failed before."""
    if row.data["status"] not in {"succeeded", "pending"}:
        raise Refused(f"This refund is {row.data['status']}.")
    charge = store.find("charge", row.data["charge"])
    data = row.data
    back = balances.write(
        "refund_failure", data["amount"], source=row.name, currency=data["currency"], now=now
    )
    left = charge.data["amount_refunded"] - data["amount"]
    store.change(charge, amount_refunded=left, refunded=False)
    row.hidden = {**row.hidden, "fails": False}
    store.change(
        row,
        status="failed",
        failure_reason="expired_or_canceled_card",
        failure_balance_transaction=back.name,
        pending_reason=None,
    )
    events.tell("refund.updated", row.data, now=now)
    events.tell("refund.failed", row.data, now=now)


def advance(*, now: datetime) -> None:
    """What time brings: refunds that are to fail do, and those under way arrive, unless they are to wait."""
    for row in list(Thing.objects.filter(kind="refund", hidden__fails=True, data__status="succeeded")):
        fail(row, now=now)
    mode = behaviour().refunds
    if mode != "pending":
        for row in list(Thing.objects.filter(kind="refund", data__status="pending")):
            if mode == "fail" or row.hidden["fails"]:
                fail(row, now=now)
            else:
                succeed(row, now=now)


reads("refund", "/v1/refunds", "refund", by=("charge", "payment_intent"))


@serves("post", "/v1/refunds/{refund}")
def update(call: Call) -> Json:
    only(call, "metadata")
    row = Thing.objects.filter(kind="refund", name=call.named["refund"]).first()
    if row is None:
        raise missing("refund", call.named["refund"])
    store.change(row, metadata=merged(row.data["metadata"], call.get("metadata")))
    events.tell("refund.updated", row.data, now=call.now)
    return dict(row.data)
