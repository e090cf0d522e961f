"""A random walk over the life of predictions: whatever happens in whatever order, the books add up at each step."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from billing import ledger
from playground import predictions
from playground.models import Asset, Prediction
from playground.predictions import work
from tests.predictions import cast

CREDIT = 60_000
OPEN = {"queued", "running"}
AFTER = {
    "queued": {"queued", "running", "failed", "canceled"},
    "running": {*OPEN, "succeeded", "failed", "canceled"},
}


class Life(RuleBasedStateMachine):
    """Two payers, some workers, a sweep, and time that passes."""

    runs = Bundle("runs")
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.payers = [cast.payer(credit=CREDIT), cast.payer(credit=CREDIT)]
        self.seen: dict[int, tuple[str, int]] = {}

    def teardown(self) -> None:
        for row in Prediction.objects.open():  # the next walk finds an empty lane
            predictions.cancel(row)

    @rule(
        target=runs,
        who=st.integers(0, 1),
        n=st.integers(1, 4),
        steps=st.sampled_from([2, 4]),
        exact=st.booleans(),
    )
    def submit(self, who, n, steps, exact):
        before = ledger.balance(self.payers[who].pk).available_micros
        try:
            row = cast.submit(self.payers[who], num_images=n, steps=steps, exact=exact)
        except ledger.InsufficientCredit:
            assert before < n * cast.PRICE_MICROS
            return multiple()
        assert before >= n * cast.PRICE_MICROS
        return row

    @rule(target=jobs, limit=st.integers(1, 5))
    def claim(self, limit):
        jobs = cast.claim(limit=limit)
        assert len(jobs) <= min(limit, 4)
        return multiple(*jobs)

    @rule(job=jobs, n=st.integers(0, 5))
    def step(self, job, n):
        held = self.holds(job)
        assert cast.step(job, n) == ([] if held else [job["id"]])

    @rule(job=jobs)
    def renew(self, job):
        held = self.holds(job)
        assert work.renew(fences={job["id"]: job["fence"]}) == ([] if held else [job["id"]])

    @rule(job=jobs, pictures=st.integers(0, 5), broken=st.booleans())
    def succeed(self, job, pictures, broken):
        held = self.holds(job)
        assert cast.succeed(job, pictures=pictures, data=b"junk" if broken else None) is held

    @rule(job=jobs, retryable=st.booleans())
    def fail(self, job, retryable):
        held = self.holds(job)
        assert cast.fail(job, retryable=retryable) is held

    @rule(job=consumes(jobs))
    def release(self, job):
        held = self.holds(job)
        assert cast.release(job) is held

    @rule(row=runs)
    def cancel(self, row):
        was = cast.again(row).status
        assert predictions.cancel(row).status == ("canceled" if was in OPEN else was)

    @rule(row=runs, name=st.sampled_from(["lease_until", "start_by", "started_at"]))
    def time_passes(self, row, name):
        over = timezone.now() - dt.timedelta(hours=1)
        Prediction.objects.filter(pk=row.pk).exclude(**{name: None}).update(**{name: over})

    @rule()
    def sweep(self):
        assert predictions.sweep() is not None

    def holds(self, job) -> bool:
        row = Prediction.objects.get(public_id=job["id"])
        return row.status == "running" and row.attempt == job["fence"]

    @invariant()
    def books_add_up(self):
        assert ledger.verify() == []
        for payer in self.payers:
            rows = list(Prediction.objects.of(payer))
            balance = ledger.balance(payer.pk)
            assert balance.held_micros == sum(row.held_micros for row in rows if row.status in OPEN)
            assert balance.balance_micros == CREDIT - sum(row.cost_micros or 0 for row in rows)

    @invariant()
    def only_forward(self):
        for row in Prediction.objects.filter(workspace__in=self.payers):
            status, attempt = self.seen.get(row.pk, ("queued", 0))
            assert row.attempt >= attempt
            assert row.status == status or row.status in AFTER.get(status, set())
            assert row.faults <= work.MAX_FAULTS
            self.seen[row.pk] = (row.status, row.attempt)
            kept = Asset.objects.filter(prediction=row).count()
            assert (kept > 0) is (row.status == "succeeded")
            if row.status == "failed":
                assert row.cost_micros == 0
                assert row.error_code


@pytest.mark.django_db
def test_walk(settings_of_walk):
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.fixture
def settings_of_walk(settings):
    settings.FREE_CANCELS_PER_DAY = 1
    cast.shelve()
