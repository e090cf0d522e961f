"""An engine's loop: what comes while it listens needs no message, and nothing is lost when it stops listening."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connections

from marketplace import dispatch
from playground import live
from playground.models import Prediction
from tests.predictions import cast
from tests.workers.house import CARD, Worker
from workers import drain, session
from workers.engine import StepReport

pytestmark = pytest.mark.django_db(transaction=True)
REALLY_DRAINING = session.is_draining  # which the tests of the loop answer for


@pytest.fixture(autouse=True)
def _house(transactional_db, monkeypatch) -> Iterator[None]:
    dispatch.redis_client().flushdb()
    cast.shelve(name="card", recipe=CARD)
    monkeypatch.setattr(session, "_session", Worker())
    monkeypatch.setattr(session, "is_draining", lambda: False)
    monkeypatch.setattr(drain, "LINGER_SECONDS", 0.05)  # what is there is run; who waits for more says so
    yield
    dispatch.redis_client().flushdb()
    cast.money_is_right()


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """The lanes that a message was sent to."""
    sent: list[str] = []
    monkeypatch.setattr(dispatch.app, "send_task", lambda name, *, kwargs, queue: sent.append(queue))
    return sent


def listening_engine() -> threading.Thread:
    def work() -> None:
        try:
            drain.drain_lane(cast.LANE)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    wait_for_listener()
    return thread


def wait_for_listener() -> None:
    end = time.monotonic() + 60
    while not dispatch.redis_client().pubsub_numsub(f"hints:{cast.LANE}")[0][1]:
        assert time.monotonic() < end
        time.sleep(0.01)


def statuses() -> list[str]:
    return sorted(row.status for row in Prediction.objects.all())


def test_what_comes_while_an_engine_listens_is_run_without_a_message(messages, monkeypatch):
    monkeypatch.setattr(drain, "LINGER_SECONDS", 600.0)
    monkeypatch.setattr(drain, "DRAIN_SECONDS", 600.0)
    is_over = threading.Event()
    monkeypatch.setattr(session, "is_draining", is_over.is_set)
    payer = cast.payer()
    thread = listening_engine()
    for _ in range(3):
        row = cast.submit(payer, model="kiln/card")
        end = time.monotonic() + 60
        while cast.again(row).status != "succeeded":
            assert time.monotonic() < end
            time.sleep(0.02)
    is_over.set()
    thread.join(60)
    assert not thread.is_alive()
    assert messages == []
    cast.submit(payer, model="kiln/card")
    assert messages == [f"lane.{cast.LANE}"]


def test_what_comes_as_it_stops_listening_is_run_too(messages, monkeypatch):
    payer = cast.payer()

    def hears(heard, until):
        """Nothing is heard, and at the last moment somebody comes."""
        cast.submit(payer, model="kiln/card")
        return False

    monkeypatch.setattr(drain, "_hears", hears)
    drain.drain_lane(cast.LANE)
    assert statuses() == ["succeeded"]


def test_a_frozen_listener_costs_a_second_and_not_the_run(messages):
    with dispatch.listening(cast.LANE):  # and never looks
        wait_for_listener()
        cast.submit(cast.payer(), model="kiln/card")
        assert messages == []
        from playground import predictions

        swept = predictions.sweep()
        assert swept is not None
        assert swept["woken"] == 1
    assert messages == [f"lane.{cast.LANE}"]


def test_a_process_that_shall_stop_listens_no_longer(monkeypatch):
    monkeypatch.setattr(session, "is_draining", lambda: True)
    monkeypatch.setattr(drain, "LINGER_SECONDS", 600.0)
    begun = time.monotonic()
    drain.drain_lane(cast.LANE)
    assert time.monotonic() - begun < drain.LINGER_SECONDS


@pytest.mark.parametrize(
    ("left_s", "ends"),
    [
        (60.0, ("succeeded", 1)),  # it is nearly done: nobody has to wait for another engine
        (0.5, ("queued", 1)),  # not even time to store it
    ],
)
def test_a_process_that_shall_stop_finishes_what_ends_in_time(monkeypatch, left_s, ends):
    slow = {**CARD, "defaults": {"step_seconds": 0.02, "num_inference_steps": 6}}
    cast.shelve(name="slow", recipe=slow)
    row = cast.submit(cast.payer(), model="kiln/slow")
    monkeypatch.setattr(session, "drain_left_s", lambda: left_s)
    asked: list[bool] = []

    def is_draining() -> bool:
        if cast.again(row).step >= 2:
            asked.append(True)
        return bool(asked)

    monkeypatch.setattr(session, "is_draining", is_draining)
    drain.drain_lane(cast.LANE)
    after = cast.again(row)
    assert (after.status, after.attempt) == ends
    assert after.faults == 0


def test_a_resting_engine_takes_nothing_new(monkeypatch):
    row = cast.submit(cast.payer(), model="kiln/card")
    session._resting.set()
    try:
        drain.drain_lane(cast.LANE)
        assert cast.again(row).status == "queued"
    finally:
        session._resting.clear()
    drain.drain_lane(cast.LANE)
    assert cast.again(row).status == "succeeded"


def present(worker: str, **said) -> None:
    live.report_engine(cast.engine(worker, **said))


@pytest.fixture
def resting() -> Iterator[None]:
    session._resting.set()
    yield
    session._resting.clear()


def test_a_hint_that_a_resting_engine_gets_goes_on_to_the_others(resting, messages, monkeypatch):
    monkeypatch.setattr(live.state, "PRESENCE_SECONDS", 600)
    payer = cast.payer()
    row = cast.submit(payer, model="kiln/card")
    assert messages == [f"lane.{cast.LANE}"]
    present(session._session.worker, draining=True)
    present("rests too", draining=True)
    drain.drain_lane(cast.LANE)
    assert messages == [f"lane.{cast.LANE}"]  # nobody is there to take it: no message goes in circles
    present("works")
    drain.drain_lane(cast.LANE)
    assert messages == [f"lane.{cast.LANE}"] * 2
    assert cast.again(row).status == "queued"
    with dispatch.listening(cast.LANE) as heard:
        wait_for_listener()
        drain.drain_lane(cast.LANE)
        assert any(heard(1) for _ in range(60))  # without a message where one of them listens
    assert len(messages) == 2
    Prediction.objects.update(not_before=row.created_at + cast.later(hours=1))
    drain.drain_lane(cast.LANE)
    assert len(messages) == 2  # there is nothing that anybody may take


def test_an_engine_that_works_again_looks_at_once(messages):
    session.note_rest(True, lanes=[cast.LANE])
    assert session.is_resting()
    assert messages == []
    session.note_rest(False, lanes=[cast.LANE])
    assert not session.is_resting()
    assert messages == [f"lane.{cast.LANE}"]
    session.note_rest(False, lanes=[cast.LANE])
    assert messages == [f"lane.{cast.LANE}"]


def test_the_end_of_a_batch_is_foreseen_by_its_steps(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(drain.time, "monotonic", lambda: now[0])
    time_left = drain._TimeLeft()

    def after(step: int, seconds: float) -> float:
        now[0] += seconds
        return time_left.of([StepReport("a", step, 5)])

    assert after(0, 9.0) == after(1, 9.0) == math.inf  # a load tells nothing of steps
    assert after(2, 2.0) == 6.0
    assert after(4, 4.0) == 2.0
    assert after(5, 2.0) == 0.0
    assert after(1, 0.0) == math.inf  # another batch
    assert (
        time_left.of([]) == math.inf
    )  # nobody of it is left, and a call that takes no batches goes on to its end


def test_a_log_has_an_end(monkeypatch):
    lines: list[str] = []
    drain._add_lines(lines, ["two\nlines", "x" * 5000])
    assert [len(line) for line in lines] == [3, 5, drain.LINE_CHARACTERS]
    drain._add_lines(lines, [str(n) for n in range(3 * drain.LOG_LINES)])
    assert len(lines) == drain.LOG_LINES
    assert lines[-1] == str(3 * drain.LOG_LINES - 1)


def test_a_model_that_ends_engines_as_it_is_made_ready_is_left(monkeypatch):
    cast.shelve(name="eager", recipe={**CARD, "preload": True})
    me = session._session
    tried: list[str] = []

    def dies(recipe):
        tried.append(recipe["id"])
        raise SystemExit  # what no handler of ours catches, as a crash

    monkeypatch.setattr(me.engine, "make_ready", dies)
    monkeypatch.setattr(drain, "_could_not_open", set())
    for number in range(drain.MAX_TRIES):
        me.worker = f"engine-{number}"
        with pytest.raises(SystemExit):
            drain.drain_lane(cast.LANE)
    me.worker = "the next"
    drain.drain_lane(cast.LANE)
    assert len(tried) == drain.MAX_TRIES


def test_many_engines_that_make_the_same_model_ready_at_once_all_may():
    for number in range(drain.MAX_TRIES + 2):
        worker = f"engine-{number}"
        present(worker, loading="eager", loading_elapsed_s=1.0)
        assert drain._may_try("eager", worker=worker, lane=cast.LANE)


def test_a_model_that_is_made_ready_is_not_counted_against(monkeypatch):
    cast.shelve(name="eager", recipe={**CARD, "preload": True})
    monkeypatch.setattr(drain, "_could_not_open", set())
    for _ in range(drain.MAX_TRIES + 1):
        session._session.engine.close()
        drain.drain_lane(cast.LANE)
        assert len(session._session.engine.loaded()) == 1


def test_the_time_to_stop_runs_from_the_first_request(settings, monkeypatch):
    monkeypatch.setattr(session, "is_draining", REALLY_DRAINING)
    assert not session.is_draining()
    settings.ENGINE_DRAIN_SECONDS = 1000
    try:
        session.ask_to_drain()
        first = session.drain_left_s()
        session.ask_to_drain()
        assert session.is_draining()
        assert 0 < session.drain_left_s() <= first <= 1000
        settings.ENGINE_DRAIN_SECONDS = 0
        assert session.drain_left_s() == 0
    finally:
        session._drain_wish[:] = bytes(8)
