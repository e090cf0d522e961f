"""The days that a page of money is about: what its address asks for, and the ranges that one picks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from playground import statements
from playground.statements import Range

PICKED_DAYS = (7, 30, 90)


def asked(request: HttpRequest) -> tuple[Range, str]:
    """The range of `?from=&to=`, and what is wrong with it: then it is the last thirty days, and the page says so."""
    try:
        return _spelled(request), ""
    except statements.BadRange as error:
        return statements.range_of("", ""), f"{_said(error)} These are the last 30 days."


def for_file(make: Callable[[Range], HttpResponseBase], request: HttpRequest) -> HttpResponseBase:
    """The file of the range of `?from=&to=`; where that is wrong, what is: nobody would see which days a file has."""
    try:
        span = _spelled(request)
    except statements.BadRange as error:
        return HttpResponse(f"{_said(error)}\n", status=400, content_type="text/plain; charset=utf-8")
    return make(span)


def _spelled(request: HttpRequest) -> Range:
    return statements.range_of(request.GET.get("from", ""), request.GET.get("to", ""))


def _said(error: statements.BadRange) -> str:
    return f"The {'first' if error.field == 'from' else 'last'} day {error}."


def chips(span: Range, query: Callable[[Range], str]) -> list[tuple[str, str, bool]]:
    """Ranges that one picks: words, address by `query`, whether it is the present one."""
    today = statements.today()
    ranges = {f"{days} days": Range(today - timedelta(days=days - 1), today) for days in PICKED_DAYS}
    ranges[f"{today:%B}"] = Range(today.replace(day=1), today)
    return [(words, query(one), one == span) for words, one in ranges.items()]
