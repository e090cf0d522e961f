"""What the API says of credit, how it comes in, and what bounds it, as JSON Schema."""

from __future__ import annotations

from billing import topups
from billing.limits import KINDS, PERIODS
from playground.api import schema_words as w

BALANCE = w.record(
    "Credit. `available` is what can be spent: the balance without what open runs hold.",
    workspace=w.STRING,
    balance_micros=w.MICROS,
    held_micros=w.MICROS,
    available_micros=w.MICROS,
    granted_micros=w.said(w.MICROS, "the part of the balance that was a gift; it is spent first"),
    currency=w.CURRENCY,
)
TOP_UP = w.record(
    "One payment for credit. `open` waits to be paid at `urls.pay`; once it is `paid` its credit can be spent.",
    id=w.identifier("tu"),
    kind={"enum": list(topups.TopUp.Kind.values)},
    status={"enum": list(topups.TopUp.Status.values)},
    amount_micros=w.said(w.MICROS, "the credit, without tax"),
    paid_micros=w.said(w.MICROS, "what the card paid, tax included; 0 before it did"),
    tax_micros=w.MICROS,
    refunded_micros=w.MICROS,
    disputed_micros=w.said(w.MICROS, "what the card's bank took back"),
    currency=w.CURRENCY,
    failure=w.maybe(w.record("Why it was not paid.", code=w.STRING, message=w.STRING)),
    created_at=w.TIME,
    settled_at=w.maybe(w.TIME),
    expires_at=w.said(w.TIME, "until when it can be paid"),
    urls=w.record(
        "Where it is, where a person pays it, and its invoice.",
        get=w.ADDRESS,
        page=w.ADDRESS,
        pay=w.maybe(w.ADDRESS),
        invoice=w.maybe(w.ADDRESS),
    ),
)
CREDIT_ADDED = w.record(
    "The `data` of the event `credit.added`: a top-up was paid, and what it bought can be spent.",
    top_up=w.identifier("tu"),
    kind={"enum": list(topups.TopUp.Kind.values)},
    amount_micros=w.said(w.MICROS, "the credit that came"),
    available_micros=w.said(w.MICROS, "what can be spent now"),
    currency=w.CURRENCY,
    urls=w.record("Where the top-up is.", get=w.ADDRESS),
)
CARD = w.record(
    "The saved card, as it is printed.", brand=w.STRING, last4=w.STRING, exp_month=w.WHOLE, exp_year=w.WHOLE
)
AUTOMATIC = w.record(
    "Buying by itself.",
    is_on=w.YES_NO,
    below_micros=w.said(w.MICROS, "credit is bought when less is available"),
    amount_micros=w.MICROS,
    month_micros=w.said(w.MICROS, "the most that is bought by itself in a month of UTC"),
    bought_this_month_micros=w.MICROS,
    paused=w.maybe(
        w.said(
            {"type": "string"},
            "why it rests: " + ", ".join(f"`{one}`" for one in topups.AutoTopUp.Pause.values if one),
        )
    ),
)
BILLING = w.record(
    "Credit and how it comes in.",
    available_micros=w.MICROS,
    bought_micros=w.said(w.MICROS, "the part of it that was paid for"),
    granted_micros=w.said(w.MICROS, "the part that was a gift; it is spent first"),
    held_micros=w.said(w.MICROS, "held by open runs, beside it"),
    owed_micros=w.said(w.MICROS, "for lost disputes; the credit that is bought next makes good for it first"),
    currency=w.CURRENCY,
    least_micros=w.said(w.MICROS, "the least that is bought at once"),
    most_micros=w.MICROS,
    is_test=w.said(w.YES_NO, "whether it is play money"),
    card=w.maybe(w.ref("Card")),
    automatic=w.maybe(w.ref("AutomaticTopUp")),
)
_PERCENT: w.Schema = {"type": "integer", "minimum": 1, "maximum": 100}
_LIMIT: dict[str, w.Schema] = {
    "scope": w.said({"enum": list(KINDS)}, "what kind of thing it is on"),
    "target": w.maybe(
        w.said(w.STRING, "the id of the key or member, `publisher/name`, or the slug; null for who is gone")
    ),
    "name": w.said(w.STRING, "what that is called"),
    "period": {"enum": list(PERIODS)},
    "limit_micros": w.MICROS,
    "spent_micros": w.said(w.MICROS, "charged, or held by open runs, in the present period"),
}
LIMIT = w.record(
    "A spend limit as it stands.",
    id=w.identifier("l"),
    **_LIMIT,
    is_reached=w.said(w.YES_NO, "whether it is used up, or has refused a run in this period"),
    currency=w.CURRENCY,
    alert_at=w.said(w.array(_PERCENT), "at which percents of it the workspace is told"),
    resets_at=w.maybe(w.said(w.TIME, "when the period ends; null for a lifetime")),
    created_at=w.TIME,
    urls=w.record("Where it is.", get=w.ADDRESS),
)
LIMIT_ALERT = w.record(
    "The `data` of the event `limit.alert`: a part of a spend limit is used.",
    **_LIMIT,
    percent=w.said(_PERCENT, "the part that was reached"),
    is_refusing=w.said(w.YES_NO, "whether runs are refused now"),
    resets_at=w.maybe(w.TIME),
    currency=w.CURRENCY,
)

SCHEMAS: dict[str, w.Schema] = {
    "Balance": BALANCE,
    "Billing": BILLING,
    "Card": CARD,
    "AutomaticTopUp": AUTOMATIC,
    "TopUp": TOP_UP,
    "TopUpPage": w.page_of("TopUp"),
    "CreditAdded": CREDIT_ADDED,
    "Limit": LIMIT,
    "LimitPage": w.page_of("Limit"),
    "LimitAlert": LIMIT_ALERT,
}
