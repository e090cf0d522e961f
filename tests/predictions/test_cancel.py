"""Canceling: free while a run waits and some times a day, then by its share of the steps."""

from __future__ import annotations

from django.utils import timezone

from playground import predictions
from playground.models import Prediction
from tests.predictions import cast
from tests.predictions.cast import CREDIT, available, later


def test_canceling_a_waiting_run_is_free(payer):
    row = cast.submit(payer)
    assert predictions.cancel(row).status == "canceled"
    assert cast.again(row).cost_micros == 0
    assert cast.claim() == []
    assert available(payer) == CREDIT


def test_canceling_a_running_one_is_free_some_times_a_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 2
    costs = []
    for _ in range(4):
        row = cast.submit(payer)
        (job,) = cast.claim()
        cast.step(job, 3)
        predictions.cancel(row)
        costs.append(cast.again(row).cost_micros)
        assert cast.step(job, 4) == [job["id"]]
    assert costs == [0, 0, 3_000, 3_000]
    assert available(payer) == CREDIT - 6_000
    other = cast.payer()
    row = cast.submit(other)
    (job,) = cast.claim()
    cast.step(job, 3)
    assert predictions.cancel(row).cost_micros == 0


def test_the_allowance_begins_anew_each_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 1
    for expected in (0, 1_000):
        row = cast.submit(payer)
        (job,) = cast.claim()
        cast.step(job, 1)
        assert predictions.cancel(row).cost_micros == expected
    Prediction.objects.update(finished_at=timezone.now() - later(days=1))
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 1)
    assert predictions.cancel(row).cost_micros == 0


def test_a_running_one_that_made_no_step_is_free(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    cast.claim()
    assert predictions.cancel(row).cost_micros == 0


def test_a_charged_cancel_never_costs_more_than_the_run(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 9, steps=4)
    assert predictions.cancel(row).cost_micros == cast.PRICE_MICROS


def test_steps_of_a_lost_attempt_are_not_charged(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, 3)
    cast.release(job)
    assert predictions.cancel(row).cost_micros == 0
