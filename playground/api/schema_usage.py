"""What answers about usage, receipts and invoices look like."""

from __future__ import annotations

from billing.ledger import RefundSide
from billing.usage import Group
from playground.api import schema_words as w
from playground.models import Prediction
from playground.refunds import REASONS

_SUMS: dict[str, w.Schema] = {
    "runs": w.said(w.WHOLE, "settled runs"),
    "not_charged_runs": w.said(w.WHOLE, "those of them that failed or were canceled for nothing"),
    "amount_micros": w.MICROS,
    "refunded_micros": w.said(
        w.MICROS, "given back in that time, of whatever runs; not taken off the amount"
    ),
}
_BY: dict[Group, tuple[str, w.Schema]] = {
    Group.DAY: ("UsageOfDay", w.DAY),
    Group.MODEL: ("UsageOfModel", w.said(w.STRING, "`publisher/name`")),
    Group.KEY: (
        "UsageOfKey",
        w.maybe(
            w.record(
                "The key; null for runs without one.", id=w.identifier("k"), name=w.STRING, prefix=w.STRING
            )
        ),
    ),
    Group.MEMBER: (
        "UsageOfMember",
        w.maybe(w.record("Who asked; null where a key did.", id=w.identifier("u"), name=w.STRING)),
    ),
}
_USAGE: dict[str, w.Schema] = {
    "from": w.said(w.DAY, "the first day, of UTC"),
    "to": w.said(w.DAY, "the last day, in it"),
    "group_by": {"enum": [group.value for group in Group]},
    "currency": w.CURRENCY,
    "total": w.ref("UsageSums"),
    "results": w.array({"anyOf": [w.ref(name) for name, _ in _BY.values()]}),
}
REFUND = w.record(
    "A part of a charge that was given back, as credit of the kind that it was paid from.",
    id=w.identifier("rf"),
    amount_micros=w.MICROS,
    granted_micros=w.said(w.MICROS, "the part of it that is granted credit again"),
    bought_micros=w.said(w.MICROS, "the part of it that is bought credit again"),
    reason={"enum": [reason for reason, _ in REASONS]},
    detail=w.said(w.STRING, "the reason in words"),
    note=w.said(w.STRING, "what who gave it back wrote to you"),
    by={"enum": list(RefundSide.values)},
    created_at=w.TIME,
)
RECEIPT = w.record(
    "What one run cost, and why.",
    prediction=w.identifier("p"),
    is_deleted=w.said(w.YES_NO, "the run is gone, its receipt stays"),
    model=w.STRING,
    version=w.maybe(w.said(w.STRING, "the sha256 of its manifest")),
    offer=w.maybe(w.record("What served it: a lane of engines.", kind=w.STRING, lane=w.STRING)),
    status={"enum": list(Prediction.Status.values)},
    via=w.maybe(w.STRING),
    attempts=w.maybe(w.said(w.WHOLE, "how often it was begun; none but the last can be charged")),
    lines=w.said(w.array(w.LINE), "what was quoted"),
    charged_lines=w.said(w.array(w.LINE), "what was charged; empty where nothing was"),
    quoted_micros=w.MICROS,
    held_micros=w.said(w.MICROS, "set aside when it was accepted"),
    charged_micros=w.maybe(w.said(w.MICROS, "null while it is open")),
    released_micros=w.maybe(w.said(w.MICROS, "held and not charged; null while it is open")),
    granted_micros=w.maybe(w.said(w.MICROS, "the part of the charge that was paid from granted credit")),
    bought_micros=w.maybe(w.said(w.MICROS, "the part that was paid from credit that was bought")),
    tax_micros=w.said(w.MICROS, "always 0: credit is taxed when it is bought, and runs are paid from credit"),
    refunded_micros=w.said(w.MICROS, "given back of the charge, after it"),
    refunds=w.array(w.ref("Refund")),
    currency=w.CURRENCY,
    why=w.said(w.array(w.STRING), "why it cost what it cost, in sentences for people"),
    queued_ms=w.maybe(w.said(w.WHOLE, "from the request to the start of the last attempt")),
    ran_ms=w.maybe(w.said(w.WHOLE, "from there to the end")),
    created_at=w.TIME,
    started_at=w.maybe(w.TIME),
    settled_at=w.maybe(w.TIME),
    urls=w.record(
        "Where it is; null where the run is deleted.",
        get=w.ADDRESS,
        prediction=w.maybe(w.ADDRESS),
        page=w.maybe(w.ADDRESS),
    ),
)
_INVOICE_URLS = w.record("Where it is.", get=w.ADDRESS, pdf=w.ADDRESS, page=w.ADDRESS)
_MONTH: w.Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}
_SHORT: dict[str, w.Schema] = {
    "month": _MONTH,
    "number": w.maybe(w.said(w.STRING, "null until the month is over and its invoice was written")),
    "charged_micros": w.said(w.MICROS, "for runs that were settled in the month"),
    "refunded_micros": w.said(w.MICROS, "given back in the month, of whatever charges"),
    "currency": w.CURRENCY,
    "urls": _INVOICE_URLS,
}
INVOICE = w.record(
    "A month. opening + movements + refunded - charged = closing.",
    **_SHORT,
    is_final=w.said(w.YES_NO, "the month is over: nothing of this changes any more"),
    workspace=w.STRING,
    recipient=w.record("Whom it is made out to.", name=w.STRING, address=w.STRING, tax_id=w.STRING),
    sender=w.said(w.array(w.STRING), "who issues it, line by line"),
    lines=w.array(
        w.record(
            "One unit of one model at one price. Each run is rounded up once, so that the amount may be above quantity "
            "times price, by a micro-dollar a run.",
            model=w.STRING,
            unit=w.STRING,
            quantity=w.STRING,
            unit_price=w.STRING,
            amount_micros=w.MICROS,
            runs=w.WHOLE,
            is_part=w.said(w.YES_NO, "of runs that were canceled while they ran, charged in part"),
        )
    ),
    movements=w.said(
        w.array(
            w.record(
                "What moved credit other than runs.", kind=w.STRING, detail=w.STRING, amount_micros=w.MICROS
            )
        ),
        "credit that was bought, granted, refunded or expired",
    ),
    runs=w.said(w.WHOLE, "settled runs"),
    not_charged_runs=w.WHOLE,
    opening_micros=w.said(w.MICROS, "the balance when the month began"),
    closing_micros=w.said(w.MICROS, "the balance at its end, or now"),
    due_micros=w.said(w.MICROS, "always 0: runs are paid from credit as they end"),
    projected_micros=w.maybe(w.said(w.MICROS, "what the present month comes to at this pace")),
    issued_at=w.maybe(w.TIME),
)
SCHEMAS: dict[str, w.Schema] = {
    "UsageSums": w.record("What runs came to.", **_SUMS),
    **{
        name: w.record(f"What one {group} came to.", **{group.value: one}, **_SUMS)
        for group, (name, one) in _BY.items()
    },
    "Usage": w.record("What was spent in a range of days; by day, every day of it is there.", **_USAGE),
    "Receipt": RECEIPT,
    "ReceiptPage": w.page_of("Receipt"),
    "Refund": REFUND,
    "Invoice": INVOICE,
    "InvoiceInShort": w.record("A month in short.", **_SHORT),
    "InvoicePage": w.page_of("InvoiceInShort"),
}
