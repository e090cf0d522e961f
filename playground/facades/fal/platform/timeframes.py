"""Ranges of time in steps: which step a question is answered in, and where its range begins and ends then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rest_framework.request import Request

from billing.usage import STEPS
from playground.facades.fal.platform.asked import Span, span, wrong

# The step of a range that is shorter than this; of one that is not shorter than any of them, a month.
_SHORTER = (
    (timedelta(hours=2), "minute"),
    (timedelta(days=2), "hour"),
    (timedelta(days=64), "day"),
    (timedelta(days=183), "week"),
)
_BOUND = {"true": True, "false": False}


def framed(request: Request, *, default: timedelta) -> tuple[Span, str]:
    """The range that is asked about, `default` until now without a start, and its step.

    It begins and ends where steps do, in UTC, unless `bound_to_timeframe=false` wants it exactly. Raises Problem.
    """
    exact = span(request, default=default)
    step = request.query_params.get("timeframe", "") or _step_of(exact)
    if step not in STEPS:
        raise wrong("timeframe", "is no step of time", list(STEPS))
    bound = _BOUND.get(request.query_params.get("bound_to_timeframe", "true").lower())
    if bound is None:
        raise wrong("bound_to_timeframe", "must be true or false", list(_BOUND))
    if not bound:
        return exact, step
    return Span(_begin(exact.since, step), _end(exact.until, step)), step


def _step_of(asked: Span) -> str:
    took = asked.until - asked.since
    return next((step for limit, step in _SHORTER if took < limit), "month")


def _begin(at: datetime, step: str) -> datetime:
    """When the step began in which a moment lies."""
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    if step == "minute":
        return at
    at = at.replace(minute=0)
    if step == "hour":
        return at
    at = at.replace(hour=0)
    days = {"week": at.weekday(), "month": at.day - 1}
    return at - timedelta(days=days.get(step, 0))


def _end(at: datetime, step: str) -> datetime:
    """The same moment where a step begins, else the beginning of the next step."""
    begun = _begin(at, step)
    if begun == at:
        return at
    if step == "month":
        return _begin(begun + timedelta(days=31), step)
    return begun + timedelta(**{f"{step}s": 1})
