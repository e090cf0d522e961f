"""Spending as a chart of stacked bars and the tables that say the same: what is drawn, in numbers and words. A bar is
a day, or a week where there are many days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from django.utils.safestring import SafeString, mark_safe

from billing.usage import Name, Sums
from playground.pages.tags import dollars

TOP = 3  # series of their own; the rest is one
WIDTH, HEIGHT, BAR = 10.0, 120.0, 7.0  # of a bar, in units of the drawing
MOST_DAYS = 100  # that have a bar each
LINES = 4
LABELS = 5
GAP = 0.6  # between parts of a bar


@dataclass(frozen=True, slots=True)
class Series:
    """One model, key or member in the range; `fill` is its place in the chart, empty for those that are summed up."""

    label: str
    detail: str
    sums: Sums
    share: float
    fill: str
    is_rest: bool = False

    @property
    def average_micros(self) -> int | None:
        paid = self.sums.runs - self.sums.not_charged
        average = self.sums.amount_micros // paid if paid else None
        # An average pretends to no more than four decimals, where it has as many.
        return average if average is None or average < 1000 else round(average, -2)


@dataclass(frozen=True, slots=True)
class Chart:
    """All that the page draws."""

    unit: str  # of a bar: day or week
    bars: SafeString  # of the drawing
    lines_of_table: SafeString  # the same in numbers
    legend: list[Series]  # the series of the chart, the rest as the last one
    rows: list[Series]  # all of them
    total: Sums
    scale: list[str]
    lines: list[str]
    labels: list[date]
    width: str


def is_by_week(days: Sequence[date]) -> bool:
    """Whether a bar is a week, from Monday on: so many days could be told apart by nobody."""
    return len(days) > MOST_DAYS


def chart_of(
    days: Sequence[date], found: Mapping[date, Mapping[Name, Sums]], labels: Mapping[Name, tuple[str, str]]
) -> Chart:
    """The chart of what was found on `days`, or in their weeks by their Mondays where `is_by_week`; `labels` has a name
    and a detail for each group."""
    totals = _totals(found)
    order = sorted(
        totals, key=lambda name: (-totals[name].amount_micros, -totals[name].runs, labels[name][0])
    )
    total = _sum(totals.values())
    top = order if len(order) <= TOP + 1 else order[:TOP]
    fills = {name: f"f{place + 1}" for place, name in enumerate(top)}
    rows = [
        Series(*labels[name], totals[name], _share(totals[name], total), fills.get(name, "f4"))
        for name in order
    ]
    legend = [row for row, name in zip(rows, order, strict=True) if name in fills]
    rest = order[len(top) :]
    if rest:
        sums = _sum(totals[name] for name in rest)
        legend.append(Series(f"{len(rest)} others", "", sums, _share(sums, total), "f4", is_rest=True))
    spans = _weeks(days) if is_by_week(days) else {day: (day, day) for day in days}
    sums_of = {start: _sum(found.get(start, {}).values()) for start in spans}
    step = _step(max((sums.amount_micros for sums in sums_of.values()), default=0))
    bars = [_bar(span, found.get(start, {}), top, sums_of[start], legend) for start, span in spans.items()]
    return Chart(
        unit="week" if is_by_week(days) else "day",
        bars=_drawn(bars, legend, step * LINES),
        lines_of_table=_listed(bars),
        legend=legend,
        rows=rows,
        total=total,
        scale=[_scale(step, step * n) for n in range(LINES, -1, -1)],
        lines=[f"{min(HEIGHT - 0.5, max(0.5, HEIGHT * n / LINES)):.1f}" for n in range(LINES + 1)],
        labels=_labels(days),
        width=f"{WIDTH * len(bars):.0f}",
    )


@dataclass(frozen=True, slots=True)
class _Bar:
    """One day or week: its first and last day, the amounts of the series as numbers and in words, and what all of it
    comes to."""

    first: date
    last: date
    amounts: list[int]
    said: list[str]
    sums: Sums
    title: str


def _bar(
    span: tuple[date, date],
    groups: Mapping[Name, Sums],
    top: Sequence[Name],
    sums: Sums,
    legend: Sequence[Series],
) -> _Bar:
    amounts = [groups[name].amount_micros if name in groups else 0 for name in top]
    if len(legend) > len(top):
        amounts.append(sums.amount_micros - sum(amounts))
    said = [dollars(amount) for amount in amounts]
    parts = [
        f"{series.label} {words}"
        for series, words, amount in zip(legend, said, amounts, strict=True)
        if amount
    ]
    runs = f"{sums.runs:,} run{'' if sums.runs == 1 else 's'}"
    title = f"{_span(*span)}: {dollars(sums.amount_micros)}, {runs}"
    if len(parts) > 1:
        title = "\n".join([title, *parts])
    return _Bar(*span, amounts, said, sums, title)


def _drawn(bars: Iterable[_Bar], legend: Sequence[Series], whole: int) -> SafeString:
    """Bars as SVG. Here and not in a template, which takes longer for this than for all the rest of the page."""
    return mark_safe(  # noqa: S308 - titles are escaped, all else is numbers
        "".join(
            f'<g><title>{escape(bar.title)}</title><rect class="day" x="{place * WIDTH:.0f}" y="0" width="{WIDTH:.0f}" '
            f'height="{HEIGHT:.0f}"/>{_parts(place, bar.amounts, legend, whole)}</g>'
            for place, bar in enumerate(bars)
        )
    )


def _parts(place: int, amounts: Sequence[int], legend: Sequence[Series], whole: int) -> str:
    """The rectangles of one bar, from the ground up."""
    x, y, parts = f"{place * WIDTH + (WIDTH - BAR) / 2:.1f}", HEIGHT - 0.6, ""
    for series, amount in zip(legend, amounts, strict=True):
        height = (HEIGHT - 1) * amount / whole if whole else 0.0
        if height > 0:
            y -= height
            shown = max(height - GAP, 0.4)
            parts += (
                f'<rect class="{series.fill}" x="{x}" y="{y:.2f}" width="{BAR:.0f}" height="{shown:.2f}"/>'
            )
    return parts


def _listed(bars: Iterable[_Bar]) -> SafeString:
    """Bars as lines of a table."""
    return mark_safe(  # noqa: S308 - days and numbers
        "".join(
            f'<tr><th scope="row">{_span(bar.first, bar.last, year=True)}</th>{_cells(bar)}'
            f'<td class="num soft">{bar.sums.runs:,}</td><td class="num">{dollars(bar.sums.amount_micros)}</td></tr>'
            for bar in bars
        )
    )


def _cells(bar: _Bar) -> str:
    return "".join(
        f'<td class="num">{words}</td>' if amount else '<td class="num quiet">–</td>'
        for words, amount in zip(bar.said, bar.amounts, strict=True)
    )


def _span(first: date, last: date, *, year: bool = False) -> str:
    said = f"{last.day} {last:%b %Y}" if year else f"{last.day} {last:%b}"
    return said if first == last else f"{first.day} {first:%b} to {said}"


def _weeks(days: Sequence[date]) -> dict[date, tuple[date, date]]:
    """The first and the last of these days in each week, by its Monday."""
    weeks: dict[date, tuple[date, date]] = {}
    for day in days:
        monday = day - timedelta(day.weekday())
        weeks[monday] = (weeks.get(monday, (day, day))[0], day)
    return weeks


def _totals(found: Mapping[date, Mapping[Name, Sums]]) -> dict[Name, Sums]:
    names: dict[Name, list[Sums]] = {}
    for groups in found.values():
        for name, sums in groups.items():
            names.setdefault(name, []).append(sums)
    return {name: _sum(several) for name, several in names.items()}


def _sum(several: Iterable[Sums]) -> Sums:
    runs = not_charged = amount = refunded = 0
    for one in several:
        runs, not_charged = runs + one[0], not_charged + one[1]
        amount, refunded = amount + one[2], refunded + one[3]
    return Sums(runs, not_charged, amount, refunded)


def _share(sums: Sums, total: Sums) -> float:
    return sums.amount_micros / total.amount_micros if total.amount_micros else 0.0


def _step(highest: int) -> int:
    """The smallest round step of which four reach the highest bar."""
    unit = 10
    while True:
        for factor in (10, 15, 20, 25, 30, 40, 50, 60, 80):
            if LINES * factor * unit >= highest:
                return factor * unit
        unit *= 10


def _scale(step: int, micros: int) -> str:
    places = 2 if step % 10_000 == 0 else 4 if step % 100 == 0 else 6
    return f"${micros / 1_000_000:,.{places}f}"


def _labels(days: Sequence[date]) -> list[date]:
    """A few days along the bottom, the first and the last among them."""
    if len(days) <= LABELS:
        return list(days)
    return [days[round(n * (len(days) - 1) / (LABELS - 1))] for n in range(LABELS)]
