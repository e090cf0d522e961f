"""When a step counts as one that does not come any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.conftest import Listener
from workers.engine import Engine, Job, StepReport, pulse
from workers.engine.pulse import Pulse


class Clock:
    """Seconds go by as they are told to; the watcher looks once in each."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pulse, "time", made)
    return made


def after(clock: Clock, watched: Pulse, seconds: int) -> str:
    """What a watcher says who looks every second."""
    said = ""
    for _ in range(seconds):
        clock.now += 1
        said = said or watched.hangs()
    return said


def test_only_between_steps_is_a_step_missed(clock: Clock) -> None:
    watched = Pulse()
    with watched.batch(is_compiled=False):
        assert after(clock, watched, 2000) == ""  # text is encoded, or code compiled
        watched.step(0, 3)
        assert after(clock, watched, 2000) == ""
        watched.step(0, 3)
        assert after(clock, watched, 2) == ""
        watched.step(1, 3)
        assert after(clock, watched, 50) == ""
        watched.step(1, 3)  # with its preview
        assert after(clock, watched, 50) == ""
        watched.step(2, 3)
        assert "after step 2 of 3" in after(clock, watched, 1000)
        watched.step(3, 3)
        assert after(clock, watched, 2000) == ""  # it is decoded
        watched.step(1, 3)  # of the next one in the same call
        watched.pause()
        assert after(clock, watched, 2000) == ""
        watched.step(2, 3)
    assert after(clock, watched, 2000) == ""


@pytest.mark.parametrize(
    ("step_s", "is_compiled", "allowed"), [(1, False, 60), (20, False, 200), (1, True, 900)]
)
def test_how_long_it_may_take_is_measured_by_the_steps_before(
    clock: Clock, step_s: int, is_compiled: bool, allowed: int
) -> None:
    watched = Pulse()
    with watched.batch(is_compiled=is_compiled):
        clock.now += 500  # before the first step there is more to do than that step
        for step in range(1, 6):
            clock.now += step_s
            watched.step(step, 9)
        assert after(clock, watched, allowed) == ""
        assert after(clock, watched, 5) != ""


def test_who_was_frozen_did_not_hang(clock: Clock) -> None:
    watched = Pulse()
    with watched.batch(is_compiled=False):
        watched.step(1, 9)
        assert watched.hangs() == ""
        clock.now += 4000
        assert watched.hangs() == ""
        assert after(clock, watched, 50) == ""
        assert after(clock, watched, 10) != ""


def test_an_engine_is_watched_in_its_steps_alone(
    engine: Engine, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "LEAST_SECONDS", -1.0)
    monkeypatch.setattr(pulse, "TIMES", 0)
    said: dict[int, set[bool]] = {}

    def on_step(reports: list[StepReport]) -> list[str]:
        engine.pulse.hangs()
        said.setdefault(reports[0].step, set()).add(bool(engine.pulse.hangs()))
        return []

    [outcome] = engine.run([job(num_inference_steps=3)], on_step)
    assert outcome.status == "succeeded"
    assert {step: said[step] for step in (1, 2, 3)} == {1: {True}, 2: {True}, 3: {False}}
    engine.run([job()], Listener(one=2))
    assert [engine.pulse.hangs() for _ in range(2)] == ["", ""]
