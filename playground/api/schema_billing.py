"""What the API says of credit being bought, as JSON Schema."""

from __future__ import annotations

from billing import topups
from playground.api.schema_words import (
    ADDRESS,
    CURRENCY,
    MICROS,
    STRING,
    TIME,
    WHOLE,
    YES_NO,
    Schema,
    identifier,
    maybe,
    page_of,
    record,
    ref,
    said,
)

TOP_UP = record(
    "One payment for credit. `open` waits to be paid at `urls.pay`; once it is `paid` its credit can be spent.",
    id=identifier("tu"),
    kind={"enum": list(topups.TopUp.Kind.values)},
    status={"enum": list(topups.TopUp.Status.values)},
    amount_micros=said(MICROS, "the credit, without tax"),
    paid_micros=said(MICROS, "what the card paid, tax included; 0 before it did"),
    tax_micros=MICROS,
    refunded_micros=MICROS,
    disputed_micros=said(MICROS, "what the card's bank took back"),
    currency=CURRENCY,
    failure=maybe(record("Why it was not paid.", code=STRING, message=STRING)),
    created_at=TIME,
    settled_at=maybe(TIME),
    expires_at=said(TIME, "until when it can be paid"),
    urls=record(
        "Where it is, where a person pays it, and its invoice.",
        get=ADDRESS,
        page=ADDRESS,
        pay=maybe(ADDRESS),
        invoice=maybe(ADDRESS),
    ),
)
CARD = record(
    "The saved card, as it is printed.", brand=STRING, last4=STRING, exp_month=WHOLE, exp_year=WHOLE
)
AUTOMATIC = record(
    "Buying by itself.",
    is_on=YES_NO,
    below_micros=said(MICROS, "credit is bought when less is available"),
    amount_micros=MICROS,
    month_micros=said(MICROS, "the most that is bought by itself in a month of UTC"),
    bought_this_month_micros=MICROS,
    paused=maybe(
        said(
            {"type": "string"},
            "why it rests: " + ", ".join(f"`{one}`" for one in topups.AutoTopUp.Pause.values if one),
        )
    ),
)
BILLING = record(
    "Credit and how it comes in.",
    available_micros=MICROS,
    bought_micros=said(MICROS, "the part of it that was paid for"),
    granted_micros=said(MICROS, "the part that was a gift; it is spent first"),
    held_micros=said(MICROS, "held by open runs, beside it"),
    owed_micros=said(MICROS, "for lost disputes; the credit that is bought next makes good for it first"),
    currency=CURRENCY,
    least_micros=said(MICROS, "the least that is bought at once"),
    most_micros=MICROS,
    is_test=said(YES_NO, "whether it is play money"),
    card=maybe(ref("Card")),
    automatic=maybe(ref("AutomaticTopUp")),
)

SCHEMAS: dict[str, Schema] = {
    "TopUp": TOP_UP,
    "TopUpPage": page_of("TopUp"),
    "Card": CARD,
    "AutomaticTopUp": AUTOMATIC,
    "Billing": BILLING,
}
