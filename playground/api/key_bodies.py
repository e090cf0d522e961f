"""The bodies of requests about keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from marketplace.models import ApiKey
from playground.api.parsing import Text, Whole
from playground.keyring import LIMIT_MAXIMUM

ITEMS_MAXIMUM = 100
GRACE_MAXIMUM = 7 * 24 * 3600


@extend_schema_field({"type": "array", "items": {"type": "string"}, "maxItems": ITEMS_MAXIMUM})
class Texts(serializers.Field[list[str], Any, list[str], Any]):
    """A JSON list of strings."""

    default_error_messages = {
        "invalid": "must be a list of texts",
        "too_many": f"has more than {ITEMS_MAXIMUM} items",
    }

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            self.fail("invalid")
        if len(data) > ITEMS_MAXIMUM:
            self.fail("too_many")
        return list(data)


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(serializers.Field[datetime, Any, str, Any]):
    """A moment as ISO 8601 with its offset."""

    default_error_messages = {
        "invalid": "must be a moment like 2027-01-31T12:00:00Z, or null",
        "naive": "must say its offset from UTC, like 2027-01-31T12:00:00Z",
    }

    def to_internal_value(self, data: Any) -> datetime:
        try:
            found = datetime.fromisoformat(data) if isinstance(data, str) else None
        except ValueError:
            found = None
        if found is None:
            self.fail("invalid")
        if found.utcoffset() is None:
            self.fail("naive")
        return found


class KeyChange(serializers.Serializer[Any]):
    """The body of `PATCH /api/v1/keys/<id>`: what is given changes, all else stays."""

    name = Text(required=False, max_length=200, help_text="what uses the key")
    scopes = Texts(required=False, help_text="what the key may do; none that the caller may not")
    origins = Texts(
        required=False, help_text="of a publishable key: where its pages are, like https://example.com"
    )
    models = Texts(required=False, help_text="of a publishable key: what it runs, like publisher/name")
    expires_at = Moment(required=False, allow_null=True, help_text="when it ends; null is never")
    limit_day_micros = Whole(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=LIMIT_MAXIMUM,
        help_text="the most it may spend in a day of UTC; null is no limit",
    )
    limit_month_micros = Whole(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=LIMIT_MAXIMUM,
        help_text="the most it may spend in a month of UTC; null is no limit",
    )


class KeyRequest(KeyChange):
    """The body of `POST /api/v1/keys`."""

    name = Text(max_length=200, help_text="what uses the key")
    kind = serializers.ChoiceField(
        choices=ApiKey.Kind.values,
        default=ApiKey.Kind.SECRET.value,
        help_text="publishable keys may lie open in web pages",
    )


class Rotation(serializers.Serializer[Any]):
    """The body of `POST /api/v1/keys/<id>/rotate`."""

    grace_seconds = Whole(
        min_value=0,
        max_value=GRACE_MAXIMUM,
        default=0,
        help_text="for which the former secret goes on working",
    )
