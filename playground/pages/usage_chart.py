"""Spending by day as a chart of stacked bars and the tables that say the same: what is drawn, in numbers and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from billing.usage import Name, Sums
from playground.pages.tags import dollars

TOP = 3  # series of their own; the rest is one
WIDTH, HEIGHT, BAR = 10.0, 120.0, 7.0  # of a day, in units of the drawing
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
class Part:
    """One rectangle."""

    fill: str
    x: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: its parts, and the words for who points at it or reads the table."""

    day: date
    title: str
    parts: list[Part]
    amounts: list[int]
    sums: Sums
    x: str


@dataclass(frozen=True, slots=True)
class Chart:
    """All that the page draws."""

    bars: list[Bar]
    legend: list[Series]  # the series of the chart, the rest as the last one
    rows: list[Series]  # all of them
    total: Sums
    scale: list[str]
    lines: list[str]
    labels: list[date]
    width: str


def chart_of(
    days: Sequence[date], found: Mapping[date, Mapping[Name, Sums]], labels: Mapping[Name, tuple[str, str]]
) -> Chart:
    """The chart of what was found on `days`; `labels` has a name and a detail for each group."""
    totals: dict[Name, Sums] = {}
    for groups in found.values():
        for name, sums in groups.items():
            totals[name] = totals.get(name, Sums()).plus(sums)
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
    day_sums = {day: _sum(found.get(day, {}).values()) for day in days}
    step = _step(max((sums.amount_micros for sums in day_sums.values()), default=0))
    bars = [
        _bar(place, day, found.get(day, {}), top, day_sums[day], legend, step * LINES)
        for place, day in enumerate(days)
    ]
    return Chart(
        bars=bars,
        legend=legend,
        rows=rows,
        total=total,
        scale=[_scale(step, step * n) for n in range(LINES, -1, -1)],
        lines=[f"{min(HEIGHT - 0.5, max(0.5, HEIGHT * n / LINES)):.1f}" for n in range(LINES + 1)],
        labels=_labels(days),
        width=f"{WIDTH * len(days):.0f}",
    )


def _bar(
    place: int,
    day: date,
    groups: Mapping[Name, Sums],
    top: Sequence[Name],
    sums: Sums,
    legend: Sequence[Series],
    whole: int,
) -> Bar:
    amounts = [groups[name].amount_micros if name in groups else 0 for name in top]
    if len(legend) > len(top):
        amounts.append(sums.amount_micros - sum(amounts))
    x, y, parts = place * WIDTH + (WIDTH - BAR) / 2, HEIGHT - 0.6, []
    for series, amount in zip(legend, amounts, strict=True):
        height = (HEIGHT - 1) * amount / whole if whole else 0.0
        if height > 0:
            y -= height
            shown = max(height - GAP, 0.4)
            parts.append(Part(series.fill, f"{x:.1f}", f"{y:.2f}", f"{shown:.2f}"))
    said = [
        f"{series.label} {dollars(amount)}" for series, amount in zip(legend, amounts, strict=True) if amount
    ]
    title = (
        f"{day.day} {day:%b}: {dollars(sums.amount_micros)}, {sums.runs:,} run{'' if sums.runs == 1 else 's'}"
    )
    if len(said) > 1:
        title += "\n" + "\n".join(said)
    return Bar(day, title, parts, amounts, sums, f"{place * WIDTH:.0f}")


def _sum(several: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in several:
        total = total.plus(one)
    return total


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
