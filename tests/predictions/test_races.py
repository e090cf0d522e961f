"""Many at once, and processes that die: real threads, real connections, a real second process."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from django.db import connection

from billing import ledger
from playground import keyring, predictions
from playground.models import Asset, Prediction
from playground.pages import once
from playground.predictions import work
from tests.at_once import at_once
from tests.pages import world as places
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shelf(transactional_db):
    cast.shelve()
    yield
    cast.money_is_right()


def test_two_hundred_submits_against_a_balance_for_fifty():
    payer = cast.payer(credit=50 * cast.PRICE_MICROS)

    def some(number: int) -> list[object]:
        results: list[object] = []
        for _ in range(number):
            try:
                results.append(cast.submit(payer))
            except ledger.InsufficientCredit as error:
                results.append(error)
        return results

    shares = [13] * 8 + [12] * 8  # of 16 connections, as a process has no hundreds
    results = [one for many in at_once(*[functools.partial(some, n) for n in shares]) for one in many]
    accepted = [one for one in results if isinstance(one, Prediction)]
    refused = [one for one in results if isinstance(one, ledger.InsufficientCredit)]
    assert (len(accepted), len(refused)) == (50, 150)
    assert Prediction.objects.count() == 50
    balance = ledger.balance(payer.pk)
    assert (balance.available_micros, balance.held_micros) == (0, 50 * cast.PRICE_MICROS)
    assert all(one.needed_micros == cast.PRICE_MICROS > one.available_micros for one in refused)
    while jobs := cast.claim(limit=4):
        assert all(cast.succeed(job) for job in jobs)
    assert Prediction.objects.filter(status="succeeded").count() == 50
    assert ledger.balance(payer.pk).balance_micros == 0


def test_many_keys_at_once_are_no_more_than_there_may_be(monkeypatch):
    monkeypatch.setattr(keyring, "MAX_KEYS", 3)
    owner, rights = cast.payer(), keyring.rights_of(role="owner")
    make = functools.partial(keyring.make, owner, keyring.Wish(name="one of many"), rights=rights)
    results = at_once(*[make] * 8)
    assert sum(isinstance(one, keyring.NotAllowed) for one in results) == 5
    assert keyring.working(owner).count() == 3


def test_succeed_and_cancel_race_and_one_settles(settings):
    settings.FREE_CANCELS_PER_DAY = 0
    payer = cast.payer()
    outcomes = Counter()
    for _ in range(50):
        row = cast.submit(payer)
        (job,) = cast.claim()
        cast.step(job, 1)
        kept, canceled = at_once(lambda job=job: cast.succeed(job), lambda row=row: predictions.cancel(row))
        now = cast.again(row)
        assert kept is (now.status == "succeeded")
        assert canceled.status == now.status
        assert now.cost_micros == (cast.PRICE_MICROS if kept else cast.PRICE_MICROS // 4)
        assert Asset.objects.filter(prediction=row).count() == int(kept)
        outcomes[now.status] += 1
    assert sum(outcomes.values()) == 50
    spent = 1_000_000 - ledger.balance(payer.pk).available_micros
    assert spent == sum(row.cost_micros for row in Prediction.objects.all())


def test_every_end_at_once_and_one_wins():
    payer = cast.payer()
    for _ in range(10):
        row = cast.submit(payer)
        (job,) = cast.claim()
        Prediction.objects.filter(pk=row.pk).update(lease_until=row.created_at)
        results = at_once(
            lambda job=job: cast.succeed(job),
            lambda job=job: cast.fail(job),
            lambda job=job: cast.fail(job, retryable=True),
            lambda job=job: cast.release(job),
            lambda row=row: predictions.cancel(row).status == "canceled",
            predictions.sweep,
            lambda job=job: work.renew(fences={job["id"]: job["fence"]}),
        )
        assert not [one for one in results if isinstance(one, Exception)], results
        assert sum(one is True for one in results[:4]) <= 1
        now = cast.again(row)
        if now.status == "queued":
            predictions.cancel(row)
        assert cast.again(row).is_terminal


def test_many_workers_claim_each_run_once():
    payer = cast.payer()
    rows = [cast.submit(payer, steps=1 + n % 3) for n in range(60)]
    taken: list[str] = []

    def drain():
        mine = []
        while jobs := cast.claim(limit=3):
            mine += [job["id"] for job in jobs]
        return mine

    for one in at_once(*[drain] * 8):
        taken += one
    assert sorted(taken) == sorted(row.public_id.hex for row in rows)
    assert set(Prediction.objects.values_list("attempt", flat=True)) == {1}


def test_the_same_key_at_once_is_one_run():
    payer = cast.payer()
    for n in range(5):
        results = at_once(*[lambda n=n: cast.submit(payer, idempotency_key=f"order {n}")] * 12)
        rows = [one for one in results if isinstance(one, Prediction)]
        assert all(isinstance(one, Prediction | predictions.IdempotencyInFlight) for one in results), results
        assert rows
        assert len({row.pk for row in rows}) == 1
        assert sum(not row.is_replay for row in rows) == 1
    assert Prediction.objects.count() == 5


def test_a_form_that_is_sent_twice_at_once_is_one_run(monkeypatch):
    monkeypatch.setattr(once, "IN_FLIGHT_SECONDS", 60.0)
    world = places.build()
    people = [world.ada, *(places.person(world.workspace, f"{n}@example.test") for n in range(3))]
    values = {"prompt": "a teal vase", "form-once": "0" * 32}
    answers = at_once(*[lambda one=one: one.post(f"{world.page}/run", values) for one in people])
    row = Prediction.objects.get()
    assert [(one.status_code, one["Location"]) for one in answers] == [(302, f"/p/{row.uid}")] * 4


def test_the_free_cancels_of_a_day_are_not_multiplied(settings):
    settings.FREE_CANCELS_PER_DAY = 3
    payer = cast.payer()
    rows = [cast.submit(payer, steps=4, exact=True) for _ in range(10)]
    for _ in rows:
        (job,) = cast.claim()
        cast.step(job, 2)
    results = at_once(*[lambda row=row: predictions.cancel(row) for row in rows])
    costs = Counter(one.cost_micros for one in results)
    assert costs == {0: 3, cast.PRICE_MICROS // 2: 7}


def test_one_sweep_at_a_time():
    payer = cast.payer()
    rows = [cast.submit(payer) for _ in range(8)]
    jobs = cast.claim(limit=4) + cast.claim(limit=4)
    assert len(jobs) == 8
    Prediction.objects.update(lease_until=rows[0].created_at)
    swept = at_once(*[predictions.sweep] * 6)
    assert sum(one["lost"] for one in swept if one) == 8
    assert set(Prediction.objects.values_list("status", "faults")) == {("queued", 1)}


# A real worker, in a process of its own

WORKER = """
import os, sys, time
os.environ["DB_POOL_SIZE"] = "2"
import django
django.setup()
from django.conf import settings
from django.db import connection, connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from playground.predictions import work
from playground.predictions.sweep import WORKER_LOCK_CLASS
import psycopg
p = connection.get_connection_params()
own = psycopg.connect(host=p["host"], port=p.get("port"), user=p["user"], password=p["password"], dbname=sys.argv[1],
                      autocommit=True)
own.execute("SELECT pg_advisory_lock(%s, %s)", [WORKER_LOCK_CLASS, 4711])
(job,) = work.claim(worker="other process", lane="test", limit=1, worker_lock=4711)
print(job["id"], job["fence"], flush=True)
sys.stdin.readline()
report = {"id": job["id"], "fence": job["fence"], "step": 3, "steps": 4, "preview": None, "logs": ["late"]}
print(work.step(reports=[report]) == [job["id"]], flush=True)
media = [{"data": open(sys.argv[2], "rb").read(), "meta": {}}]
kept = work.succeed(id=job["id"], fence=job["fence"], media=media, seed=1, metrics={}, logs=[])
print(kept, work.fail(id=job["id"], fence=job["fence"], code="x", message="x", retryable=True), flush=True)
"""


@pytest.fixture
def other_process(tmp_path):
    """A worker that claims one job, and speaks again when it is told to."""
    picture = tmp_path / "x.png"
    picture.write_bytes(cast.png())
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", WORKER, connection.settings_dict["NAME"], str(picture)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )
        started.append(process)
        return process, process.stdout.readline().split()[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def sweep_until(row: Prediction, status: str) -> None:
    """Sweep as the control process does, for as long as the server needs to notice."""
    deadline = time.monotonic() + 60
    while predictions.sweep() is None or cast.again(row).status != status:
        assert time.monotonic() < deadline, f"still {cast.again(row).status}"
        time.sleep(0.05)


def test_a_killed_worker_is_found_by_its_lock(other_process):
    row = cast.submit(cast.payer())
    process, claimed = other_process()
    assert claimed == row.public_id.hex
    for _ in range(3):
        assert predictions.sweep()["lost"] == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    sweep_until(row, "queued")
    now = cast.again(row)
    assert now.faults == 1
    assert now.lease_until is None
    (job,) = cast.claim()
    assert job["fence"] == 2
    assert cast.succeed(job)
    assert cast.again(row).cost_micros == cast.PRICE_MICROS


def test_a_stopped_worker_that_wakes_up_changes_nothing(other_process):
    row = cast.submit(cast.payer())
    process, _ = other_process()
    process.send_signal(signal.SIGSTOP)
    assert predictions.sweep()["lost"] == 0
    Prediction.objects.filter(pk=row.pk).update(lease_until=row.created_at)  # as time does
    assert predictions.sweep()["lost"] == 1
    (job,) = cast.claim()
    cast.step(job, 1)
    before = Prediction.objects.filter(pk=row.pk).values().get()
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate("\n")
    assert said.split() == ["True", "False", "False"]
    assert Prediction.objects.filter(pk=row.pk).values().get() == before
    assert not Asset.objects.exists()
    assert cast.succeed(job)
    assert cast.again(row).attempt == 2


def test_everything_dies_with_eight_waiting_and_one_running(other_process):
    payer = cast.payer()
    rows = [cast.submit(payer, steps=1 + n) for n in range(9)]
    process, claimed = other_process()
    process.kill()
    process.wait()
    assert claimed == rows[0].public_id.hex
    sweep_until(rows[0], "queued")
    order = []
    while jobs := cast.claim():
        order += [job["id"] for job in jobs]
        assert all(cast.succeed(job) for job in jobs)
    assert order == [row.public_id.hex for row in rows]
    assert ledger.balance(payer.pk).balance_micros == 1_000_000 - 9 * cast.PRICE_MICROS
