"""The order of the queue, batches, repeated requests, and what is tidied up later."""

from __future__ import annotations

import os
import time

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from billing import ledger
from marketplace import catalog
from marketplace.models import Endpoint, Outbox
from playground import assets, predictions
from playground.assets.purge import delete_media
from playground.models import Asset, IdempotencyKey, Prediction
from playground.predictions.claims import Warmth
from tests.predictions import cast
from tests.predictions.cast import later, move_back


def test_a_batch_is_made_of_what_may_share_one(payer):
    same = [cast.submit(payer, steps=4, prompt=str(n)) for n in range(6)]
    other = cast.submit(payer, steps=5)
    alone = cast.submit(payer, steps=4, exact=True)
    jobs = cast.claim(limit=16)
    assert [job["id"] for job in jobs] == [row.public_id.hex for row in same[:4]]  # the endpoint's max_batch
    assert [job["id"] for job in cast.claim(limit=16)] == [row.public_id.hex for row in same[4:]]
    assert [job["id"] for job in cast.claim(limit=16)] == [other.public_id.hex]
    jobs = cast.claim(limit=16)
    assert [(job["id"], job["exact"]) for job in jobs] == [(alone.public_id.hex, True)]
    assert cast.claim(limit=16) == []


def test_what_broke_an_engine_runs_alone_after_that(payer):
    """One run that kills its engine must not take those that shared its batch with it again and again."""
    model = cast.shelve(endpoint__max_batch=4)
    rows = [cast.submit(payer, model=model) for _ in range(3)]
    for job in cast.claim(limit=4):
        assert cast.fail(job, retryable=True)
    assert [len(cast.claim(limit=4)) for _ in rows] == [1, 1, 1]
    released = cast.submit(payer, model=model), cast.submit(payer, model=model)
    for job in cast.claim(limit=4):
        assert cast.release(job)
    assert len(cast.claim(limit=4)) == len(released)


def test_a_batch_has_room_for_so_many_pictures(payer):
    rows = [cast.submit(payer, num_images=pictures) for pictures in (3, 2, 1, 4)]
    claims = [[job["id"] for job in cast.claim(limit=16)] for _ in range(3)]
    assert claims == [[row.public_id.hex for row in some] for some in (rows[:1], rows[1:3], rows[3:])]


def test_the_worker_bounds_the_batch_too(payer):
    for n in range(3):
        cast.submit(payer, prompt=str(n))
    assert len(cast.claim(limit=2)) == 2


def test_a_newcomer_goes_between_the_runs_of_one_who_sent_many(payer):
    for n in range(10):
        cast.submit(payer, steps=1 + n)
    late = cast.payer(name="late")
    row = cast.submit(late, steps=30)
    order = [cast.claim()[0]["id"] for _ in range(11)]
    assert order.index(row.public_id.hex) <= 2
    ahead = [Prediction.objects.get(public_id=one).input["steps"] for one in order]
    assert [n for n in ahead if n != 30] == list(range(1, 11))


def test_priority_goes_first(payer):
    cast.submit(payer, steps=5)
    urgent = cast.submit(payer, steps=6, priority=1)
    assert cast.claim()[0]["id"] == urgent.public_id.hex


def test_what_is_loaded_goes_first_but_nothing_starves(payer):
    cast.shelve(name="jug", recipe__family="other")
    old = cast.submit(payer, model="kiln/jug")
    new = cast.submit(payer)
    warm = Warmth([cast.again(new).version.sha256])
    assert cast.claim(warmth=warm)[0]["id"] == new.public_id.hex
    another = cast.submit(payer)
    move_back(old, fair_at=60)
    assert cast.claim(warmth=warm)[0]["id"] == old.public_id.hex
    assert cast.claim(warmth=warm)[0]["id"] == another.public_id.hex


def test_places_are_counted(payer):
    rows = [cast.submit(payer, steps=n + 1) for n in range(3)]
    found = predictions.queue_position(row.public_id for row in rows)
    assert [found[row.public_id] for row in rows] == [(n, cast.LANE, 1000, 0, 0) for n in range(3)]
    cast.claim()
    found = predictions.queue_position(row.public_id for row in rows)
    assert found == {
        rows[1].public_id: (0, cast.LANE, 1000, 0, 0),
        rows[2].public_id: (1, cast.LANE, 1000, 0, 0),
    }


# Idempotency


def test_the_same_key_and_body_is_the_same_run(payer):
    first = cast.submit(payer, idempotency_key="order 1")
    again = cast.submit(payer, idempotency_key="order 1")
    assert first.pk == again.pk
    assert not first.is_replay
    assert again.is_replay
    assert ledger.balance(payer.pk).held_micros == cast.PRICE_MICROS
    with pytest.raises(predictions.IdempotencyConflict):
        cast.submit(payer, idempotency_key="order 1", prompt="another")
    assert cast.submit(cast.payer(), idempotency_key="order 1").pk != first.pk


def test_a_key_counts_for_a_day(payer):
    first = cast.submit(payer, idempotency_key="order 1")
    IdempotencyKey.objects.update(created_at=timezone.now() - later(hours=25))
    again = cast.submit(payer, idempotency_key="order 1", prompt="another")
    assert again.pk != first.pk
    IdempotencyKey.objects.update(created_at=timezone.now() - later(hours=25))
    predictions.tidy()
    assert not IdempotencyKey.objects.exists()


# Media and statistics


def test_expired_media_go_and_the_answer_says_so(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.succeed(job)
    medium = Asset.objects.get()
    Asset.objects.update(expires_at=timezone.now() - later(seconds=1))
    assert predictions.as_json(cast.again(row))["output"]["images"] == [None]
    assert assets.purge_expired() == 1
    delete_media(message_id=Outbox.objects.get().pk)
    assert not default_storage.exists(medium.storage_name)
    assert not Outbox.objects.exists()
    assert predictions.as_json(cast.again(row))["output"]["images"] == [None]


def test_runs_are_counted_once(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    cast.succeed(job)
    Endpoint.objects.update(counted_until=timezone.now() - later(hours=1))
    Prediction.objects.update(
        started_at=timezone.now() - later(seconds=103), finished_at=timezone.now() - later(seconds=100)
    )
    since = Endpoint.objects.get().counted_until
    predictions.tidy()
    predictions.tidy()
    # Another control process that had looked before.
    catalog.record_stats(
        endpoint_id=row.endpoint_id,
        runs=1,
        typical_ms=1,
        since=since,
        until=timezone.now() - later(seconds=30),
    )
    listing = cast.again(row).version.listing
    assert listing.run_count == 1
    assert abs(Endpoint.objects.get().typical_ms - 3000) < 200


def finished(payer) -> Prediction:
    row = cast.submit(payer)
    assert cast.succeed(cast.claim()[0])
    return cast.again(row)


def test_files_without_a_row_go_after_a_day(payer):
    asset = finished(payer).assets.get()
    young, old = (assets.store(cast.png()).storage_name for _ in range(2))
    for name in (old, asset.storage_name):
        os.utime(default_storage.path(name), (time.time() - 2 * 86_400,) * 2)
    assert assets.purge_orphans() == 1
    assert not default_storage.exists(old)
    assert default_storage.exists(young)
    assert default_storage.exists(asset.storage_name)


def test_inputs_are_forgotten_when_their_time_is_over(payer):
    old, young = finished(payer), finished(payer)
    month = 31 * 86_400
    move_back(old, created_at=month, started_at=month, finished_at=month)
    predictions.tidy_daily()
    assert cast.again(old).input == {}
    assert cast.again(young).input["prompt"]
