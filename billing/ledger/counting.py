"""Which runs count as paid by which disputed payment: arithmetic, that knows no rows.

Credit is one pot, so nothing says what one payment paid for. From the newest run back each counts as paid by the newest
of the disputed payments that could have paid it, as long as that has something left that was spent: it came before the
run, and was disputed after it. No micro-dollar of a run counts twice, and whatever order disputes came in, the same
ones come to the same.

What a dispute found unspent may have come with a newer payment. If that is disputed too, it has paid for what the older
one is missing: for runs of the older one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Run(NamedTuple):
    """What was paid of a run from bought credit, less refunds, and what of that its publisher could be paid."""

    reference: UUID
    ended_at: datetime
    publisher_id: int | None
    bought_micros: int
    share_micros: int


@dataclass(frozen=True)
class Payment:
    """A disputed payment: from when to when it could pay for runs, what of it was spent, and what was found unspent."""

    dispute_id: str
    since: datetime
    until: datetime
    spent_micros: int
    unspent_micros: int = 0


def count(payments: Iterable[Payment], runs: Iterable[Run]) -> list[tuple[Run, dict[str, int]]]:
    """Of each run that counts, with how much for which disputes; `runs` come the newest first, and are read no further
    than they are needed."""
    spending = _newest_first(payments)
    found = sorted((one for one in spending if one.unspent_micros), key=lambda one: one.until)
    counted = []
    for run in runs:
        while found and found[-1].until >= run.ended_at:
            spending = _handed_on(found.pop(), spending)
        parts: dict[str, int] = {}
        free = run.bought_micros
        for at, one in enumerate(spending):
            if one.since <= run.ended_at <= one.until and (part := min(free, one.spent_micros)):
                parts[one.dispute_id] = parts.get(one.dispute_id, 0) + part
                spending[at] = replace(one, spent_micros=one.spent_micros - part)
                free -= part
        if parts:
            counted.append((run, parts))
        if not any(one.spent_micros for one in spending):
            break
    return counted


def _handed_on(older: Payment, spending: list[Payment]) -> list[Payment]:
    """What a dispute found unspent counts as brought by newer payments that were there by then, as far as they go: so
    much of them is spent on the runs of the older one."""
    free, after = older.unspent_micros, []
    for one in spending:
        part = min(free, one.spent_micros) if older.since < one.since <= older.until <= one.until else 0
        if part:
            free -= part
            after.append(replace(one, since=older.since, until=older.until, spent_micros=part))
        after.append(replace(one, spent_micros=one.spent_micros - part))
    return _newest_first(after)


def _newest_first(payments: Iterable[Payment]) -> list[Payment]:
    return sorted(
        payments, key=lambda one: one.since, reverse=True
    )  # of one moment, in the order of their disputes


def part_of(total: int, sizes: Iterable[int]) -> list[int]:
    """Share a total out by sizes, without dust: floors of sums, one less the other."""
    sizes = list(sizes)
    whole, upto, parts = sum(sizes), 0, []
    for size in sizes:
        before, upto = upto, upto + size
        parts.append(total * upto // whole - total * before // whole if whole else 0)
    return parts
