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


def cost_of_canceling(payer, *, after: int) -> int:
    """What a run costs that is canceled after so many of its four steps."""
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.step(job, after)
    predictions.cancel(row)
    assert cast.step(job, after + 1) == [job["id"]]
    return cast.again(row).cost_micros


def test_canceling_a_running_one_is_free_some_times_a_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 2
    costs = [cost_of_canceling(payer, after=3) for _ in range(4)]
    assert costs == [0, 0, 3_000, 3_000]
    assert available(payer) == CREDIT - 6_000
    assert cost_of_canceling(cast.payer(), after=3) == 0


def test_the_allowance_begins_anew_each_day(payer, settings):
    settings.FREE_CANCELS_PER_DAY = 1
    assert [cost_of_canceling(payer, after=1) for _ in range(2)] == [0, 1_000]
    Prediction.objects.update(finished_at=timezone.now() - later(days=1))
    assert cost_of_canceling(payer, after=1) == 0


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
