from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.engine.conftest import STEPS, Listener
from workers.engine import Engine, Job, StepReport
from workers.engine.families.diffusers import outputs
from workers.engine.latents import SchedulerTap

Make = Callable[..., Job]


def test_one_of_a_batch_is_stopped_and_the_others_finish_as_if_it_had_stayed(
    engine: Engine, job: Make
) -> None:
    jobs = [job("a", seed=1), job("b", seed=2), job("c", seed=3)]
    undisturbed = engine.run(jobs, Listener())
    listener = Listener(b=4)
    outcomes = engine.run(jobs, listener)
    assert [outcome.status for outcome in outcomes] == ["succeeded", "stopped", "succeeded"]
    assert outcomes[1].outputs == ()
    assert listener.steps("b") == [1, 2, 3, 4]
    assert listener.steps("a") == list(range(1, STEPS + 1))
    for place in (0, 2):
        assert outcomes[place].outputs[0].data == undisturbed[place].outputs[0].data


def test_a_batch_that_nobody_wants_stops_at_once_and_the_pipeline_stays_usable(
    engine: Engine, job: Make
) -> None:
    before = engine.run([job()], Listener())[0].outputs[0].data
    listener = Listener(a=2, b=3)
    outcomes = engine.run([job("a"), job("b", seed=2)], listener)
    assert [outcome.status for outcome in outcomes] == ["stopped", "stopped"]
    assert max(report.step for report in listener.reports) == 3
    assert engine.run([job()], Listener())[0].outputs[0].data == before


def test_stopping_ids_of_others_means_nothing(engine: Engine, job: Make) -> None:
    [outcome] = engine.run([job()], lambda reports: ["somebody-else"])
    assert outcome.status == "succeeded"


def test_draining_hands_back_what_runs_and_what_waits(weights: Path, job: Make) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)
    steps: list[int] = []

    def drain_at_third(reports: Sequence[StepReport]) -> list[str]:
        steps.append(reports[0].step)
        if reports[0].step == 3:
            engine.drain()
        return ["a"] if reports[0].step == 2 else []

    outcomes = engine.run([job("a"), job("b", seed=2), job("waits", width=32)], drain_at_third)
    assert [outcome.status for outcome in outcomes] == ["stopped", "released", "released"]
    assert max(steps) == 3
    assert [outcome.status for outcome in engine.run([job()], Listener())] == ["released"]


@pytest.fixture
def slow_files(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written before the event, and then only what is still wanted."""
    write, may_end = outputs.write, threading.Event()

    def slowly(made: outputs.Made, *args: object, **named: Any) -> object:
        while not may_end.wait(0.01):
            named["beat"]()
        return write(made, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(outputs, "write", slowly)
    return may_end


def test_who_is_stopped_while_files_are_written_waits_for_none(
    engine: Engine, job: Make, slow_files: threading.Event
) -> None:
    told: list[StepReport] = []

    def on_step(reports: Sequence[StepReport]) -> list[str]:
        again = [one for one in reports if told and one.step == one.steps and one in told]
        told.extend(reports)
        if any(one.id == "stays" for one in again) and not any(one.id == "goes" for one in again):
            slow_files.set()  # the one that goes was heard of and is not asked for any more
        return ["goes"] if again else []

    outcomes = engine.run([job("goes"), job("stays", seed=2)], on_step)
    assert [outcome.status for outcome in outcomes] == ["stopped", "succeeded"]
    assert all(not one.preview and not one.logs for one in told if one.step == one.steps)


def test_draining_hands_back_what_is_being_written(
    weights: Path, job: Make, slow_files: threading.Event
) -> None:
    engine = Engine(device="cpu", threads=1, weights_folder=weights)

    def drain_at_last(reports: Sequence[StepReport]) -> list[str]:
        if all(one.step == one.steps for one in reports):
            threading.Timer(0.01, engine.drain).start()
        return []

    [outcome] = engine.run([job()], drain_at_last)
    assert outcome.status == "released"


def test_what_the_caller_raises_comes_through_and_the_pipeline_stays_usable(
    engine: Engine, job: Make
) -> None:
    def lose_the_database(reports: Sequence[StepReport]) -> list[str]:
        raise ConnectionError("the database is gone")

    with pytest.raises(ConnectionError, match="database is gone"):
        engine.run([job()], lose_the_database)
    assert engine.run([job()], Listener())[0].status == "succeeded"


def test_a_copy_of_a_scheduler_that_is_listened_to_steps_by_itself() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    heard: list[int] = []
    with SchedulerTap(scheduler, on_step=lambda: heard.append(1)):
        scheduler.set_timesteps(2)
        copied = copy.deepcopy(scheduler)
        assert list(inspect.signature(scheduler.step).parameters)[:3] == [
            "model_output",
            "timestep",
            "sample",
        ]
        for timestep in scheduler.timesteps:
            for one in (scheduler, copied):
                one.step(torch.ones(1), timestep, torch.ones(1))
    assert (scheduler.step_index, copied.step_index, len(heard)) == (2, 2, 2)
    assert "step" not in vars(scheduler)
