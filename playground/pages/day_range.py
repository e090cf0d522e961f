"""The days that a page of money is about: what its address asks for, and the ranges that one picks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.http import HttpRequest

from playground import statements
from playground.statements import Range

PICKED_DAYS = (7, 30, 90)


def asked(request: HttpRequest) -> tuple[Range, str]:
    """The range of `?from=&to=`, and what is wrong with it: then it is the last thirty days."""
    try:
        return statements.range_of(request.GET.get("from", ""), request.GET.get("to", "")), ""
    except statements.BadRange as error:
        which = "first" if error.field == "from" else "last"
        return statements.range_of("", ""), f"The {which} day {error}. These are the last 30 days."


def chips(span: Range, query: Callable[[Range], str]) -> list[tuple[str, str, bool]]:
    """Ranges that one picks: words, address by `query`, whether it is the present one."""
    today = statements.today()
    ranges = {f"{days} days": Range(today - timedelta(days=days - 1), today) for days in PICKED_DAYS}
    ranges[f"{today:%B}"] = Range(today.replace(day=1), today)
    return [(words, query(one), one == span) for words, one in ranges.items()]
