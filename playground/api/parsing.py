"""Bodies and queries from anybody: strict JSON, strict fields, and DRF's errors in our words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground import webhooks
from playground.api.problems import Problem, invalid
from playground.models import RUN_EVENTS, Event

MAX_DEPTH = 32
MAX_VALUES = 200_000
MAX_KEY = 255
MAX_DIGITS = 1000
START_WITHIN_MAXIMUM = 24 * 3600
MICROS_MAXIMUM = 2**53 - 1  # what JavaScript holds exactly


class StrictJSONParser(BaseParser):
    """JSON that means the same to everybody: UTF-8, finite numbers, no name twice, whole characters, bounded depth."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = int(settings.MAX_BODY_BYTES)
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise RequestDataTooBig
        try:
            value = json.loads(
                raw.decode("utf-8"),
                parse_constant=_refuse_constant,
                parse_int=_whole,
                parse_float=_finite,
                object_pairs_hook=_once,
            )
        except UnicodeDecodeError:
            raise ParseError("The body is not UTF-8.") from None
        except json.JSONDecodeError as error:
            raise ParseError(f"The body is no JSON: {error}.") from None
        except RecursionError:
            raise ParseError(f"The JSON is nested deeper than {MAX_DEPTH}.") from None
        except ValueError as error:
            raise ParseError(f"The JSON cannot be taken: {error}.") from None
        walk(value)
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS:,} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:40]!a} stands twice in one object")
            seen.add(name)
    return found


def walk(value: Any) -> None:
    """Refuse what the database or an answer could not hold. Without recursion: the depth is not known yet."""
    level, seen = [value], 0
    for depth in range(MAX_DEPTH + 1):
        seen += len(level)
        if seen > MAX_VALUES:
            raise ParseError(f"The JSON has more than {MAX_VALUES:,} values.")
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _refuse_half_characters(one)
            elif isinstance(one, dict):
                for name in one:
                    _refuse_half_characters(name)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        if not below:
            return
        level = below
        if depth == MAX_DEPTH:
            raise ParseError(f"The JSON is nested deeper than {MAX_DEPTH}.")


def _refuse_half_characters(text: str) -> None:
    if "\0" in text:
        raise ParseError("The JSON holds a null character; remove it.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ParseError("The JSON holds half of a surrogate pair, which is no character.") from None


class AlwaysJSON(BaseContentNegotiation):
    """There is one representation, whatever `Accept` and `?format=` say; the parser goes by Content-Type."""

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        given = request.content_type.partition(";")[0].strip().lower()
        if given == "application/json" or (given.startswith("application/") and given.endswith("+json")):
            return parsers[0]
        return None

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], "application/json"


class Whole(serializers.IntegerField):
    """A JSON number without a fraction: no text, no true or false."""

    default_error_messages = {"invalid": "must be a whole number"}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string."""

    default_error_messages = {"invalid": "must be text"}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "boolean"})
class YesNo(serializers.Field[bool, Any, bool, Any]):
    """A JSON true or false."""

    default_error_messages = {"invalid": "must be true or false"}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return bool(data)


@extend_schema_field({"type": "object", "additionalProperties": True})
class _Values(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """A JSON object, passed on as it is: the model's own schema cleans it."""

    default_error_messages = {"invalid": "must be an object of fields and values"}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("invalid")
        return dict(data)


class _Texts(serializers.ListField):
    """A JSON array of strings out of a few."""

    default_error_messages = {"not_a_list": "must be a list", "not_allowed": "names what there is not"}

    def __init__(self, *, allowed: Sequence[str], **named: Any) -> None:
        super().__init__(child=serializers.ChoiceField(choices=list(allowed)), **named)
        self.allowed = list(allowed)

    def run_child_validation(self, data: Any) -> list[Any]:
        if not all(isinstance(one, str) and one in self.allowed for one in data):
            self.fail("not_allowed")
        return list(dict.fromkeys(data))


class _Url(Text):
    """An address that we are to call."""

    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        wrong = webhooks.wrong_with(url)
        if wrong is not None:
            raise serializers.ValidationError(wrong, code="pattern")
        return url


class QuoteRequest(serializers.Serializer[Any]):
    """The body of `POST /api/v1/quotes`."""

    model = Text(max_length=160, help_text="publisher/name, or publisher/name:version")
    input = _Values(default=dict, help_text="by the model's input schema")


class PredictionRequest(QuoteRequest):
    """The body of `POST /api/v1/predictions`."""

    start_within = Whole(
        min_value=1,
        max_value=START_WITHIN_MAXIMUM,
        required=False,
        allow_null=True,
        default=None,
        help_text="seconds until the run fails without a charge if it has not started",
    )
    max_cost_micros = Whole(
        min_value=0,
        max_value=MICROS_MAXIMUM,
        required=False,
        allow_null=True,
        default=None,
        help_text="refuse the run if its quote is above this",
    )
    exact = YesNo(default=False, help_text="run alone, for the same bytes from the same seed")
    webhook = _Url(
        max_length=2048,
        required=False,
        allow_null=True,
        default=None,
        help_text="an address that is told of the end, signed with the workspace's request secret",
    )
    webhook_events_filter = _Texts(
        allowed=RUN_EVENTS,
        required=False,
        allow_null=True,
        allow_empty=False,
        default=None,
        help_text="which ends it is told of; all of them without this",
    )


class WebhookChange(serializers.Serializer[Any]):
    """The body of `PATCH /api/v1/webhooks/<id>`."""

    url = _Url(max_length=2048, required=False, help_text="the address that is told")
    events = _Texts(allowed=Event.values, required=False, allow_empty=False, help_text="what it is told of")
    description = Text(max_length=200, required=False, allow_blank=True, help_text="for people")
    is_enabled = YesNo(required=False, help_text="false pauses it: what is on its way waits")


class WebhookRequest(serializers.Serializer[Any]):
    """The body of `POST /api/v1/webhooks`."""

    url = _Url(max_length=2048, help_text="the address that is told")
    events = _Texts(
        allowed=Event.values,
        required=False,
        allow_empty=False,
        default=list(Event.values),
        help_text="what it is told of",
    )
    description = Text(max_length=200, required=False, allow_blank=True, default="", help_text="for people")


class AssetFromUrl(serializers.Serializer[Any]):
    """The JSON body of `POST /api/v1/assets`."""

    url = Text(max_length=2048, help_text="http or https address of a file, which is fetched")
    filename = Text(max_length=255, required=False, default="", allow_blank=True)


class UploadRequest(serializers.Serializer[Any]):
    """The body of `POST /api/v1/assets/uploads`."""

    size = Whole(min_value=1, max_value=MICROS_MAXIMUM, help_text="bytes of the whole file")
    filename = Text(max_length=255, required=False, default="", allow_blank=True)
    content_type = Text(
        max_length=100,
        required=False,
        default="",
        allow_blank=True,
        help_text="refused if the file is of another type",
    )
    sha256 = Text(
        max_length=64,
        required=False,
        default="",
        allow_blank=True,
        help_text="in lower-case hex; the file is refused if it has another",
    )


class Nothing(serializers.Serializer[Any]):
    """The body of a request that takes none."""


def read(kind: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
    """The fields of a body. Raises Problem with every error; an unknown field is one."""
    if not isinstance(data, Mapping):
        raise invalid([FieldError("body", "type", "must be an object of fields and values", "object")])
    wanted = kind(data=data)
    unknown = [name for name in data if name not in wanted.fields][:20]
    errors = [
        FieldError(name[:64], "unknown", "is not a field of this request", list(wanted.fields))
        for name in unknown
    ]
    if not wanted.is_valid():
        errors.extend(_field_errors(wanted))
    if errors:
        raise invalid(errors)
    return dict(wanted.validated_data)


# DRF's codes in the words of `marketplace.schema`, and the bound that each is about.
_WORDS = {
    "null": ("required", None),
    "blank": ("required", None),
    "invalid": ("type", None),
    "max_length": ("too_long", "max_length"),
    "min_value": ("too_small", "min_value"),
    "max_value": ("too_large", "max_value"),
    "invalid_choice": ("not_allowed", "choices"),
    "max_string_length": ("too_large", None),
    "not_a_list": ("type", None),
    "not_allowed": ("not_allowed", "allowed"),
    "empty": ("too_few", None),
    "naive": ("type", None),
}
_LIST_WORDS = {**_WORDS, "max_length": ("too_many", "max_length")}


def _field_errors(wrong: serializers.Serializer[Any]) -> Iterator[FieldError]:
    for name, details in wrong.errors.items():
        field = wrong.fields.get(name)
        if isinstance(details, Mapping):  # of the items of a list
            child = getattr(field, "child", None)
            for place, those in details.items():
                yield from _of_one(f"{name}[{place}]", child, those)
        else:
            yield from _of_one(name, field, details)


def _of_one(name: str, field: object, details: Iterable[Any]) -> Iterator[FieldError]:
    is_list = isinstance(field, serializers.ListField)
    for detail in details:
        given = str(detail.code) if isinstance(detail, ErrorDetail) else "type"
        code, bound = (_LIST_WORDS if is_list else _WORDS).get(given, (given, None))
        allowed = getattr(field, bound, None) if bound else _kind(field)
        allowed = list(allowed) if isinstance(allowed, Mapping) else allowed
        message = "is required" if code == "required" else str(detail)
        yield FieldError(name, code, message[:1].lower() + message[1:].rstrip("."), allowed)


def _kind(field: object) -> str | None:
    names = {
        Whole: "integer",
        Text: "string",
        _Url: "an http or https address",
        YesNo: "boolean",
        _Values: "object",
        _Texts: "array",
        serializers.ListField: "array",
    }
    return names.get(type(field))


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if one is sent. Raises Problem for one that cannot be kept."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    if not 0 < len(given) <= MAX_KEY or not (given.isascii() and given.isprintable()):
        detail = f"An Idempotency-Key has 1 to {MAX_KEY} printable ASCII characters."
        raise Problem("malformed_request", detail)
    return given
