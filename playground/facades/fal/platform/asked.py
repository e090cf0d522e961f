"""What requests to the platform API have in common: lists of ids, ranges of time, what to expand, and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from django.db.models import Model, QuerySet
from django.utils import timezone
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground.api.paging import LIMIT_MAXIMUM, page_at_once
from playground.api.problems import Problem, invalid
from playground.facades.fal.view import FalView
from playground.facades.fal.words import app_of as app_named

MAX_IDS = 50
DEFAULT_LIMIT = 50
MAX_DAYS = 366
Row = TypeVar("Row", bound=Model)
Json = dict[str, Any]


class PlatformView(FalView):
    """One address of the platform API: fal's protocol has its errors in a shape of their own there."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `since`, without `until`."""

    since: datetime
    until: datetime


def wrong(field: str, message: str, allowed: Any = None, code: str = "not_allowed") -> Problem:
    """The problem of one field."""
    return invalid([FieldError(field, code, message, allowed)])


def texts(request: Request, name: str) -> list[str]:
    """The values of a parameter that may come several times, or once with commas. Each once, in order."""
    values = [one.strip() for text in request.query_params.getlist(name) for one in text.split(",")]
    found = list(dict.fromkeys(one for one in values if one))
    if len(found) > MAX_IDS:
        raise wrong(name, f"may have at most {MAX_IDS} values", {"maximum": MAX_IDS}, "too_many")
    return [one.replace("\0", "\ufffd") for one in found]


def needed(request: Request, name: str) -> list[str]:
    """The same, where there has to be one."""
    found = texts(request, name)
    if not found:
        raise wrong(name, "is needed", code="required")
    return found


def expanded(request: Request, *known: str) -> set[str]:
    """What is to be told in full. Raises Problem for what there is not."""
    found = texts(request, "expand")
    for one in found:
        if one not in known:
            raise wrong("expand", f"{one[:60]} is nothing to expand here", list(known))
    return set(found)


def span(request: Request, *, default: timedelta) -> Span:
    """The time that `start` and `end` ask for; without them the last `default`. A day counts from its midnight."""
    if request.query_params.get("timezone", "UTC") not in {"UTC", "Etc/UTC", "Z"}:
        raise wrong("timezone", "can only be UTC: days are counted by it here", ["UTC"])
    until = _moment(request, "end") or timezone.now()
    since = _moment(request, "start") or until - default
    if since > until:
        raise wrong("start", "must not be after end")
    if until - since > timedelta(days=MAX_DAYS):
        raise wrong("start", f"must be at most {MAX_DAYS} days before end", {"maximum_days": MAX_DAYS})
    return Span(since, until)


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        if len(text) == 10:
            found = datetime.combine(date.fromisoformat(text), time(), UTC)
        else:
            found = datetime.fromisoformat(text)
            found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        in_range = 2000 <= found.year < 9999
        found = found.astimezone(UTC) if in_range else found
    except (ValueError, OverflowError):
        in_range = False
    if not in_range:
        raise wrong(name, "must be a day like 2027-01-31, or a moment in ISO 8601", code="type")
    return found


def limit_of(request: Request, default: int = DEFAULT_LIMIT) -> int:
    """How many a page may have; more than there can be means as many as there can be."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise wrong("limit", "must be a number from 1 on", {"minimum": 1, "maximum": LIMIT_MAXIMUM}, "type")
    return min(int(text), LIMIT_MAXIMUM)


def paged(
    request: Request,
    name: str,
    rows: QuerySet[Row],
    *,
    order: Sequence[str],
    show: Callable[[list[Row]], Sequence[Any]],
    anchors: QuerySet[Row] | None = None,
) -> Json:
    """A page as `{name: [...], "next_cursor", "has_more"}`."""
    found = page_at_once(request, rows, order=order, show=show, anchors=anchors, limit=limit_of(request))
    following = parse_qs(urlsplit(found["next"] or "").query).get("cursor", [None])[0]
    return {name: found["results"], "next_cursor": following, "has_more": following is not None}


def whole(**lists: Any) -> Json:
    """An answer that has no further page."""
    return {**lists, "next_cursor": None, "has_more": False}


def dollars(micros: int) -> float:
    """An amount as fal writes it: a number of dollars. The books stay in whole micro-dollars."""
    return micros / 1_000_000


def app_of(endpoint_id: str) -> str:
    """The model that an endpoint id names. Raises Problem: a model of ours has no paths below it."""
    app = app_named(endpoint_id)
    if app is None or app.namespace or app.path:
        raise Problem("not_found", f"There is no app {endpoint_id[:100]!r}: an id is owner/alias.")
    return app.model
