"""What the API says of publishers, earnings and payouts, as JSON Schema."""

from __future__ import annotations

from billing.payouts import Payout
from playground.api.schema_words import (
    ADDRESS,
    CURRENCY,
    DAY,
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

_EARNED: dict[str, Schema] = {
    "runs": said(WHOLE, "paid runs"),
    "charged_micros": said(MICROS, "what their buyers paid"),
    "earned_micros": said(MICROS, "the publisher's share of it"),
    "payable_micros": said(MICROS, "the part of that which is paid out"),
}
_PARTS: dict[str, Schema] = {
    "pending_micros": said(MICROS, "earned, and maturing"),
    "payable_micros": said(MICROS, "can be paid out; below 0: taken back after it was paid out"),
    "in_transit_micros": said(MICROS, "in payouts that are not decided"),
}
_UNPAYABLE = said(MICROS, "earned from granted credit and own runs: never paid out")

PUBLISHER = record(
    "A workspace's public face.",
    id=said(STRING, "its name: the first half of its models' ids"),
    title=said(STRING, "what people read; may be empty"),
    share_percent=said({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, "of each charge, a decimal"),
    is_closed=said(YES_NO, "whether it sells nothing any more; what it earned is still paid"),
    can_be_renamed=said(YES_NO, "whether no model stands under its name yet"),
    created_at=TIME,
    urls=record(
        "Where it is.", get=ADDRESS, earnings=ADDRESS, statements=ADDRESS, payouts=ADDRESS, page=ADDRESS
    ),
)
EARNED_ON_DAY: Schema = {
    **record(
        "What was earned on a day, by the group that was asked for.",
        day=DAY,
        model=STRING,
        unit=STRING,
        **_EARNED,
    ),
    "required": ["day", *_EARNED],
}
EARNINGS = record(
    "What a publisher has, and what it earned in a range.",
    publisher=STRING,
    to=DAY,
    group_by={"enum": ["model", "unit"]},
    currency=CURRENCY,
    balance=record(
        "What there is now.",
        **_PARTS,
        paid_out_micros=said(MICROS, "what has left so far and has not come back"),
        unpayable_micros=_UNPAYABLE,
        next_payout_on=maybe(said(DAY, "when the next payout comes by itself; null: none does")),
        least_payout_micros=said(MICROS, "the smallest payout"),
        obstacle=maybe(said(STRING, "why nothing can be paid out now; null: it can")),
        maturing=array(record("What matures when.", on=DAY, amount_micros=MICROS)),
    ),
    total=record("The whole range.", **_EARNED),
    refunded_micros=said(MICROS, "what refunds in the range took back, of whatever runs"),
    results=array(ref("EarnedOnDay")),
)
EARNINGS["properties"] = {
    "publisher": EARNINGS["properties"]["publisher"],
    "from": DAY,
    **EARNINGS["properties"],
}
EARNINGS["required"] = list(EARNINGS["properties"])
STATEMENT = record(
    "A publisher's month: opening + earned − refunded − paid out + returned = closing, to the micro-dollar.",
    month=said({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}, "of UTC"),
    is_final=said(YES_NO, "whether the month is over"),
    runs=said(WHOLE, "paid runs"),
    opening_micros=MICROS,
    earned_micros=MICROS,
    refunded_micros=MICROS,
    paid_out_micros=MICROS,
    returned_micros=said(MICROS, "payouts that came back"),
    closing_micros=said(MICROS, "pending, payable and in transit together, at the end"),
    **_PARTS,
    unpayable_micros=_UNPAYABLE,
    currency=CURRENCY,
    urls=record("Where it is, and its page.", get=ADDRESS, page=ADDRESS),
)
PAYOUT = record(
    "One payment to a publisher.",
    id=identifier("po"),
    publisher=STRING,
    status={"enum": list(Payout.Status.values)},
    kind={"enum": list(Payout.Kind.values)},
    method=said({"enum": ["stripe", "manual"]}, "through Stripe, or by the operator's hand"),
    amount_micros=said(MICROS, "whole cents"),
    returned_micros=said(MICROS, "what of it came back"),
    currency=CURRENCY,
    waits_for={"enum": [*(one for one in Payout.Wait.values if one), None]},
    failure=maybe(said(STRING, "why it failed, for people")),
    created_at=TIME,
    settled_at=maybe(TIME),
    urls=record("Where it is, and the page of payouts.", get=ADDRESS, page=ADDRESS),
)

SCHEMAS: dict[str, Schema] = {
    "Publisher": PUBLISHER,
    "PublisherPage": page_of("Publisher"),
    "EarnedOnDay": EARNED_ON_DAY,
    "Earnings": EARNINGS,
    "Statement": STATEMENT,
    "StatementPage": page_of("Statement"),
    "Payout": PAYOUT,
    "PayoutPage": page_of("Payout"),
}
