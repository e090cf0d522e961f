"""What a worker says too late changes nothing, and each job is told of apart."""

from __future__ import annotations

from uuid import UUID

import pytest

from playground import predictions
from playground.models import Prediction
from playground.predictions import work
from tests.predictions import cast
from tests.predictions.cast import move_back


@pytest.fixture
def stale(payer):
    """A job whose attempt was given away: the lease was over, another worker took it."""
    row = cast.submit(payer)
    (old,) = cast.claim(worker="frozen")
    move_back(row, lease_until=60)
    predictions.sweep()
    (new,) = cast.claim(worker="awake")
    assert (old["fence"], new["fence"]) == (1, 2)
    return row, old, new


def test_a_stale_fence_changes_nothing(payer, stale):
    row, old, new = stale
    before = Prediction.objects.filter(pk=row.pk).values().get()
    files = sum(1 for _ in assets_on_disk())
    assert cast.step(old, 3) == [old["id"]]
    assert work.renew(fences={old["id"]: old["fence"]}) == [old["id"]]
    assert not cast.succeed(old)
    assert not cast.succeed(old, data=b"junk")
    assert not cast.fail(old)
    assert not cast.fail(old, retryable=True)
    assert not cast.release(old)
    assert Prediction.objects.filter(pk=row.pk).values().get() == before
    assert sum(1 for _ in assets_on_disk()) == files
    assert cast.succeed(new)
    assert cast.again(row).attempt == 2


def test_nothing_changes_after_the_end(payer):
    ends = {
        "succeeded": cast.succeed,
        "failed": cast.fail,
        "canceled": lambda job: predictions.cancel(Prediction.objects.get(public_id=job["id"])),
    }
    for status, end in ends.items():
        row = cast.submit(payer)
        (job,) = cast.claim()
        assert end(job)
        before = Prediction.objects.filter(pk=row.pk).values().get()
        assert before["status"] == status
        assert cast.step(job, 2) == [job["id"]]
        assert not cast.succeed(job)
        assert not cast.fail(job)
        assert not cast.fail(job, retryable=True)
        assert not cast.release(job)
        assert predictions.cancel(row).status == status
        predictions.sweep()
        assert Prediction.objects.filter(pk=row.pk).values().get() == before


def assets_on_disk():
    from pathlib import Path

    from django.conf import settings

    return (file for file in Path(settings.MEDIA_ROOT).rglob("*") if file.is_file())


def test_a_worker_hears_of_each_job_apart(payer):
    for _ in range(3):
        cast.submit(payer)
    jobs = cast.claim(limit=3)
    predictions.cancel(Prediction.objects.get(public_id=jobs[1]["id"]))
    assert work.renew(fences={job["id"]: job["fence"] for job in jobs}) == [jobs[1]["id"]]
    unknown = UUID(int=5).hex
    assert work.renew(fences={unknown: 1}) == [unknown]
    assert work.renew(fences={}) == []
    assert work.step(reports=[]) == []
