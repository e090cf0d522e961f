"""What answers about keys look like."""

from __future__ import annotations

from marketplace.keys import SCOPES
from marketplace.models import ApiKey
from playground.api import schema_words as w

_KEY: dict[str, w.Schema] = {
    "id": w.identifier("k"),
    "name": w.STRING,
    "kind": {"enum": list(ApiKey.Kind.values)},
    "prefix": w.said(w.STRING, "what the key begins with, to tell it by"),
    "scopes": w.array({"enum": list(SCOPES)}),
    "origins": w.said(w.array(w.STRING), "of a publishable key: where its pages are"),
    "models": w.said(w.array(w.STRING), "of a publishable key: what it runs"),
    "is_active": w.said(w.YES_NO, "neither revoked nor expired"),
    "limit_day_micros": w.maybe(w.said(w.MICROS, "the most it may spend in a day of UTC; null is no limit")),
    "limit_month_micros": w.maybe(w.said(w.MICROS, "the same in a month of UTC")),
    "spent_day_micros": w.said(w.MICROS, "charged today"),
    "spent_month_micros": w.said(w.MICROS, "charged this month"),
    "currency": w.CURRENCY,
    "created_at": w.TIME,
    "expires_at": w.maybe(w.TIME),
    "revoked_at": w.maybe(w.TIME),
    "last_used_at": w.maybe(w.TIME),
    "previous_until": w.maybe(w.said(w.TIME, "until then the secret before the last rotation works too")),
    "urls": w.record("Where it is.", get=w.ADDRESS),
}
SCHEMAS: dict[str, w.Schema] = {
    "Key": w.record("An API key, without its secret.", **_KEY),
    "KeyWithSecret": w.record(
        "A key as it is made or rotated.",
        **_KEY,
        key=w.maybe(
            w.said(
                w.STRING,
                "the whole key, shown this once; null where a repeated request only names what it made",
            )
        ),
    ),
    "CallingKey": w.record(
        "The key that asks.", **_KEY, workspace=w.said(w.STRING, "the slug of the workspace that it is of")
    ),
    "KeyPage": w.page_of("Key"),
}
