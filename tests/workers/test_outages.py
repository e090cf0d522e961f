"""What workers and the clock do while the database is away for a moment, with connections that really break."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import OperationalError, connection

from playground import predictions
from playground.models import Fault, Prediction
from playground.predictions import work
from playground.predictions.sweep import WORKER_LOCK_CLASS
from tests.predictions import cast
from workers import drain, tasks
from workers.engine import MediaOutput, Outcome, StepReport
from workers.session import EXIT_HUNG

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shelf(transactional_db):
    cast.shelve()
    yield
    cast.money_is_right()


def server(**named) -> psycopg.Connection:
    """A connection that is nobody else's."""
    known = connection.get_connection_params()
    wanted = {name: known[name] for name in ("host", "port", "user", "password", "dbname") if known.get(name)}
    return psycopg.connect(**wanted, autocommit=True, **named)


def break_connection() -> None:
    """What a restart of the server does to the connection of this thread."""
    connection.ensure_connection()
    with server() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


class Worker:
    """As much of a session as telling needs."""

    def lost(self) -> set[str]:
        return set()


def test_the_clock_goes_on_after_its_connection_broke():
    row = cast.submit(cast.payer())
    cast.move_back(row, start_by=700, created_at=700)

    def clock() -> list[str]:
        break_connection()
        with pytest.raises(OperationalError):
            predictions.sweep()
        seen = []
        for _ in range(2):
            tasks.sweep_once()
            seen.append(cast.again(row).status)
        connection.close()
        return seen

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(clock).result() == ["queued", "failed"]


def test_a_step_of_the_clock_that_fails_holds_up_no_other(monkeypatch):
    done: list[str] = []

    def step(name: str, *, fails: bool = False) -> tasks.Steps:
        def act() -> None:
            done.append(name)
            if fails:
                raise OperationalError(name)

        return (act,)

    monkeypatch.setattr(tasks, "EACH_TURN", step("turn", fails=True))
    monkeypatch.setattr(tasks, "EACH_MINUTE", (*step("first", fails=True), *step("second")))
    monkeypatch.setattr(tasks, "EACH_DAY", step("day"))
    tasks.sweep_once(with_tidy=True)
    tasks.sweep_once(daily=True)
    assert done == ["turn", "first", "second", "turn", "day"]


def test_a_row_that_cannot_be_closed_holds_up_no_other():
    payer = cast.payer()
    bad, good = cast.submit(payer), cast.submit(payer)
    # Its hold is not found under this id.
    Prediction.objects.filter(pk=bad.pk).update(public_id="00000000-0000-7000-8000-000000000000")
    for row in (bad, good):
        cast.move_back(row, start_by=700, created_at=700)
    try:
        assert predictions.sweep()["expired"] == 1
        assert cast.again(good).status == "failed"
        assert cast.again(bad).status == "queued"
    finally:
        Prediction.objects.filter(pk=bad.pk).update(public_id=bad.public_id)


def test_a_result_outlives_a_broken_connection():
    row = cast.submit(cast.payer())
    (job,) = cast.claim()
    picture = MediaOutput(cast.png(), "image/png", 8, 8)
    break_connection()
    drain._settle_safely(Outcome(job["id"], "succeeded", outputs=(picture,), seed=7), job["fence"], ["done"])
    now = cast.again(row)
    assert (now.status, now.faults, now.attempt) == ("succeeded", 0, 1)
    assert now.cost_micros == cast.PRICE_MICROS


def test_a_run_goes_on_while_progress_cannot_be_noted():
    row = cast.submit(cast.payer())
    (job,) = cast.claim()

    def progress(step: int) -> list[str]:
        report = StepReport(job["id"], step, 4)
        return list(drain._progress(Worker(), {job["id"]: job["fence"]}, {job["id"]: []}, {}, [report]))

    break_connection()
    assert progress(1) == []
    assert progress(2) == []
    assert cast.again(row).step == 2
    predictions.cancel(row)
    assert progress(3) == [job["id"]]


SESSION = """
import django, sys, time
django.setup()
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from workers import session
session.BEAT_SECONDS = 0.1
me = session.Session(["test"])
print(me.lock, flush=True)
if sys.stdin.readline():
    session.KEEP_SECONDS = 0
    me.keep({})
    sys.stdin.readline()
"""

HANGS = """
import django, sys, threading, time
django.setup()
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from tests.predictions import cast
from workers import drain, session
from workers.engine import Job, MediaOutput, Outcome, families, pulse
families.add_folder(session.settings.BASE_DIR / "tests" / "families")
session.BEAT_SECONDS, session.LOCKED_SECONDS, pulse.LEAST_SECONDS = 0.1, 2.0, 0.3
session.STORE_SECONDS = 1.0
me = session.Session(["test"])
card = {"family": "faulty", "weights": ""}
asked = {"seed": 1, "num_inference_steps": 9, "fault": sys.argv[2]}
hangs, *made = [(id, int(fence)) for id, fence in (one.split(":") for one in sys.argv[3:])]

def store(id, fence):
    while me._hung_at is None:
        time.sleep(0.01)
    picture = MediaOutput(cast.png(), "image/png", 8, 8)
    drain._settle_safely(Outcome(id, "succeeded", outputs=(picture,), seed=7), fence, [])
    me.let_go({id: fence})

if made:  # the first is stored as soon as the other run is seen to hang, and the others never are
    me.keep(dict(made))
    threading.Thread(target=store, args=made[0]).start()
with me.at_work(dict([hangs]), 600):
    me.engine.run([Job(hangs[0], card, asked)], lambda reports: [])
"""


def a_session() -> subprocess.Popen[str]:
    """A process with a session, which says its lock; at a line it begins to store what never is stored."""
    return subprocess.Popen(
        [sys.executable, "-c", SESSION, connection.settings_dict["NAME"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def test_a_result_that_hangs_as_it_is_stored_ends_the_process():
    with a_session() as process:
        try:
            assert process.stdout.readline()
            process.stdin.write("store\n")
            process.stdin.flush()
            assert process.wait(60) == EXIT_HUNG
        finally:
            process.kill()


def hung(fault: str, job: work.Job, *made: work.Job) -> subprocess.CompletedProcess[str]:
    """A process that ran `job` until it hung, which an endpoint with ten minutes allows, and was storing others."""
    jobs = [f"{one['id']}:{one['fence']}" for one in (job, *made)]
    command = [sys.executable, "-c", HANGS, connection.settings_dict["NAME"], fault, *jobs]
    return subprocess.run(
        command, env=os.environ, timeout=120, check=False, stderr=subprocess.PIPE, text=True
    )


def test_a_step_that_hangs_ends_the_process_once_it_has_stored_what_it_can_and_says_so_of_its_run():
    payer = cast.payer()
    rows = [cast.submit(payer) for _ in range(3)]
    # The third is another's in its row, so that the one that hangs is alone once the second is stored.
    jobs = [cast.claim(worker=worker)[0] for worker in ("one", "one", "another")]
    ended = hung("hang", *jobs)
    assert ended.returncode == EXIT_HUNG, ended.stderr
    row, stored, not_stored = map(cast.again, rows)
    assert (row.status, row.faults) == ("queued", 1)
    assert (stored.status, stored.faults, stored.cost_micros) == ("succeeded", 0, cast.PRICE_MICROS)
    assert (not_stored.status, not_stored.faults) == ("queued", 1)
    faults = {fault.prediction_id: fault for fault in Fault.objects.all()}
    assert (faults[row.pk].code, faults[row.pk].killed, faults[row.pk].alone) == ("hung", True, True)
    assert "after step 2 of 9" in faults[row.pk].message
    assert (faults[not_stored.pk].code, faults[not_stored.pk].killed) == ("not_stored", False)


def test_what_hangs_with_the_lock_of_python_is_ended_too_and_told():
    cast.submit(cast.payer())
    (job,) = cast.claim()
    ended = hung("hang_locked", job)
    assert ended.returncode == 1
    assert "in _hang_locked" in ended.stderr


def test_a_worker_takes_its_own_lock_again():
    held = "SELECT pid, objid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted"
    process = a_session()
    try:
        lock = int(process.stdout.readline())
        with server() as other:
            ((pid, number),) = other.execute(held, [WORKER_LOCK_CLASS]).fetchall()
            assert number == lock
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
            deadline = time.monotonic() + 60
            while True:
                found = other.execute(held, [WORKER_LOCK_CLASS]).fetchall()
                if found and found[0][0] != pid:
                    break
                assert time.monotonic() < deadline, "it does not take it again"
                time.sleep(0.05)
            assert [number for _, number in found] == [lock]
    finally:
        process.kill()
        process.communicate()
