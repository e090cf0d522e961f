"""An engine's loop: what comes while it listens needs no message, and nothing is lost when it stops listening."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connections

from marketplace import dispatch
from playground.models import Prediction
from tests.predictions import cast
from tests.workers.house import CARD, Worker
from workers import drain, session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _house(transactional_db, monkeypatch) -> Iterator[None]:
    dispatch.redis_client().flushdb()
    cast.shelve(name="card", recipe=CARD)
    monkeypatch.setattr(session, "_session", Worker())
    monkeypatch.setattr(session, "is_draining", lambda: False)
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
