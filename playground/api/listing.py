"""What a list of predictions may be asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground.api.problems import invalid
from playground.models import Prediction
from playground.predictions import Filters


def filters_of(request: Request) -> Filters:
    """The filters of a query. Raises Problem for a value that cannot be meant."""
    errors: list[FieldError] = []
    found = Filters(
        status=_choice(request, "status", Prediction.Status.values, errors),
        via=_choice(request, "via", Prediction.Via.values, errors),
        model=_text(request, "model"),
        since=_moment(request, "from", errors),
        until=_moment(request, "to", errors),
    )
    if errors:
        raise invalid(errors)
    return found


def _text(request: Request, name: str) -> str:
    """A text of the query; a null character, which the database cannot hold, matches nothing."""
    return str(request.query_params.get(name, "")).replace("\0", "\ufffd")


def _choice(request: Request, name: str, allowed: list[str], errors: list[FieldError]) -> str:
    value = _text(request, name)
    if value and value not in allowed:
        errors.append(FieldError(name, "not_allowed", "is none of the choices", list(allowed)))
    return value


def _moment(request: Request, name: str, errors: list[FieldError]) -> datetime | None:
    """An ISO 8601 date or time; without a zone in UTC. A date that ends a range is in it."""
    text = _text(request, name)
    if not text:
        return None
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if name == "to" else day
        moment = parse_datetime(text.replace(" ", "+"))  # a plus that was not escaped arrives as a space
        if moment is not None:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = "must be a date or time as in 2026-01-31 or 2026-01-31T12:00:00Z"
    errors.append(FieldError(name, "type", message))
    return None
