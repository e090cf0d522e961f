"""A family that does what goes wrong: a test card that fails as its input's `fault` asks. For tests only.

An engine finds it where the setting ENGINE_FAMILIES names this folder. The recipe's `weights` may be `hangs` or `dies`:
then that happens while it is opened.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workers.engine.contract import EngineError, Job, OnStep, Outcome, Recipe, StepReport
from workers.engine.families.testcard import TestCard
from workers.engine.machine import Machine

needs_weights = False
FIRST_STEP = 2  # at which it goes wrong: viewers have seen that it began
_AGES = 10_000_000


def check(recipe: Recipe, *, folder: Path, machine: Machine) -> None:
    """What is damaged shows before it is opened."""
    if recipe["weights"] == "damaged":
        raise EngineError("The weights of this model are damaged; publish them again.", code="bad_weights")


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> Faulty:  # noqa: A001 - the verb of every family
    """A card; or a load that never ends, or ends the process."""
    _BEFORE_LOADED.get(recipe["weights"], _nothing)()
    return Faulty(previews=True)


class Faulty(TestCard):
    """A test card with its faults."""

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Whatever goes wrong may share a batch with what does not."""
        return super().batch_key({name: value for name, value in input.items() if name != "fault"})

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """The cards, with what was asked for at the second step, or afterwards."""
        asked = {job.id: str(job.input.get("fault") or "") for job in jobs}
        if "too_many" in asked.values() and len(jobs) > 1:
            raise MemoryError

        def step(reports: Sequence[StepReport]) -> Sequence[str]:
            stopped = on_step(reports)
            if reports and reports[0].step == FIRST_STEP:
                for fault in asked.values():
                    _AT_STEP.get(fault, _nothing)()
            return stopped

        return [_judged(outcome, asked[outcome.id]) for outcome in super().run(jobs, step)]


def _judged(outcome: Outcome, fault: str) -> Outcome:
    """As a family judges its pictures: the one that is unusable fails, the others stay."""
    if fault not in {"nan", "black"} or outcome.status != "succeeded":
        return outcome
    sentence = "The picture came out black, so it was not kept."
    return Outcome(outcome.id, "failed", error=EngineError(sentence, code="unusable_output"))


def _nothing() -> None:
    pass


def _out_of_memory() -> None:
    raise MemoryError


def _broken() -> None:
    raise RuntimeError("a bug of the model")


def _crash() -> None:
    ctypes.string_at(0)  # a segmentation fault


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory is out


def _hang() -> None:
    while True:
        time.sleep(1)


def _hang_locked() -> None:
    ctypes.PyDLL(None).sleep(_AGES)  # with Python's lock held, so that no other thread runs


_AT_STEP: dict[str, Callable[[], None]] = {
    "oom": _out_of_memory,
    "broken": _broken,
    "crash": _crash,
    "abort": os.abort,
    "killed": _killed,
    "hang": _hang,
    "hang_locked": _hang_locked,
}
_BEFORE_LOADED: dict[str, Callable[[], None]] = {
    "hangs": _hang,
    "dies": _killed,
    "too-large": _out_of_memory,
}
