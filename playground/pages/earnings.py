"""What a publisher earns: by day, listing and unit, what is maturing, and the statement of each month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import cast
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing import earnings as books
from billing import ledger, payouts
from billing.earnings import Earned, Group, Line
from billing.gateway import hosted
from billing.usage import Name, Sums
from marketplace.ids import encode
from marketplace.models import Publisher, Workspace
from marketplace.people import Act
from playground import statements
from playground.middleware import VitrineRequest
from playground.pages.access import allows, member
from playground.pages.usage import books_file
from playground.pages.usage_chart import chart_of, is_by_week
from playground.statements import Range

TABS = {Group.MODEL: "By model", Group.UNIT: "By unit"}
ROWS_SHOWN, LINES_SHOWN, RIPENING_SHOWN = 50, 50, 31
MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")
KINDS = {
    "capture": "Run",
    "refund": "Refund to the buyer",
    "dispute": "The buyer’s payment was disputed",
    "reinstated": "The dispute was won",
    "paid_out": "Paid out",
    "payout_returned": "Payout came back",
}
PREFIXES = {"capture": "p", "refund": "p", "paid_out": "po", "payout_returned": "po"}
DAY_HEAD = (
    "day",
    "by",
    "name",
    "runs",
    "buyers_paid_usd",
    "earned_usd",
    "of_it_paid_out_usd",
    "earned_micros",
)
LINE_HEAD = (
    "at",
    "kind",
    "reference",
    "model",
    "units",
    "reason",
    "buyer_paid_micros",
    "earned_never_paid_out_micros",
    "balance_change_usd",
    "balance_change_micros",
)


@require_safe
@member(Act.SEE)
def earnings(request: HttpRequest) -> HttpResponse:
    """The whole page; `?from=&to=&by=&publisher=` say what of it."""
    publisher, context = chosen(request)
    if publisher is None:
        return _private(render(request, "publish/earnings.html", context))
    span, wrong = _range(request)
    group = _group(request)
    found = books.by_day(publisher.pk, group, span.first, span.last)
    chart = chart_of(
        span.days,
        _sums(span.days, found),
        {name: (name or "–", "") for some in found.values() for name in some},
    )
    totals = _totals(found)
    account = payouts.account_of(publisher)
    refunded, refunded_unpayable = books.refunded(publisher.pk, span.first, span.last)
    context |= {
        "span": span,
        "wrong": wrong,
        "group": group.value,
        "query": _query(publisher, span, group),
        "chips": _chips(publisher, span, group),
        "tabs": [(label, _query(publisher, span, one), one == group) for one, label in TABS.items()],
        "chart": chart,
        "rows": [
            (series, totals.get("" if series.label == "–" else series.label, Earned()))
            for series in chart.rows[:ROWS_SHOWN]
        ],
        "hidden": max(0, len(chart.rows) - ROWS_SHOWN),
        "total": _total(totals),
        "refunded": refunded + refunded_unpayable,
        "outlook": payouts.outlook(account),
        "account": account,
        "delay_days": payouts.delay(account).days,
        "today": statements.today(),
        "ripening": _ripening(publisher, account),
        "months": books.months(publisher.pk)[:12],
        "may_bill": allows(request, Act.BILLING),
    }
    return _private(render(request, "publish/earnings.html", context))


@require_safe
@member(Act.SEE)
def earnings_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The days of the range as a file, by models or units."""
    publisher, _ = chosen(request)
    if publisher is None:
        raise Http404("This workspace does not publish.")
    span, _ = _range(request)
    group = _group(request)
    found = books.by_day(publisher.pk, group, span.first, span.last)
    name = f"vitrine-earnings-{publisher.name}-{span.first}-{span.last}.csv"
    return _file(name, _day_lines(found, group))


@require_safe
@member(Act.SEE)
def earnings_books(request: HttpRequest) -> StreamingHttpResponse:
    """Every movement of the publisher's earnings as a file that proves itself."""
    publisher, _ = chosen(request)
    if publisher is None:
        raise Http404("This workspace does not publish.")
    lines = ledger.export_publisher(publisher.pk, publisher.public_id)
    return books_file(f"vitrine-books-{publisher.name}.jsonl", lines)


@require_safe
@member(Act.SEE)
def statement(request: HttpRequest, month: str) -> HttpResponse:
    """One month: what was there, what came and went, what is there."""
    publisher, first, context = _month(request, month)
    last = books.next_month(first) - timedelta(days=1)
    lines: list[Line] = next(books.lines(publisher.pk, first, last, chunk=LINES_SHOWN + 1), [])
    context |= {
        "one": books.statement(publisher.pk, first),
        "is_running": last >= statements.today(),
        "lines": [(line, words_of(line), _uid(line), units_of(line)) for line in lines[:LINES_SHOWN]],
        "has_more": len(lines) > LINES_SHOWN,
        "month": month,
        "is_test": hosted.is_test(),
    }
    return _private(render(request, "publish/statement.html", context))


@require_safe
@member(Act.SEE)
def statement_csv(request: HttpRequest, month: str) -> StreamingHttpResponse:
    """Every movement behind a month's statement as a file, the oldest first."""
    publisher, first, _ = _month(request, month)
    last = books.next_month(first) - timedelta(days=1)
    return _file(f"vitrine-statement-{publisher.name}-{month}.csv", _statement_lines(publisher, first, last))


def chosen(request: HttpRequest) -> tuple[Publisher | None, dict[str, object]]:
    """The publisher of this workspace that the address names, the first one if it names none; and for the template.

    None where the workspace does not publish. Raises Http404 for a name that is not the workspace's.
    """
    own = payouts.publishers_of(_workspace(request).pk)
    name = request.GET.get("publisher") or request.POST.get("publisher") or ""
    found = next((one for one in own if not name or one.name == name), None)
    if name and found is None:
        raise Http404("This workspace has no such publisher.")
    return found, {"publisher": found, "publishers": own if len(own) > 1 else []}


def words_of(line: Line) -> str:
    """What a line of a statement is, and why."""
    why = f": {ledger.RefundReason(line.reason).label.lower()}" if line.reason else ""
    is_made_good = line.kind == "dispute" and line.change_micros > 0
    return f"{'The buyer made good for a dispute' if is_made_good else KINDS[line.kind]}{why}"


def units_of(line: Line) -> str:
    """`1 image, 30 step`."""
    return ", ".join(f"{quantity} {unit}" for unit, quantity in line.units.items())


def _month(request: HttpRequest, month: str) -> tuple[Publisher, date, dict[str, object]]:
    publisher, context = chosen(request)
    matched = MONTH.fullmatch(month)
    if publisher is None or matched is None:
        raise Http404("There is no such statement.")
    first = date(int(matched[1]), int(matched[2]), 1)
    if first not in books.months(publisher.pk):
        raise Http404("There is no such statement.")
    return publisher, first, context


def _ripening(publisher: Publisher, account: payouts.PayoutAccount) -> list[tuple[date, int, bool]]:
    """The days on which pending earnings become payable, how much, and whether that day has come."""
    delay, now = payouts.delay(account), statements.today()
    days = [(day + delay, micros) for day, micros in ledger.maturing(publisher.pk).items()]
    return [(day, micros, day <= now) for day, micros in sorted(days)[:RIPENING_SHOWN]]


def _sums(days: Sequence[date], found: Mapping[date, Mapping[str, Earned]]) -> dict[date, dict[Name, Sums]]:
    """As the chart takes it: by day, or by the Monday of its week where there are many."""
    by_week = is_by_week(days)
    sums: dict[date, dict[Name, Sums]] = {}
    for day, groups in found.items():
        into = sums.setdefault(day - timedelta(day.weekday()) if by_week else day, {})
        for name, one in groups.items():
            into[name] = into.get(name, Sums()).plus(Sums(runs=one.runs, amount_micros=one.share_micros))
    return sums


def _totals(found: Mapping[date, Mapping[str, Earned]]) -> dict[str, Earned]:
    totals: dict[str, Earned] = {}
    for groups in found.values():
        for name, one in groups.items():
            totals[name] = totals.get(name, Earned()).plus(one)
    return totals


def _total(totals: Mapping[str, Earned]) -> Earned:
    total = Earned()
    for one in totals.values():
        total = total.plus(one)
    return total


def _day_lines(found: Mapping[date, Mapping[str, Earned]], group: Group) -> Iterator[str]:
    yield statements.csv_line(DAY_HEAD)
    for day, groups in sorted(found.items()):
        for name, one in sorted(groups.items()):
            yield statements.csv_line(
                (
                    day.isoformat(),
                    group.value,
                    name,
                    one.runs,
                    usd(one.charged_micros),
                    usd(one.share_micros),
                    usd(one.payable_micros),
                    one.share_micros,
                )
            )


def _statement_lines(publisher: Publisher, first: date, last: date) -> Iterator[str]:
    yield statements.csv_line(LINE_HEAD)
    for chunk in books.lines(publisher.pk, first, last):
        for line in chunk:
            yield statements.csv_line(
                (
                    line.occurred_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    line.kind,
                    _uid(line),
                    line.model,
                    units_of(line),
                    line.reason,
                    line.charged_micros,
                    line.unpayable_micros,
                    usd(line.change_micros),
                    line.change_micros,
                )
            )


def _uid(line: Line) -> str:
    return encode(line.reference, PREFIXES[line.kind]) if line.reference else ""


def usd(micros: int) -> Decimal:
    """With all six decimals, for programs."""
    return Decimal(micros).scaleb(-6)


def _file(name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _range(request: HttpRequest) -> tuple[Range, str]:
    try:
        return statements.range_of(request.GET.get("from", ""), request.GET.get("to", "")), ""
    except statements.BadRange as error:
        which = "first" if error.field == "from" else "last"
        return statements.range_of("", ""), f"The {which} day {error}. These are the last 30 days."


def _group(request: HttpRequest) -> Group:
    text = request.GET.get("by", "")
    return Group(text) if text in set(TABS) else Group.MODEL


def _chips(publisher: Publisher, span: Range, group: Group) -> list[tuple[str, str, bool]]:
    today = statements.today()
    ranges = {f"{days} days": Range(today - timedelta(days=days - 1), today) for days in (7, 30, 90)}
    ranges[f"{today:%B}"] = Range(today.replace(day=1), today)
    return [(words, _query(publisher, one, group), one == span) for words, one in ranges.items()]


def _query(publisher: Publisher, span: Range, group: Group) -> str:
    return urlencode({"publisher": publisher.name, "from": span.first, "to": span.last, "by": group.value})


def _workspace(request: HttpRequest) -> Workspace:
    return cast("Workspace", cast("VitrineRequest", request).workspace)


def _private(response: HttpResponse) -> HttpResponse:
    response.headers["Cache-Control"] = "no-store"
    return response
