"""What the API says of publishers, earnings and payouts, as JSON w.Schema."""

from __future__ import annotations

from billing.payouts import Payout
from playground.api import schema_words as w

_EARNED: dict[str, w.Schema] = {
    "runs": w.said(w.WHOLE, "paid runs"),
    "charged_micros": w.said(w.MICROS, "what their buyers paid"),
    "earned_micros": w.said(w.MICROS, "the publisher's share of it"),
    "payable_micros": w.said(w.MICROS, "the part of that which is paid out"),
}
_PARTS: dict[str, w.Schema] = {
    "pending_micros": w.said(w.MICROS, "earned, and maturing"),
    "payable_micros": w.said(w.MICROS, "can be paid out; below 0: taken back after it was paid out"),
    "in_transit_micros": w.said(w.MICROS, "in payouts that are not decided"),
}
_UNPAYABLE = w.said(w.MICROS, "earned from granted credit and own runs: never paid out")

PUBLISHER = w.record(
    "A workspace's public face.",
    id=w.said(w.STRING, "its name: the first half of its models' ids"),
    title=w.said(w.STRING, "what people read; may be empty"),
    share_percent=w.said({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, "of each charge, a decimal"),
    is_closed=w.said(w.YES_NO, "whether it sells nothing any more; what it earned is still paid"),
    can_be_renamed=w.said(w.YES_NO, "whether no model stands under its name yet"),
    created_at=w.TIME,
    urls=w.record(
        "Where it is.",
        get=w.ADDRESS,
        earnings=w.ADDRESS,
        statements=w.ADDRESS,
        payouts=w.ADDRESS,
        page=w.ADDRESS,
    ),
)
EARNED_ON_DAY: w.Schema = {
    **w.record(
        "What was earned on a day, by the group that was asked for.",
        day=w.DAY,
        model=w.STRING,
        unit=w.STRING,
        **_EARNED,
    ),
    "required": ["day", *_EARNED],
}
EARNINGS = w.record(
    "What a publisher has, and what it earned in a range.",
    publisher=w.STRING,
    to=w.DAY,
    group_by={"enum": ["model", "unit"]},
    currency=w.CURRENCY,
    balance=w.record(
        "What there is now.",
        **_PARTS,
        paid_out_micros=w.said(w.MICROS, "what has left so far and has not come back"),
        unpayable_micros=_UNPAYABLE,
        next_payout_on=w.maybe(w.said(w.DAY, "when the next payout comes by itself; null: none does")),
        least_payout_micros=w.said(w.MICROS, "the smallest payout"),
        obstacle=w.maybe(w.said(w.STRING, "why nothing can be paid out now; null: it can")),
        maturing=w.array(w.record("What matures when.", on=w.DAY, amount_micros=w.MICROS)),
    ),
    total=w.record("The whole range.", **_EARNED),
    refunded_micros=w.said(w.MICROS, "what refunds in the range took back, of whatever runs"),
    results=w.array(w.ref("EarnedOnDay")),
)
EARNINGS["properties"] = {
    "publisher": EARNINGS["properties"]["publisher"],
    "from": w.DAY,
    **EARNINGS["properties"],
}
EARNINGS["required"] = list(EARNINGS["properties"])
STATEMENT = w.record(
    "A publisher's month: opening + earned − refunded + disputes − paid out + returned = closing, to the micro-dollar.",
    month=w.said({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}, "of UTC"),
    is_final=w.said(w.YES_NO, "whether the month is over"),
    runs=w.said(w.WHOLE, "paid runs"),
    opening_micros=w.MICROS,
    earned_micros=w.MICROS,
    refunded_micros=w.MICROS,
    disputes_micros=w.said(w.MICROS, "below 0: disputes of buyers' payments took it; above 0: gave it back"),
    paid_out_micros=w.MICROS,
    returned_micros=w.said(w.MICROS, "payouts that came back"),
    closing_micros=w.said(w.MICROS, "pending, payable and in transit together, at the end"),
    **_PARTS,
    unpayable_micros=_UNPAYABLE,
    currency=w.CURRENCY,
    urls=w.record("Where it is, and its page.", get=w.ADDRESS, page=w.ADDRESS),
)
PAYOUT = w.record(
    "One payment to a publisher.",
    id=w.identifier("po"),
    publisher=w.STRING,
    status={"enum": list(Payout.Status.values)},
    kind={"enum": list(Payout.Kind.values)},
    method=w.said({"enum": ["stripe", "manual"]}, "through Stripe, or by the operator's hand"),
    amount_micros=w.said(w.MICROS, "whole cents"),
    returned_micros=w.said(w.MICROS, "what of it came back"),
    currency=w.CURRENCY,
    waits_for={"enum": [*(one for one in Payout.Wait.values if one), None]},
    failure=w.maybe(w.said(w.STRING, "why it failed, for people")),
    created_at=w.TIME,
    settled_at=w.maybe(w.TIME),
    urls=w.record("Where it is, and the page of payouts.", get=w.ADDRESS, page=w.ADDRESS),
)

SCHEMAS: dict[str, w.Schema] = {
    "Publisher": PUBLISHER,
    "PublisherPage": w.page_of("Publisher"),
    "EarnedOnDay": EARNED_ON_DAY,
    "Earnings": EARNINGS,
    "Statement": STATEMENT,
    "StatementPage": w.page_of("Statement"),
    "Payout": PAYOUT,
    "PayoutPage": w.page_of("Payout"),
}
