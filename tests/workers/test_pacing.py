"""What an engine takes next and whether it waits first, and that results are kept beside the next batch."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, connections, transaction

from marketplace import dispatch
from playground import live
from playground.models import Prediction
from tests.predictions import cast
from tests.predictions.cast import move_back
from tests.workers.house import CARD, Worker
from workers import drain, pacing, session
from workers.engine import EngineError, Metrics, Outcome
from workers.pacing import Pace

pytestmark = pytest.mark.django_db(transaction=True)
CARDS = {"model": "kiln/card", "num_inference_steps": 1}


@pytest.fixture(autouse=True)
def _house(transactional_db, monkeypatch) -> Iterator[None]:
    dispatch.redis_client().flushdb()
    cast.shelve(
        name="card",
        recipe=CARD,
        endpoint__max_batch=4,
        endpoint__batch_on=["num_inference_steps"],
        endpoint__input={
            "type": "object",
            "properties": {
                "num_inference_steps": {"type": "integer", "default": 1},
                "prompt": {"type": "string"},
                "seed": {"type": "integer", "minimum": 0, "x-control": "seed"},
            },
        },
        prices=[{"unit": "request", "unit_price": "0.004"}],
    )
    monkeypatch.setattr(drain, "_paces", {})
    monkeypatch.setattr(session, "is_draining", lambda: False)
    yield
    drain._finisher.wait()
    dispatch.redis_client().flushdb()


@pytest.fixture
def me() -> Worker:
    return Worker()


@pytest.fixture
def pace() -> Pace:
    return Pace(cast.LANE)


def never(until: float) -> bool:
    raise AssertionError("nobody is to be waited for")


def jobs_of(pace: Pace, me: Worker, heard: Callable[[float], bool] | None = None) -> int:
    return len(pace.claim(me, heard))  # type: ignore[arg-type]


def has_run(pace: Pace, me: Worker, payer, size: int, seconds: float) -> None:
    """A batch of so many, which took so long."""
    for _ in range(size):
        cast.submit(payer, **CARDS)
    jobs = pace.claim(me, None)  # type: ignore[arg-type]
    assert len(jobs) == size
    pace.ran(jobs[0]["batch_key"], made(size, seconds))


def made(size: int, seconds: float, *, load_s: float = 0.0) -> list[Outcome]:
    """What became of a batch that ran to its end."""
    told = Metrics(load_s=load_s, total_s=seconds, batch=size)
    return [Outcome(str(number), "succeeded", metrics=told, seed=number) for number in range(size)]


def test_one_alone_is_never_made_to_wait(pace, me):
    payer = cast.payer()
    has_run(pace, me, payer, 3, 5.2)
    has_run(pace, me, payer, 1, 5.0)
    for _ in range(3):
        cast.submit(payer, **CARDS)
        jobs = pace.claim(me, never)
        assert len(jobs) == 1
        pace.ran(jobs[0]["batch_key"], made(1, 5.0))


def test_after_a_batch_those_who_come_again_are_waited_for(pace, me):
    payer = cast.payer()
    has_run(pace, me, payer, 1, 5.0)
    has_run(pace, me, payer, 3, 5.2)
    cast.submit(payer, **CARDS)
    came = []

    def heard(until: float) -> bool:
        came.append(until - time.monotonic())
        cast.submit(payer, **CARDS)
        return True

    assert jobs_of(pace, me, heard) == 3
    assert len(came) == 2
    assert max(came) <= pacing.MOST_PAUSE_S
    assert Prediction.objects.filter(status="running").count() == 7


def test_who_is_waited_for_in_vain_is_waited_for_less_and_less(pace, me):
    payer, waits = cast.payer(), []

    def silence(until: float) -> bool:
        waits.append(until - time.monotonic())
        return False

    for _ in range(4):
        has_run(pace, me, payer, 1, 0.1)
        has_run(pace, me, payer, 3, 0.11)
        cast.submit(payer, **CARDS)
        assert jobs_of(pace, me, silence) == 1
    assert all(0 < later < earlier / 1.5 for earlier, later in itertools.pairwise(waits))


def test_those_who_are_here_are_run_though_nobody_can_join_them(pace, me):
    payer = cast.payer()
    has_run(pace, me, payer, 1, 5.0)
    has_run(pace, me, payer, 3, 5.2)
    row = cast.submit(payer, **CARDS)

    def heard(until: float) -> bool:
        with contextlib.suppress(OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return True

    try:
        assert [job["id"] for job in pace.claim(me, heard)] == [row.public_id.hex]
    finally:
        connection.close()


def test_where_a_larger_batch_takes_as_much_longer_nobody_is_waited_for(pace, me):
    payer, heard = cast.payer(), []
    has_run(pace, me, payer, 1, 1.0)
    has_run(pace, me, payer, 3, 3.0)
    cast.submit(payer, **CARDS)
    assert jobs_of(pace, me, lambda until: heard.append(until - time.monotonic())) == 1
    assert all(wait <= 0 for wait in heard)


NONE: list[Outcome] = []
FAILED = [Outcome(str(n), "failed", error=EngineError("black", code="unusable_output")) for n in range(4)]
GIVEN_UP = [Outcome("a", "stopped"), Outcome("b", "released"), Outcome("c", "released")]


@pytest.mark.parametrize("outcomes", [NONE, FAILED, GIVEN_UP])
def test_nothing_is_learnt_from_what_did_not_run_to_its_end(pace, outcomes):
    pace.ran("k", outcomes)
    assert "k" not in pace._times
    pace.ran("k", made(2, 4.0))
    pace.ran("k", outcomes)
    assert (pace._times["k"].by_size, pace._times["k"].last) == ({2: 4.0}, 2)


def test_each_batch_of_what_was_taken_together_is_learnt_from_for_itself(pace):
    first, second = made(4, 4.0, load_s=30.0), made(2, 3.0)
    spoilt = Outcome("spoilt", "failed", error=EngineError("black", code="unusable_output"))
    pace.ran("k", [spoilt, *second, *first[1:]])  # one of the four was cancelled
    assert pace._times["k"].by_size == {4: 4.0, 2: 3.0}
    assert pace._times["k"].last == 3
    assert pace._times["k"].fixed_s() == 2.0
    pace.ran("", made(1, 1.0))  # what shares its batch with nobody
    assert list(pace._times) == ["k"]


def test_what_is_loaded_is_stayed_with_for_a_moment_before_models_are_changed(pace, me):
    payer = cast.payer()
    cast.shelve(name="other", recipe={**CARD, "number": 1})
    row = cast.submit(payer, **CARDS)
    me.engine.open({"family": "testcard", "weights": "", "id": cast.again(row).version.sha256})
    me.engine.residents._swap = (time.monotonic(), 20.0)
    assert jobs_of(pace, me, never) == 1
    other = cast.submit(payer, model="kiln/other")
    came = []

    def heard(until: float) -> bool:
        came.append(cast.submit(payer, **CARDS) if not came else None)
        return len(came) == 1

    warm = pace.claim(me, heard)
    assert [job["id"] for job in warm] == [came[0].public_id.hex]
    assert [job["id"] for job in pace.claim(me, lambda until: False)] == [other.public_id.hex]
    late = cast.submit(payer, model="kiln/other")
    move_back(late, fair_at=60)
    cast.submit(payer, **CARDS)
    assert [job["id"] for job in pace.claim(me, never)] == [late.public_id.hex]


def test_now_and_then_a_claim_ignores_the_priorities(pace, me):
    payer = cast.payer()
    humble = cast.submit(payer, **CARDS, exact=True)
    for _ in range(pacing.IN_TURN):
        cast.submit(payer, **CARDS, exact=True, priority=5)
    me.engine.residents._swap = (time.monotonic(), 20.0)  # also where an engine stays with what it has
    me.engine.open({"family": "testcard", "weights": "", "id": cast.again(humble).version.sha256})
    order = [pace.claim(me, never)[0]["id"] for _ in range(pacing.IN_TURN)]
    assert order.index(humble.public_id.hex) == pacing.IN_TURN - 1


def test_what_another_engine_has_loaded_is_left_to_it(pace, me):
    payer = cast.payer()
    row = cast.submit(payer, **CARDS)
    told = cast.engine("another", loaded=[cast.again(row).version.sha256], busy=True)
    live.report_engine(told)
    assert jobs_of(pace, me) == 0
    move_back(row, created_at=pacing.MOST_PATIENCE_S + 1)
    assert jobs_of(pace, me) == 1
    cast.submit(payer, **CARDS)
    live.report_engine({**told, "draining": True})
    assert jobs_of(Pace(cast.LANE), me) == 1


def test_a_batch_is_stored_beside_the_next_one_and_its_leases_are_kept(me, monkeypatch):
    """The rows of the first batch are locked, so that it cannot be told; the second one runs all the same."""
    monkeypatch.setattr(session, "_session", me)
    payer = cast.payer()
    first = [cast.submit(payer, **CARDS) for _ in range(4)]
    second = [cast.submit(payer, **CARDS) for _ in range(4)]
    jobs = drain.work.claim(worker="listener", lane=cast.LANE, limit=8)
    assert [job["id"] for job in jobs] == [row.public_id.hex for row in first]

    def engine() -> None:
        try:
            drain.run_batch(me, jobs)  # type: ignore[arg-type]
            drain.drain_lane(cast.LANE)
        finally:
            connections.close_all()

    thread = threading.Thread(target=engine)
    monkeypatch.setattr(drain, "LINGER_SECONDS", 0.05)
    made, locked = threading.Event(), threading.Event()
    monkeypatch.setattr(me, "keep", _after(me.keep, made, locked))
    thread.start()
    assert made.wait(20)
    with transaction.atomic():
        list(Prediction.objects.select_for_update().filter(pk=first[0].pk))
        locked.set()
        end = time.monotonic() + 20
        while {cast.again(row).status for row in second} == {"queued"}:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert cast.again(first[0]).status == "running"
        assert {row.public_id.hex for row in first} <= set(me.kept)
    thread.join(20)
    assert not thread.is_alive()
    assert {cast.again(row).status for row in [*first, *second]} == {"succeeded"}
    assert me.kept == {}
    (times,) = drain._paces[cast.LANE]._times.values()
    assert (list(times.by_size), times.last) == ([4], 4)
    cast.money_is_right()


def test_what_is_made_is_stored_before_a_run_that_was_lost_before(me, monkeypatch):
    cast.submit(cast.payer(), **CARDS)
    (lost,) = drain.work.claim(worker="another", lane=cast.LANE, limit=1)
    assert cast.fail(lost, retryable=True)
    jobs = drain.work.claim(worker="listener", lane=cast.LANE, limit=1)
    begun, order = threading.Event(), []
    run = me.engine.run

    @contextlib.contextmanager
    def at_work(fences, seconds):
        begun.set()
        yield

    def store() -> None:
        assert begun.wait(20)
        time.sleep(0.05)  # in which the run would begin if it did not wait
        order.append("stored")

    def runs(*args):
        order.append("run")
        return run(*args)

    monkeypatch.setattr(me, "at_work", at_work)
    monkeypatch.setattr(me.engine, "run", runs)
    drain._finisher.hand(store)
    drain.run_batch(me, jobs)  # type: ignore[arg-type]
    drain._finisher.rest()
    drain.Telling.rest()
    assert order == ["stored", "run"]
    assert Prediction.objects.get().status == "succeeded"


def _after(keep, made: threading.Event, locked: threading.Event):
    """`keep`, which the engine calls when a batch is made, once the test has locked a row of it."""

    def kept(fences) -> None:
        keep(fences)
        made.set()
        assert locked.wait(20)

    return kept
