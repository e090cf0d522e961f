"""Time: runs that start too late, take too long, or whose worker is silent."""

from __future__ import annotations

from importlib import import_module

from django.utils import timezone

from playground import predictions
from playground.predictions import work
from tests.predictions import cast
from tests.predictions.cast import CREDIT, available, move_back


def test_the_start_deadline(payer):
    row = cast.submit(payer, start_within=5)
    other = cast.submit(payer)
    move_back(row, start_by=6, created_at=6)
    assert [job["id"] for job in cast.claim(limit=4)] == [other.public_id.hex]
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "start_deadline", 0)
    assert "5 s" in now.error_message


def test_a_run_that_started_in_time_may_start_again(payer):
    """The deadline is for the start; a run that lost its worker after it has the same patience again."""
    row = cast.submit(payer, start_within=5)
    (job,) = cast.claim()
    move_back(row, start_by=30, created_at=30, lease_until=60)
    predictions.sweep()
    assert cast.again(row).status == "queued"
    predictions.sweep()
    (job,) = cast.claim()
    assert job["fence"] == 2
    move_back(row, start_by=30)
    assert cast.release(job)
    (job,) = cast.claim()
    assert cast.succeed(job)


def test_a_run_that_waits_again_is_not_stuck_either(payer):
    row = cast.submit(payer, start_within=5)
    (job,) = cast.claim()
    cast.release(job)
    move_back(row, start_by=700)
    predictions.sweep()
    assert cast.again(row).error_code == "start_deadline"


def test_a_run_is_canceled_when_its_time_is_over(payer):
    """Waiting or at work: for nothing while it waits, and by the rules of every cancel while it runs."""
    waits, runs, has_time = (cast.submit(payer, cancel_after=60, steps=4) for _ in range(3))
    (job,) = cast.claim()
    assert job["id"] == waits.public_id.hex
    waits, runs = runs, waits
    cast.step(job, 2)
    assert predictions.sweep()["canceled"] == 0
    move_back(waits, cancel_by=61)
    move_back(runs, cancel_by=61)
    assert predictions.sweep()["canceled"] == 2
    for row in (waits, runs):
        now = cast.again(row)
        assert (now.status, now.error_code, now.cost_micros) == ("canceled", "", 0)
    assert cast.step(job, 3) == [job["id"]]
    assert cast.again(has_time).status == "queued"
    assert predictions.sweep()["canceled"] == 0


def test_a_run_longer_than_its_endpoint_allows(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    move_back(row, started_at=61)
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "timeout", 0)
    assert not cast.succeed(job)


def test_a_frozen_worker_loses_its_lease_and_bounded_attempts_end_the_run(payer):
    row = cast.submit(payer)
    for fault in range(1, work.MAX_FAULTS):
        cast.claim()
        move_back(row, lease_until=60)
        predictions.sweep()
        now = cast.again(row)
        assert (now.status, now.faults) == ("queued", fault)
        cast.wait_out(row)
    cast.claim()
    move_back(row, lease_until=60)
    predictions.sweep()
    now = cast.again(row)
    assert (now.status, now.error_code, now.cost_micros) == ("failed", "worker_lost", 0)
    assert available(payer) == CREDIT


def test_steps_and_renewals_extend_the_lease(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    for extend in (lambda: cast.step(job, 1), lambda: work.renew(fences={job["id"]: 1})):
        move_back(row, lease_until=14)
        assert extend() == []
        assert cast.again(row).lease_until > timezone.now() + work.LEASE / 2


def test_a_lock_that_nobody_holds_brings_the_run_back(payer, monkeypatch):
    monkeypatch.setattr(import_module("playground.predictions.sweep"), "RECONNECT_SECONDS", 0)
    row = cast.submit(payer)
    cast.claim(worker_lock=2_000_000_000)
    assert predictions.sweep()["lost"] == 1
    assert cast.again(row).status == "queued"


def test_after_the_database_was_away_workers_have_time_to_take_their_locks_again(payer, monkeypatch):
    sweep = import_module("playground.predictions.sweep")
    another_start = timezone.now() - cast.later(days=400), 0.0  # since when this process saw it answer
    monkeypatch.setattr(sweep, "_database", another_start)
    cast.submit(payer)
    cast.claim(worker_lock=2_000_000_000)
    assert predictions.sweep()["lost"] == 0
    monkeypatch.setattr(sweep, "RECONNECT_SECONDS", 0)
    assert predictions.sweep()["lost"] == 1
