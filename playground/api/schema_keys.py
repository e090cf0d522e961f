"""What answers about keys, usage and receipts look like."""

from __future__ import annotations

from billing.ledger import RefundSide
from billing.limits import KINDS, PERIODS
from billing.usage import Group
from marketplace.keys import SCOPES
from marketplace.models import ApiKey
from playground.api.schema_words import (
    ADDRESS,
    CURRENCY,
    DAY,
    LINE,
    MICROS,
    STRING,
    TIME,
    WHOLE,
    YES_NO,
    Schema,
    array,
    identifier,
    maybe,
    page_of,
    record,
    ref,
    said,
)
from playground.models import Prediction
from playground.refunds import REASONS

_KEY: dict[str, Schema] = {
    "id": identifier("k"),
    "name": STRING,
    "kind": {"enum": list(ApiKey.Kind.values)},
    "prefix": said(STRING, "what the key begins with, to tell it by"),
    "scopes": array({"enum": list(SCOPES)}),
    "origins": said(array(STRING), "of a publishable key: where its pages are"),
    "models": said(array(STRING), "of a publishable key: what it runs"),
    "is_active": said(YES_NO, "neither revoked nor expired"),
    "limit_day_micros": maybe(said(MICROS, "the most it may spend in a day of UTC; null is no limit")),
    "limit_month_micros": maybe(said(MICROS, "the same in a month of UTC")),
    "spent_day_micros": said(MICROS, "charged today"),
    "spent_month_micros": said(MICROS, "charged this month"),
    "currency": CURRENCY,
    "created_at": TIME,
    "expires_at": maybe(TIME),
    "revoked_at": maybe(TIME),
    "last_used_at": maybe(TIME),
    "previous_until": maybe(said(TIME, "until then the secret before the last rotation works too")),
    "urls": record("Where it is.", get=ADDRESS),
}
_SUMS: dict[str, Schema] = {
    "runs": said(WHOLE, "settled runs"),
    "not_charged_runs": said(WHOLE, "those of them that failed or were canceled for nothing"),
    "amount_micros": MICROS,
    "refunded_micros": said(MICROS, "given back in that time, of whatever runs; not taken off the amount"),
}
_BY: dict[Group, tuple[str, Schema]] = {
    Group.DAY: ("UsageOfDay", DAY),
    Group.MODEL: ("UsageOfModel", said(STRING, "`publisher/name`")),
    Group.KEY: (
        "UsageOfKey",
        maybe(record("The key; null for runs without one.", id=identifier("k"), name=STRING, prefix=STRING)),
    ),
    Group.MEMBER: (
        "UsageOfMember",
        maybe(record("Who asked; null where a key did.", id=identifier("u"), name=STRING)),
    ),
}
_USAGE: dict[str, Schema] = {
    "from": said(DAY, "the first day, of UTC"),
    "to": said(DAY, "the last day, in it"),
    "group_by": {"enum": [group.value for group in Group]},
    "currency": CURRENCY,
    "total": ref("UsageSums"),
    "results": array({"anyOf": [ref(name) for name, _ in _BY.values()]}),
}
_PERCENT: Schema = {"type": "integer", "minimum": 1, "maximum": 100}
_LIMIT: dict[str, Schema] = {
    "scope": said({"enum": list(KINDS)}, "what kind of thing it is on"),
    "target": maybe(
        said(STRING, "the id of the key or member, `publisher/name`, or the slug; null for who is gone")
    ),
    "name": said(STRING, "what that is called"),
    "period": {"enum": list(PERIODS)},
    "limit_micros": MICROS,
    "spent_micros": said(MICROS, "charged, or held by open runs, in the present period"),
}
LIMIT = record(
    "A spend limit as it stands.",
    id=identifier("l"),
    **_LIMIT,
    is_reached=said(YES_NO, "whether it is used up, or has refused a run in this period"),
    currency=CURRENCY,
    alert_at=said(array(_PERCENT), "at which percents of it the workspace is told"),
    resets_at=maybe(said(TIME, "when the period ends; null for a lifetime")),
    created_at=TIME,
    urls=record("Where it is.", get=ADDRESS),
)
LIMIT_ALERT = record(
    "The `data` of the event `limit.alert`: a part of a spend limit is used.",
    **_LIMIT,
    percent=said(_PERCENT, "the part that was reached"),
    is_refusing=said(YES_NO, "whether runs are refused now"),
    resets_at=maybe(TIME),
    currency=CURRENCY,
)
REFUND = record(
    "A part of a charge that was given back, as credit of the kind that it was paid from.",
    id=identifier("rf"),
    amount_micros=MICROS,
    granted_micros=said(MICROS, "the part of it that is granted credit again"),
    bought_micros=said(MICROS, "the part of it that is bought credit again"),
    reason={"enum": [reason for reason, _ in REASONS]},
    detail=said(STRING, "the reason in words"),
    note=said(STRING, "what who gave it back wrote to you"),
    by={"enum": list(RefundSide.values)},
    created_at=TIME,
)
RECEIPT = record(
    "What one run cost, and why.",
    prediction=identifier("p"),
    is_deleted=said(YES_NO, "the run is gone, its receipt stays"),
    model=STRING,
    version=maybe(said(STRING, "the sha256 of its manifest")),
    offer=maybe(record("What served it: a lane of engines.", kind=STRING, lane=STRING)),
    status={"enum": list(Prediction.Status.values)},
    via=maybe(STRING),
    attempts=maybe(said(WHOLE, "how often it was begun; none but the last can be charged")),
    lines=said(array(LINE), "what was quoted"),
    charged_lines=said(array(LINE), "what was charged; empty where nothing was"),
    quoted_micros=MICROS,
    held_micros=said(MICROS, "set aside when it was accepted"),
    charged_micros=maybe(said(MICROS, "null while it is open")),
    released_micros=maybe(said(MICROS, "held and not charged; null while it is open")),
    granted_micros=maybe(said(MICROS, "the part of the charge that was paid from granted credit")),
    bought_micros=maybe(said(MICROS, "the part that was paid from credit that was bought")),
    tax_micros=said(MICROS, "always 0: credit is taxed when it is bought, and runs are paid from credit"),
    refunded_micros=said(MICROS, "given back of the charge, after it"),
    refunds=array(ref("Refund")),
    currency=CURRENCY,
    why=said(array(STRING), "why it cost what it cost, in sentences for people"),
    queued_ms=maybe(said(WHOLE, "from the request to the start of the last attempt")),
    ran_ms=maybe(said(WHOLE, "from there to the end")),
    created_at=TIME,
    started_at=maybe(TIME),
    settled_at=maybe(TIME),
    urls=record(
        "Where it is; null where the run is deleted.",
        get=ADDRESS,
        prediction=maybe(ADDRESS),
        page=maybe(ADDRESS),
    ),
)
_INVOICE_URLS = record("Where it is.", get=ADDRESS, pdf=ADDRESS, page=ADDRESS)
_MONTH: Schema = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}
_SHORT: dict[str, Schema] = {
    "month": _MONTH,
    "number": maybe(said(STRING, "null until the month is over and its invoice was written")),
    "charged_micros": said(MICROS, "for runs that were settled in the month"),
    "refunded_micros": said(MICROS, "given back in the month, of whatever charges"),
    "currency": CURRENCY,
    "urls": _INVOICE_URLS,
}
INVOICE = record(
    "A month. opening + movements + refunded - charged = closing.",
    **_SHORT,
    is_final=said(YES_NO, "the month is over: nothing of this changes any more"),
    workspace=STRING,
    recipient=record("Whom it is made out to.", name=STRING, address=STRING, tax_id=STRING),
    sender=said(array(STRING), "who issues it, line by line"),
    lines=array(
        record(
            "One unit of one model at one price. Each run is rounded up once, so that the amount may be above quantity "
            "times price, by a micro-dollar a run.",
            model=STRING,
            unit=STRING,
            quantity=STRING,
            unit_price=STRING,
            amount_micros=MICROS,
            runs=WHOLE,
            is_part=said(YES_NO, "of runs that were canceled while they ran, charged in part"),
        )
    ),
    movements=said(
        array(record("What moved credit other than runs.", kind=STRING, detail=STRING, amount_micros=MICROS)),
        "credit that was bought, granted, refunded or expired",
    ),
    runs=said(WHOLE, "settled runs"),
    not_charged_runs=WHOLE,
    opening_micros=said(MICROS, "the balance when the month began"),
    closing_micros=said(MICROS, "the balance at its end, or now"),
    due_micros=said(MICROS, "always 0: runs are paid from credit as they end"),
    projected_micros=maybe(said(MICROS, "what the present month comes to at this pace")),
    issued_at=maybe(TIME),
)
SCHEMAS: dict[str, Schema] = {
    "Key": record("An API key, without its secret.", **_KEY),
    "KeyWithSecret": record(
        "A key as it is made or rotated.",
        **_KEY,
        key=maybe(
            said(
                STRING,
                "the whole key, shown this once; null where a repeated request only names what it made",
            )
        ),
    ),
    "CallingKey": record(
        "The key that asks.", **_KEY, workspace=said(STRING, "the slug of the workspace that it is of")
    ),
    "UsageSums": record("What runs came to.", **_SUMS),
    **{
        name: record(f"What one {group} came to.", **{group.value: one}, **_SUMS)
        for group, (name, one) in _BY.items()
    },
    "Usage": record("What was spent in a range of days; by day, every day of it is there.", **_USAGE),
    "Receipt": RECEIPT,
    "Limit": LIMIT,
    "LimitAlert": LIMIT_ALERT,
    "LimitPage": page_of("Limit"),
    "Refund": REFUND,
    "Invoice": INVOICE,
    "InvoiceInShort": record("A month in short.", **_SHORT),
    "InvoicePage": page_of("InvoiceInShort"),
    "KeyPage": page_of("Key"),
    "ReceiptPage": page_of("Receipt"),
}
