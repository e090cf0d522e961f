"""What answers about keys, usage and receipts look like."""

from __future__ import annotations

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
    "spent_micros": said(MICROS, "charged, or held by open runs, in the present period since it was set"),
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
RECEIPT = record(
    "What one run cost, and why.",
    prediction=identifier("p"),
    is_deleted=said(YES_NO, "the run is gone, its receipt stays"),
    model=STRING,
    status={"enum": list(Prediction.Status.values)},
    via=maybe(STRING),
    lines=array(LINE),
    quoted_micros=MICROS,
    held_micros=said(MICROS, "set aside when it was accepted"),
    charged_micros=maybe(said(MICROS, "null while it is open")),
    released_micros=maybe(said(MICROS, "held and given back; null while it is open")),
    currency=CURRENCY,
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
    "KeyPage": page_of("Key"),
    "ReceiptPage": page_of("Receipt"),
}
