"""Attempts that are lost: what it costs whom, when it is tried again, and what no engine takes for a while."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F

from marketplace import dispatch
from marketplace.models import User
from playground import live, predictions
from playground.models import Fault, Prediction, Quarantine
from playground.predictions import faults, work
from playground.predictions.find import Place
from playground.predictions.sweep import WORKER_LOCK_CLASS
from tests.predictions import cast
from tests.predictions.cast import later

DEAD_LOCK = 2_000_000_001  # that nobody holds
LIVING_LOCK = DEAD_LOCK + 1


def kill(*, limit: int = 1, worker: str) -> list[str]:
    """An engine takes what waits and dies of it; the ids of what it took."""
    jobs = cast.claim(limit=limit, worker=worker, worker_lock=DEAD_LOCK)
    with (
        connection.cursor() as cursor
    ):  # as if its lease were over too: the server may be younger than the grace
        cursor.execute(
            "UPDATE playground_prediction SET lease_until = now() - interval '1 s' WHERE status = 'running'"
        )
    predictions.sweep()
    return [job["id"] for job in jobs]


def put_forward(**span: float) -> None:
    """So much time goes by for what waits and what is paused."""
    Prediction.objects.filter(not_before__isnull=False).update(not_before=None)
    for row in Quarantine.objects.in_force():
        row.until -= later(**span)
        row.since -= later(**span)
        row.save()


def place(row: Prediction) -> Place:
    return predictions.queue_position([row.public_id])[row.public_id]


def test_a_result_that_finds_no_room_is_made_again_later(payer):
    row = cast.submit(payer)
    (job,) = cast.claim()
    sentence = "The result could not be stored."
    work.fail(id=job["id"], fence=job["fence"], code="not_stored", message=sentence, retryable=True)
    waiting = cast.again(row)
    assert (waiting.status, waiting.faults) == ("queued", 1)
    assert cast.claim() == []
    found = place(row)
    assert 5 < found.again_s < 60
    assert predictions.waiting(found, []).startswith("Next try within ")
    swept = predictions.sweep()
    assert swept is not None
    assert swept["woken"] == 0  # nobody is woken for what may not run yet
    put_forward()
    (again,) = cast.claim()
    assert again["fence"] == 2
    assert cast.succeed(again)
    assert cast.again(row).cost_micros == cast.PRICE_MICROS
    (fault,) = Fault.objects.all()
    assert (fault.code, fault.attempt, fault.killed) == ("not_stored", 1, False)


def test_a_pause_is_not_taken_from_the_time_to_start(payer):
    hasty = cast.shelve(name="hasty", endpoint__start_within_seconds=5)
    row = cast.submit(payer, model=hasty)
    (job,) = cast.claim()
    work.fail(id=job["id"], fence=job["fence"], code="not_stored", message="No room.", retryable=True)
    waiting = cast.again(row)
    assert waiting.start_by - waiting.not_before == later(seconds=5)


def test_what_waits_behind_goes_before_the_third_try(payer):
    bad, good = cast.submit(payer), cast.submit(payer, steps=5)
    assert kill(worker="one") == [bad.public_id.hex]
    assert kill(worker="two") == [bad.public_id.hex]  # at once: the worker may have died of something else
    assert cast.claim()[0]["id"] == good.public_id.hex


def test_who_is_ahead_but_may_not_run_is_not_counted(payer):
    first, second = cast.submit(payer), cast.submit(payer, steps=5)
    assert place(second).ahead == 1
    Prediction.objects.filter(pk=first.pk).update(not_before=first.created_at + later(hours=1))
    assert place(second).ahead == 0


@pytest.mark.parametrize(("is_everybody", "left"), [(False, 1), (True, 0)])
def test_who_is_ahead_with_a_model_that_is_paused_is_not_counted(payer, is_everybody, left):
    first, second = cast.submit(payer), cast.submit(payer, model=cast.shelve(name="jug"))
    cast.submit(cast.payer())
    assert place(second).ahead == 2
    Quarantine.objects.create(
        version_id=first.version_id,
        workspace_id=None if is_everybody else payer.pk,
        reason="It ended workers.",
        since=first.created_at,
        until=first.created_at + later(minutes=5),
    )
    assert place(second).ahead == left
    put_forward(minutes=6)
    assert place(second).ahead == 2


def test_who_is_ahead_but_will_not_start_in_time_is_not_counted(payer):
    first, second = cast.submit(payer), cast.submit(payer, steps=5)
    Prediction.objects.filter(pk=first.pk).update(start_by=first.created_at)
    assert place(second).ahead == 0


def test_the_input_s_own_faults_are_nobody_s(payer):
    for code in ("invalid_input", "unusable_output"):
        cast.submit(payer)
        (job,) = cast.claim()
        work.fail(id=job["id"], fence=job["fence"], code=code, message="No.", retryable=False)
    assert not Fault.objects.exists()


def test_one_prediction_that_ends_engines_fails_and_its_mates_do_not(payer):
    rows = [cast.submit(payer, prompt=str(n)) for n in range(3)]
    poison = rows[0].public_id.hex
    assert len(kill(limit=4, worker="one")) == 3
    assert kill(limit=4, worker="two") == [poison]
    for _ in rows[1:]:
        (job,) = cast.claim(limit=4)
        assert cast.succeed(job)
    put_forward()
    assert kill(limit=4, worker="three") == [poison]
    assert [cast.again(row).status for row in rows] == ["failed", "succeeded", "succeeded"]
    assert cast.again(rows[0]).error_code == "worker_lost"
    assert not Quarantine.objects.exists()
    blamed = Fault.objects.filter(alone=True).values_list("prediction__public_id", flat=True)
    assert {one.hex for one in blamed} == {poison}


def end_engines_with(payer, *, model: str = "kiln/vase") -> list[Prediction]:
    """Two runs of `payer`, each of which ends the engine that takes it, until nothing of theirs is taken."""
    rows = [cast.submit(payer, model=model, steps=5 + n) for n in range(2)]
    number = 0
    while kill(worker=f"{payer.slug}-{number}"):
        number += 1
        put_forward(seconds=0)
        assert number < 9
    return rows


def test_a_workspace_whose_runs_end_engines_is_paused_and_others_are_not(payer):
    rows = end_engines_with(payer)
    assert Fault.objects.filter(killed=True).count() == 4  # three of the first, and the second's first
    (paused,) = faults.quarantined()
    assert (paused.workspace, paused.version) == (payer, rows[0].version)
    found = place(cast.again(rows[1]))
    assert 290 < found.paused_s < 360
    said = "This model ended several workers, so it is paused. The run goes on within "
    assert predictions.waiting(found, []).startswith(said)
    assert cast.claim() == []
    other = cast.submit(cast.payer())
    assert cast.claim()[0]["id"] == other.public_id.hex
    cast.shelve(name="jug")
    jug = cast.submit(payer, model="kiln/jug")
    assert cast.claim()[0]["id"] == jug.public_id.hex


def test_after_the_pause_one_more_is_enough_and_it_is_longer(payer):
    end_engines_with(payer)
    put_forward(seconds=301)
    assert kill(worker="later")
    put_forward(seconds=0)
    assert cast.claim() == []
    (paused,) = faults.quarantined()
    assert paused.until - paused.since == 2 * faults.FIRST_PAUSE


def test_a_version_that_works_for_nobody_is_paused_for_all(payer):
    kill_once = [cast.payer(name=name) for name in ("b", "c")]
    cast.submit(payer, steps=5)
    kill(worker="one")
    put_forward()
    kill(worker="two")
    put_forward()
    kill(worker="three")  # the first run has failed
    assert not Quarantine.objects.exists()
    cast.submit(kill_once[0], steps=6)
    kill(worker="four")
    (paused,) = faults.quarantined()
    assert paused.workspace is None
    row = cast.submit(kill_once[1], steps=7)
    assert cast.claim() == []
    assert place(row).paused_s > 0


def test_what_works_for_somebody_is_not_paused_for_all(payer):
    other = cast.payer(name="other")
    cast.submit(payer, steps=5)
    kill(worker="one")
    put_forward()
    kill(worker="two")
    good = cast.submit(other, steps=6)
    (job,) = cast.claim()
    assert job["id"] == good.public_id.hex
    assert cast.succeed(job)
    put_forward()
    kill(worker="three")
    cast.submit(other, steps=7)
    kill(worker="four")
    assert not Quarantine.objects.exists()


def test_a_quarantine_is_let_go_by_hand_once(payer):
    (_, waiting) = end_engines_with(payer)
    (paused,) = faults.quarantined()
    somebody = User.objects.create_user("staff@example.test", "a long password")
    assert faults.let_go(paused.pk, by=somebody) == paused
    assert faults.let_go(paused.pk, by=somebody) is None
    assert Quarantine.objects.get().released_by == somebody
    assert kill(worker="again") == [waiting.public_id.hex]
    put_forward()
    assert not faults.quarantined()  # what was before counts no more


def test_a_run_that_waited_for_its_model_says_so_at_its_end(payer):
    (_, waiting) = end_engines_with(payer)
    cast.move_back(waiting, start_by=700, created_at=700)
    predictions.sweep()
    ended = cast.again(waiting)
    assert ended.error_code == "start_deadline"
    assert "its model is paused, as it ended several workers" in ended.error_message


def test_a_run_that_hangs_before_its_first_step_counts_against_its_version(payer):
    for steps in (0, 1):
        row = cast.submit(payer)
        (job,) = cast.claim()
        if steps:
            cast.step(job, steps)
        cast.move_back(row, started_at=100, created_at=100)
        predictions.sweep()
        assert cast.again(row).error_code == "timeout"
    assert list(Fault.objects.order_by("pk").values_list("code", "killed")) == [
        ("timeout", True),
        ("timeout", False),
    ]


def test_what_an_engine_lost_and_lived_on_excuses_nobody(payer):
    cast.submit(payer)
    (job,) = cast.claim(worker="one")
    work.fail(id=job["id"], fence=job["fence"], code="not_stored", message="No room.", retryable=True)
    poison = cast.submit(payer, steps=5)
    assert kill(worker="one") == [poison.public_id.hex]
    assert Fault.objects.get(prediction=poison).alone


def test_an_engine_that_was_being_stopped_was_not_ended_by_its_run(payer):
    """It was loading weights or in a long step as its time to stop was over."""
    cast.submit(payer)
    live.report_engine(engine_that("stops", stopping=True))
    kill(worker="stops")
    (fault,) = Fault.objects.all()
    assert (fault.code, fault.killed) == ("worker_lost", False)
    live.report_engine(engine_that("works", stopping=False))
    kill(worker="works")
    assert Fault.objects.latest("pk").killed
    dispatch.redis_client().delete(f"engines:{cast.LANE}")


def test_who_was_lost_with_the_database_was_not_ended_by_its_run(payer):
    """The whole machine went down."""
    row = cast.submit(payer)
    cast.claim(worker="one", worker_lock=DEAD_LOCK)
    long_ago = later(days=3650)
    Prediction.objects.filter(pk=row.pk).update(
        started_at=F("started_at") - long_ago, lease_until=F("lease_until") - long_ago
    )
    predictions.sweep()
    (fault,) = Fault.objects.all()
    assert (fault.code, fault.killed) == ("worker_lost", False)


def engine_that(worker: str, *, stopping: bool) -> live.Engine:
    return {
        "worker": worker,
        "lane": cast.LANE,
        "loaded": [],
        "loading": None,
        "loading_expected_s": None,
        "loading_elapsed_s": None,
        "busy": True,
        "draining": stopping,
        "stopping": stopping,
    }


def test_a_worker_that_lives_was_not_ended_by_its_run(payer):
    """It froze, or its database was away for longer than a lease."""
    cast.submit(payer)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [WORKER_LOCK_CLASS, LIVING_LOCK])
    cast.claim(worker="lives", worker_lock=LIVING_LOCK)
    Prediction.objects.update(lease_until=F("lease_until") - later(minutes=1))
    predictions.sweep()
    (fault,) = Fault.objects.all()
    assert (fault.code, fault.killed) == ("worker_lost", False)


@pytest.mark.django_db(transaction=True)
def test_the_log_of_a_lost_attempt_is_kept(transactional_db):
    cast.shelve()
    row = cast.submit(cast.payer())
    (job,) = cast.claim(worker="one", worker_lock=DEAD_LOCK)
    report: work.Report = {
        "id": job["id"],
        "fence": job["fence"],
        "step": 1,
        "steps": 4,
        "preview": None,
        "logs": ["Weights loaded in 2.0 s."],
    }
    work.step(reports=[report])
    cast.move_back(row, lease_until=60)
    predictions.sweep()
    assert cast.again(row).logs == "Weights loaded in 2.0 s."
    shown = live.read(row.public_id)
    assert shown is not None
    assert shown["logs"] == ["Weights loaded in 2.0 s."]


def test_old_faults_are_forgotten(payer):
    end_engines_with(payer)
    Fault.objects.update(occurred_at=cast.again(Prediction.objects.first()).created_at - later(days=40))
    Quarantine.objects.update(until=Prediction.objects.first().created_at - later(days=40))
    predictions.tidy()
    assert not Fault.objects.exists()
    assert not Quarantine.objects.exists()


def test_a_disk_without_room_keeps_no_half_of_a_file(payer):
    """The process may not let a file grow: what a full disk is to it."""
    cast.submit(payer)
    (job,) = cast.claim()
    before = set(files())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    picture = cast.png(edge=700)  # with a thumbnail
    assert len(picture) > 512
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            cast.succeed(job, data=picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(files()) == before
    assert cast.succeed(job, data=picture)
    assert len(set(files()) - before) == 2


def files() -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]
