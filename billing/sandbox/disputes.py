"""Disputes: the holder of a card takes the money back, and a bank decides who was right."""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.sandbox import balances, events, store
from billing.sandbox.models import Thing
from billing.sandbox.reading import reads
from billing.sandbox.refusals import Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves

FEE = 1500  # cents that a dispute costs, whoever wins
DAYS_TO_ANSWER = 7


def open_for(charge: Thing, *, now: datetime, reason: str = "fraudulent", amount: int | None = None) -> Thing:
    """The holder disputes a charge: the money is withdrawn at once. Raises Refused if it cannot be."""
    data = charge.data
    left = data["amount"] - data["amount_refunded"]
    cents = left if amount is None else amount
    if not data["paid"] or data["disputed"] or not 0 < cents <= left:
        raise Refused("The charge cannot be disputed: it is not paid, disputed already, or refunded.")
    evidence = {
        "due_by": int((now + timedelta(days=DAYS_TO_ANSWER)).timestamp()),
        "enhanced_eligibility": {},
        "has_evidence": False,
        "past_due": False,
        "submission_count": 0,
        "submission_method": "not_submitted",
    }
    row = store.put(
        "dispute",
        {
            "amount": cents,
            "balance_transactions": [],
            "charge": charge.name,
            "currency": data["currency"],
            "enhanced_eligibility_types": [],
            "evidence": {"enhanced_evidence": {}},
            "evidence_details": evidence,
            "is_charge_refundable": False,
            "metadata": {},
            "payment_intent": data["payment_intent"],
            "reason": reason,
            "status": "needs_response",
        },
        now=now,
    )
    store.change(charge, disputed=True)
    events.tell("charge.dispute.created", row.data, now=now)
    _move(row, -cents, fee=FEE, now=now)
    events.tell("charge.dispute.funds_withdrawn", row.data, now=now)
    return row


def close(row: Thing, status: str, *, now: datetime) -> None:
    """The bank decides: `won` gives the money back, `lost` does not. Raises Refused if it had decided before."""
    if row.data["status"] in {"won", "lost", "warning_closed"}:
        raise unexpected("This dispute is already closed.", code="dispute_closed")
    store.change(row, status=status)
    if status == "won":
        _move(row, row.data["amount"], now=now)
        events.tell("charge.dispute.funds_reinstated", row.data, now=now)
    events.tell("charge.dispute.closed", row.data, now=now)


def _move(row: Thing, amount: int, *, now: datetime, fee: int = 0) -> None:
    entry = balances.write(
        "adjustment",
        amount,
        source=row.name,
        fee=fee,
        currency=row.data["currency"],
        now=now,
        description="Chargeback withdrawal" if amount < 0 else "Chargeback reversal",
    )
    store.change(row, balance_transactions=[*row.data["balance_transactions"], entry.data])


reads("dispute", "/v1/disputes", "dispute", by=("charge", "payment_intent"))


@serves("post", "/v1/disputes/{dispute}")
def update(call: Call) -> Json:
    only(call, "evidence", "metadata", "submit")
    row = store.find("dispute", call.named["dispute"])
    if row.data["status"] not in {"needs_response", "under_review"}:
        raise unexpected("This dispute is already closed.", code="dispute_closed")
    evidence = {**row.data["evidence"], **(call.get("evidence") or {})}
    details = {**row.data["evidence_details"], "has_evidence": len(evidence) > 1}
    is_sent = call.params.get("submit", True) and bool(call.get("evidence"))
    if is_sent:
        details["submission_count"] += 1
        details["submission_method"] = "manual"
    store.change(
        row,
        evidence=evidence,
        evidence_details=details,
        metadata=merged(row.data["metadata"], call.get("metadata")),
        status="under_review" if is_sent else row.data["status"],
    )
    events.tell("charge.dispute.updated", row.data, now=call.now)
    return dict(row.data)


@serves("post", "/v1/disputes/{dispute}/close")
def give_in(call: Call) -> Json:
    row = store.find("dispute", call.named["dispute"])
    close(row, "lost", now=call.now)
    return dict(row.data)
