"""Which runs count as paid by which disputed payment, of whatever payments and runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.ledger.counting import Payment, Run, count, part_of

START = datetime(2026, 1, 1, tzinfo=UTC)
hours = st.integers(0, 12)


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Payment], list[Run]]:
    """Some payments, each of a moment of its own, and runs, the newest first."""
    payments = []
    for number, since in enumerate(draw(st.lists(hours, min_size=1, max_size=4, unique=True))):
        until = draw(st.integers(since, 14))
        payments.append(
            Payment(
                f"dp_{number}",
                at(since),
                at(until),
                draw(st.integers(0, 60)),
                draw(st.sampled_from([0, 0, 20])),
            )
        )
    ended = sorted(draw(st.lists(st.integers(0, 14), max_size=8)), reverse=True)
    return payments, [
        Run(UUID(int=number), at(hour), None, draw(st.integers(1, 40)), 0)
        for number, hour in enumerate(ended)
    ]


@given(histories())
def test_no_run_counts_twice_and_none_is_spared(history: tuple[list[Payment], list[Run]]) -> None:
    payments, runs = history
    counted = count(payments, runs)
    of_run = {run.reference: sum(parts.values()) for run, parts in counted}
    assert len(of_run) == len(counted)
    oldest = min(one.since for one in payments)
    for run, parts in counted:
        assert 0 < of_run[run.reference] <= run.bought_micros
        assert all(oldest <= run.ended_at <= one.until for one in payments if one.dispute_id in parts)
    for one in payments:
        mine = sum(parts.get(one.dispute_id, 0) for _, parts in counted)
        assert mine <= one.spent_micros
        if mine < one.spent_micros:
            there = [run for run in runs if one.since <= run.ended_at <= one.until]
            assert all(of_run.get(run.reference) == run.bought_micros for run in there)


@given(histories())
def test_the_order_in_which_disputes_came_is_no_matter(history: tuple[list[Payment], list[Run]]) -> None:
    payments, runs = history
    found = count(payments, runs)
    for order in permutations(payments):
        assert count(order, runs) == found


def test_of_one_payment_the_newest_runs_count_and_no_more_are_read_than_that() -> None:
    def read() -> Iterator[Run]:
        yield Run(UUID(int=1), at(9), None, 30, 0)
        yield Run(UUID(int=2), at(5), None, 40, 0)
        yield Run(UUID(int=3), at(4), None, 50, 0)
        raise AssertionError("one run too many was read")

    counted = count([Payment("dp_1", at(2), at(8), 60)], read())
    assert [(run.reference.int, parts) for run, parts in counted] == [(2, {"dp_1": 40}), (3, {"dp_1": 20})]


@given(st.integers(0, 1000), st.lists(st.integers(0, 50), max_size=6))
def test_what_is_shared_out_has_no_dust(total: int, sizes: list[int]) -> None:
    parts = part_of(total, sizes)
    assert sum(parts) == (total if sum(sizes) else 0)
    assert all(
        abs(part - total * size / sum(sizes)) < 1
        for part, size in zip(parts, sizes, strict=True)
        if sum(sizes)
    )
