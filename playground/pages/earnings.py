"""What a publisher earns: by day, listing and unit, what is maturing, and the statement of each month."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, timedelta
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing import earnings as books
from billing import ledger, payouts, receipts
from billing.earnings import Earned, Group, Line
from billing.gateway import hosted
from billing.months import following
from billing.usage import Name, Sums
from marketplace.ids import encode
from marketplace.models import Publisher
from marketplace.people import Act
from playground import statements
from playground.pages import day_range
from playground.pages.access import allows, member, own, private
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
        return private(render(request, "publish/earnings.html", context))
    span, wrong = day_range.asked(request)
    group = _group(request)
    found = books.by_day(publisher.pk, group, span.first, span.last)
    totals = _totals(found)
    chart = chart_of(
        span.days,
        _sums(span.days, found),
        {name: (_label(name, group), "") for name in totals},
    )
    of_label = {_label(name, group): one for name, one in totals.items()}
    account = payouts.account_of(publisher)
    refunded, refunded_unpayable = books.refunded(publisher.pk, span.first, span.last)
    context |= {
        "span": span,
        "wrong": wrong,
        "group": group.value,
        "query": _query(publisher, span, group),
        "chips": day_range.chips(span, lambda one: _query(publisher, one, group)),
        "tabs": [(label, _query(publisher, span, one), one == group) for one, label in TABS.items()],
        "chart": chart,
        "rows": [(series, of_label[series.label]) for series in chart.rows[:ROWS_SHOWN]],
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
    return private(render(request, "publish/earnings.html", context))


@require_safe
@member(Act.SEE)
def earnings_csv(request: HttpRequest) -> HttpResponseBase:
    """The days of the range as a file, by models or units."""
    publisher, _ = chosen(request)
    if publisher is None:
        raise Http404("This workspace does not publish.")
    group = _group(request)

    def file(span: Range) -> HttpResponseBase:
        found = books.by_day(publisher.pk, group, span.first, span.last)
        name = f"vitrine-earnings-{publisher.name}-{span.first}-{span.last}.csv"
        return _file(name, _day_lines(found, group))

    return day_range.for_file(file, request)


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
    last = following(first) - timedelta(days=1)
    lines: list[Line] = next(books.lines(publisher.pk, first, last, chunk=LINES_SHOWN + 1), [])
    context |= {
        "one": books.statement(publisher.pk, first),
        "is_running": last >= statements.today(),
        "lines": [(line, words_of(line), _uid(line), units_in_words(line)) for line in lines[:LINES_SHOWN]],
        "has_more": len(lines) > LINES_SHOWN,
        "month": month,
        "is_test": hosted.is_test(),
    }
    return private(render(request, "publish/statement.html", context))


@require_safe
@member(Act.SEE)
def statement_csv(request: HttpRequest, month: str) -> StreamingHttpResponse:
    """Every movement behind a month's statement as a file, the oldest first."""
    publisher, first, _ = _month(request, month)
    last = following(first) - timedelta(days=1)
    return _file(f"vitrine-statement-{publisher.name}-{month}.csv", _statement_lines(publisher, first, last))


def chosen(request: HttpRequest) -> tuple[Publisher | None, dict[str, object]]:
    """The publisher of this workspace that the address names, the first one if it names none; and for the template.

    None where the workspace does not publish. Raises Http404 for a name that is not the workspace's.
    """
    houses = payouts.publishers_of(own(request).pk)
    name = request.GET.get("publisher") or request.POST.get("publisher") or ""
    found = next((one for one in houses if not name or one.name == name), None)
    if name and found is None:
        raise Http404("This workspace has no such publisher.")
    return found, {"publisher": found, "publishers": houses if len(houses) > 1 else []}


def words_of(line: Line) -> str:
    """What a line of a statement is, and why."""
    why = f": {ledger.RefundReason(line.reason).label.lower()}" if line.reason else ""
    is_made_good = line.kind == "dispute" and line.change_micros > 0
    return f"{'The buyer made good for a dispute' if is_made_good else KINDS[line.kind]}{why}"


def units_in_words(line: Line) -> str:
    """`1 image, 30 steps`."""
    return ", ".join(receipts.counted(quantity, unit).strip() for unit, quantity in line.units.items())


def units_of(line: Line) -> str:
    """`1 image, 30 step`: for programs."""
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


def _label(name: str, group: Group) -> str:
    """What a model or unit is called where it is shown; a run from before units were kept has none."""
    if group is Group.UNIT and name:
        return receipts.UNITS.get(name, (name, name))[0].capitalize()
    return name or "–"


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
                    statements.usd(one.charged_micros),
                    statements.usd(one.share_micros),
                    statements.usd(one.payable_micros),
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
                    statements.usd(line.change_micros),
                    line.change_micros,
                )
            )


def _uid(line: Line) -> str:
    return encode(line.reference, PREFIXES[line.kind]) if line.reference else ""


def _file(name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _group(request: HttpRequest) -> Group:
    text = request.GET.get("by", "")
    return Group(text) if text in set(TABS) else Group.MODEL


def _query(publisher: Publisher, span: Range, group: Group) -> str:
    return urlencode({"publisher": publisher.name, "from": span.first, "to": span.last, "by": group.value})
