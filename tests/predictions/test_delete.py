"""Deleting runs with their media: hidden at once, undone for a while, gone for good; and whoever else is at it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from billing import ledger
from marketplace.ids import encode, uuid7
from marketplace.models import Outbox
from playground import assets, live, predictions
from playground.assets.purge import DELETE_TASK, delete_media
from playground.models import Asset, Deletion, Prediction, Source
from playground.predictions import delete as deletion
from playground.predictions import lineage, settle, work
from tests.at_once import at_once
from tests.predictions import cast
from tests.predictions.test_files import INPUT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shelf(transactional_db):
    cast.shelve()
    cast.shelve(name="again", endpoint__input=INPUT)
    yield
    cast.money_is_right()


@pytest.fixture
def ada():
    return cast.payer(name="ada")


def made(workspace, model="kiln/vase", **values) -> Prediction:
    row = cast.submit(workspace, model=model, **values)
    assert cast.succeed(cast.claim()[0])
    return cast.again(row)


def drop(row, **named) -> deletion.Deleted:
    return deletion.delete(row.workspace, [row.public_id], by=None, **named)


def upload(workspace, colour: int = 9) -> Asset:
    """A picture that somebody sent."""
    (stored,) = assets.store_all([(cast.png(colour), {})])
    names = {"storage_name": stored.storage_name, "sha256": stored.sha256, "media_type": stored.media_type}
    sizes = {"size": stored.size, "width": 8, "height": 8}
    ends = timezone.now() + timedelta(days=7)
    return Asset.objects.create(workspace=workspace, kind="upload", expires_at=ends, **names, **sizes)


def too_late() -> None:
    Deletion.objects.update(created_at=timezone.now() - deletion.UNDO - timedelta(seconds=1))


def files_deleted() -> None:
    """What control does with the outbox."""
    for message in Outbox.objects.filter(task=DELETE_TASK):
        delete_media(message.pk)


def test_a_deleted_run_is_nowhere(ada):
    row = made(ada)
    asset = row.assets.get()
    before = ledger.balance(ada.pk)
    drop(row)
    with pytest.raises(predictions.NotFound):
        predictions.find(ada, row.uid)
    assert not predictions.history(ada).exists()
    assert predictions.documents([row.public_id]) == {}
    assert not Asset.objects.live().exists()
    assert live.read(row.public_id) is None
    assert default_storage.exists(asset.storage_name)
    assert ledger.balance(ada.pk) == before


def test_undoing_brings_everything_back(ada):
    row = made(ada)
    done = drop(row)
    assert deletion.pending(ada, done.deletion.uid) == 1
    assert deletion.undo(cast.payer(name="mal"), done.deletion.uid) == 0
    assert deletion.undo(ada, done.deletion.uid) == 1
    assert predictions.as_json(predictions.find(ada, row.uid)) == predictions.as_json(row)
    assert Asset.objects.live().count() == 1
    assert deletion.undo(ada, done.deletion.uid) == 0
    too_late()
    predictions.tidy()
    files_deleted()
    assert default_storage.exists(row.assets.get().storage_name)


def test_after_its_time_it_is_gone_for_good_and_the_money_is_not(ada):
    row = made(ada, prompt="a secret vase")
    name = row.assets.get().storage_name
    done = drop(row)
    spent = ledger.balance(ada.pk).balance_micros
    too_late()
    assert deletion.undo(ada, done.deletion.uid) == 0
    predictions.tidy()
    assert not Asset.objects.exists()
    files_deleted()
    assert not default_storage.exists(name)
    husk = Prediction.objects.get()
    assert (husk.input, husk.output, husk.logs, husk.metrics) == ({}, None, "", {})
    assert husk.cost_micros == cast.PRICE_MICROS
    assert deletion.purge() == 0
    Deletion.objects.update(purged_at=timezone.now() - deletion.HUSK - timedelta(seconds=1))
    predictions.tidy_daily()
    assert not Prediction.objects.exists()
    assert not Deletion.objects.exists()
    assert ledger.balance(ada.pk).balance_micros == spent


def test_what_is_not_yet_over_is_not_purged(ada):
    drop(made(ada))
    predictions.tidy()
    assert Asset.objects.exists()


def test_an_open_run_is_left_or_canceled_first(ada):
    row = cast.submit(ada)
    assert drop(row).left_open == [row.public_id]
    with pytest.raises(predictions.StillOpen):
        predictions.delete_one(ada, row.public_id, by=None)
    assert cast.again(row).deletion is None
    predictions.delete_one(ada, row.public_id, by=None, cancel_open=True)
    gone = cast.again(row)
    assert gone.status == "canceled"
    assert gone.deletion is not None
    assert ledger.balance(ada.pk).held_micros == 0


def test_deleting_twice_is_deleting_once_and_others_have_nothing_to_delete(ada):
    row, mal = made(ada), cast.payer(name="mal")
    for number in (row.public_id, uuid7()):
        with pytest.raises(predictions.NotFound):
            predictions.delete_one(mal, number, by=None, cancel_open=True)
    assert cast.again(row).deletion is None
    predictions.delete_one(ada, row.public_id, by=None)
    first = cast.again(row).deletion
    predictions.delete_one(ada, row.public_id, by=None)
    assert cast.again(row).deletion == first
    assert Deletion.objects.count() == 1


def test_a_free_cancel_is_not_won_back_by_deleting(ada, settings):
    settings.FREE_CANCELS_PER_DAY = 1
    for expected in (0, cast.PRICE_MICROS // 2):
        row = cast.submit(ada, exact=True)
        cast.step(cast.claim()[0], 2)
        predictions.cancel(row)
        assert cast.again(row).cost_micros == expected
        drop(row)
        too_late()
        predictions.tidy()
        predictions.tidy_daily()


def test_the_idempotency_key_of_a_deleted_run_makes_no_second_one(ada):
    row = cast.submit(ada, idempotency_key="order 1")
    cast.succeed(cast.claim()[0])
    drop(row)
    with pytest.raises(predictions.IdempotencyConflict, match="was deleted"):
        cast.submit(ada, idempotency_key="order 1")
    assert Prediction.objects.count() == 1


# ---- Files that were sent in ------------------------------------------------------------------------------------


def test_an_upload_goes_with_the_last_run_that_uses_it(ada):
    picture = upload(ada)
    first = made(ada, model="kiln/again", image=picture.uid)
    second = made(ada, model="kiln/again", image=picture.uid)
    drop(first)
    assert Asset.objects.live().filter(pk=picture.pk).exists()
    done = drop(second)
    assert not Asset.objects.live().filter(pk=picture.pk).exists()
    deletion.undo(ada, done.deletion.uid)
    assert Asset.objects.live().filter(pk=picture.pk).exists()


def test_deleting_both_at_once_takes_the_upload_too(ada):
    picture = upload(ada)
    rows = [made(ada, model="kiln/again", image=picture.uid) for _ in range(2)]
    deletion.delete(ada, [row.public_id for row in rows], by=None)
    assert not Asset.objects.live().exists()


def test_the_output_of_another_run_stays_with_that_run(ada):
    source = made(ada)
    taken = made(ada, model="kiln/again", image=source.assets.get().uid)
    drop(taken)
    assert Asset.objects.live().filter(prediction=source).exists()


def test_a_run_that_was_taken_in_gets_its_file_though_it_was_deleted_since(ada):
    source = made(ada)
    waiting = cast.submit(ada, model="kiln/again", image=source.assets.get().uid)
    drop(source)
    too_late()
    predictions.tidy()
    (job,) = cast.claim()
    assert job["input"]["image"].startswith("data:image/png;base64,")
    with pytest.raises(Exception, match="image"):
        cast.submit(ada, model="kiln/again", image=waiting.input["image"])


# ---- Lineage ----------------------------------------------------------------------------------------------------


def test_lineage_is_told_from_both_ends_and_without_what_was_deleted(ada):
    source = made(ada)
    taken = made(ada, model="kiln/again", image=source.assets.get().uid)
    sent = made(ada, model="kiln/again", image=upload(ada).uid)
    assert [row.pk for row in lineage.made_of(source)] == [taken.pk]
    (kin,) = lineage.made_from(taken)
    assert (kin.path, kin.run, kin.asset) == ("image", source, source.assets.get())
    (kin,) = lineage.made_from(sent)
    assert (kin.run, kin.asset.kind) == (None, "upload")
    assert lineage.made_from(source) == []
    drop(taken)
    assert lineage.made_of(source) == []
    source.assets.all().delete()  # as when it expires
    again = made(ada, model="kiln/again", image=upload(ada, 10).uid)
    assert lineage.made_from(again)
    assert Source.objects.get(prediction=taken).made_by == source


# ---- At once ----------------------------------------------------------------------------------------------------


def test_a_worker_that_settles_while_it_is_deleted(ada, settings):
    settings.FREE_CANCELS_PER_DAY = 1000
    for number in range(25):
        row = cast.submit(ada)
        (job,) = cast.claim()
        cast.step(job, 1)
        kept, done = at_once(
            lambda job=job: cast.succeed(job),
            lambda row=row, number=number: drop(row, cancel_open=bool(number % 2)),
        )
        assert not isinstance(done, Exception), done
        now = cast.again(row)
        assert kept is (now.status == "succeeded")
        assert now.is_terminal or done.left_open
        if now.deletion is None:
            assert done.left_open == [row.public_id]
        else:  # nothing of it is left to be seen, however late it was stored
            assert not Asset.objects.live().filter(prediction=row).exists()
            assert live.read(row.public_id) is None
        Prediction.objects.filter(pk=row.pk, status="running").update(lease_until=timezone.now())
        predictions.sweep()


def test_many_who_delete_the_same_at_once(ada):
    rows = [made(ada) for _ in range(6)]
    ids = [row.public_id for row in rows]
    results = at_once(
        *[lambda turned=n % 2: deletion.delete(ada, ids[::-1] if turned else ids, by=None) for n in range(6)]
    )
    assert not [one for one in results if isinstance(one, Exception)], results
    assert sorted(len(one.hidden) for one in results) == [0] * 5 + [6]
    assert Deletion.objects.count() == 1


def test_undo_and_purge_at_once_and_one_wins(ada):
    for _ in range(10):
        row = made(ada)
        done = drop(row)
        edge = timezone.now() - deletion.UNDO + timedelta(milliseconds=20)
        Deletion.objects.filter(pk=done.deletion.pk).update(created_at=edge)
        at_once(
            lambda done=done: deletion.undo(ada, done.deletion.uid),
            deletion.purge,
            lambda done=done: deletion.undo(ada, done.deletion.uid),
            deletion.purge,
        )
        now = cast.again(row)
        assert (now.input == {}) is (now.deletion is not None and now.deletion.purged_at is not None)
        assert now.assets.filter(deletion=None).exists() is (now.deletion is None)


def test_ids_that_name_nothing(ada):
    assert deletion.undo(ada, "d_nonsense") == deletion.undo(ada, encode(uuid7(), "d")) == 0
    assert deletion.delete(ada, [], by=None).deletion is None


# ---- Logs -------------------------------------------------------------------------------------------------------


def test_the_end_of_a_log_is_kept_however_the_run_ends(ada, monkeypatch):
    monkeypatch.setattr(settle, "MAX_LOG", 12)
    rows = [cast.submit(ada, exact=True) for _ in range(3)]
    jobs = [cast.claim()[0] for _ in rows]
    lines = ["the beginning", "the end"]
    for job in jobs:
        base = {"id": job["id"], "fence": job["fence"]}
        work.step(reports=[{**base, "step": 1, "steps": 4, "preview": None, "logs": lines}])
    predictions.cancel(cast.again(Prediction.objects.get(public_id=jobs[0]["id"])))
    named = {"id": jobs[1]["id"], "fence": jobs[1]["fence"], "logs": lines}
    work.fail(**named, code="broken", message="It broke.", retryable=False)
    named = {"id": jobs[2]["id"], "fence": jobs[2]["fence"], "logs": lines}
    work.succeed(**named, media=[{"data": cast.png(), "meta": {}}], seed=1, metrics={})
    assert set(Prediction.objects.values_list("logs", flat=True)) == {"ning\nthe end"}
