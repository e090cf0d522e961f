"""What one machine cannot open, another one is given before the run fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from marketplace import dispatch
from playground import live
from playground.models import Fault, Prediction
from tests.predictions import cast
from tests.workers.house import CARD, Worker
from workers import drain, session, unfit
from workers.engine import EngineError
from workers.unfit import Unfit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def me(transactional_db, monkeypatch) -> Iterator[Worker]:
    """An engine that lacks what a model needs, which is the first in the queue, and has what another needs."""
    dispatch.redis_client().flushdb()
    monkeypatch.setattr(live.state, "PRESENCE_SECONDS", 600)
    monkeypatch.setattr(unfit, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(drain, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(drain, "_paces", {})
    worker = Worker()
    monkeypatch.setattr(session, "_session", worker)
    monkeypatch.setattr(session, "is_draining", lambda: False)
    cast.shelve(name="card", recipe=CARD)
    cast.shelve(name="elsewhere", recipe={"family": "none-of-ours", "weights": ""})
    yield worker
    dispatch.redis_client().flushdb()
    cast.money_is_right()


def present(worker: str, **said) -> None:
    live.report_engine(cast.engine(worker, **said))


def sent() -> tuple[Prediction, Prediction]:
    payer = cast.payer()
    return cast.submit(payer, model="kiln/elsewhere"), cast.submit(payer, model="kiln/card")


def fared(row: Prediction) -> tuple[str, int]:
    now = cast.again(row)
    return now.status, now.attempt


def test_it_goes_back_for_another_machine_and_is_left_to_it(me):
    present("there-2-beef")
    row, good = sent()
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("queued", 1)
    assert fared(good) == ("succeeded", 1)
    assert Fault.objects.get().code == "bad_weights"
    said = live.read(row.public_id)
    assert said is not None
    assert said["note"].endswith("It is left to another machine.")
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("queued", 1)
    (job,) = cast.claim(worker="there-2-beef")
    assert (job["id"], job["lane"]) == (row.public_id.hex, cast.LANE)


@pytest.mark.parametrize("said", [{"draining": True}, {"worker": "here-9-cafe"}, {"unfit": True}])
def test_where_no_other_machine_may_it_fails_with_the_reason(me, said):
    row, good = sent()
    version = cast.again(row).version.sha256
    present(**{"worker": "there-2-beef", **said, "unfit": [version] if "unfit" in said else []})
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("failed", 1)
    assert "no engine family" in cast.again(row).error_message
    assert fared(good) == ("succeeded", 1)


def test_when_the_other_machine_finds_the_same_it_fails(me):
    present("there-2-beef")
    row, _ = sent()
    drain.drain_lane(cast.LANE)
    present("there-2-beef", unfit=[cast.again(row).version.sha256])
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("failed", 2)
    assert Fault.objects.count() == 2


def test_what_an_engine_of_the_same_machine_says_holds_for_all_of_it(me):
    row, _ = sent()
    present("here-9-cafe", unfit=[cast.again(row).version.sha256])
    present("there-2-beef")
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("queued", 0)


DAMAGED = EngineError("The weights are damaged.", code="bad_weights")


def test_after_a_while_it_is_tried_again(me, monkeypatch):
    me.unfit.note("v", DAMAGED)
    (said,) = me.unfit.notes().values()
    assert (said["code"], said["why"]) == ("bad_weights", "The weights are damaged.")
    me.unfit.note("v", EngineError("It is too large.", code="out_of_memory"))
    assert me.unfit.notes() == {
        "v": {"code": "out_of_memory", "why": "It is too large.", "since": said["since"]}
    }
    monkeypatch.setattr(unfit, "UNFIT_SECONDS", -1.0)
    me.unfit.note("v", DAMAGED)
    assert me.unfit.notes() == {}
    assert Unfit("here-3-beef").left(cast.LANE) == []


def test_what_is_opened_after_all_is_not_said_to_be_unfit(me):
    row = cast.submit(cast.payer(), model="kiln/card")
    me.unfit.note(cast.again(row).version.sha256, DAMAGED)
    drain.drain_lane(cast.LANE)
    assert fared(row) == ("succeeded", 1)
    assert me.unfit.notes() == {}


def test_it_is_tried_again_when_the_operator_asks_for_it(me):
    assert not me.unfit.heed()
    live.ask_to_try("here", "v")
    me.unfit.note("v", DAMAGED)
    me.unfit.note("other", DAMAGED)
    live.ask_to_try("there", "v")
    assert not me.unfit.heed()  # what was asked before, or of another machine
    for _ in range(2):
        live.ask_to_try("here", "v")
        assert me.unfit.heed()
        assert list(me.unfit.notes()) == ["other"]
        me.unfit.note("v", DAMAGED)  # in vain
        assert not me.unfit.heed()


def test_what_could_not_be_made_ready_is_not_tried_with_every_look(me, monkeypatch):
    made: list[str] = []

    def make_ready(recipe):
        made.append(recipe["id"])
        raise DAMAGED

    monkeypatch.setattr(me.engine, "make_ready", make_ready)
    cast.shelve(name="eager", recipe={**CARD, "preload": True})
    for _ in range(2):
        drain.drain_lane(cast.LANE)
    assert len(made) == 1
    live.ask_to_try("here", made[0])
    assert me.unfit.heed()
    drain.drain_lane(cast.LANE)
    assert len(made) == 2


@pytest.mark.parametrize(
    ("error", "is_of_machine"),
    [
        (EngineError("damaged", code="bad_weights"), True),
        (EngineError("never fits", code="out_of_memory"), True),
        (EngineError("too much at once", code="out_of_memory", retryable=True), False),
        (EngineError("black", code="unusable_output"), False),
    ],
)
def test_only_what_another_machine_may_do_is_of_the_machine(error, is_of_machine):
    assert error.is_of_machine is is_of_machine
