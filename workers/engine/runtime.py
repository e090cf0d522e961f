"""The engine and its one loop: how a list of jobs becomes outcomes.

Hides stopping, draining and the translation of every failure into an outcome.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from workers.engine import batches, weights
from workers.engine import machine as machines
from workers.engine.contract import (
    EngineError,
    Job,
    Loading,
    OnStep,
    Outcome,
    Recipe,
    Resident,
    StepReport,
    recipe_key,
)
from workers.engine.cores import Cores
from workers.engine.pulse import Pulse
from workers.engine.residency import Holding, Residents

_log = logging.getLogger(__name__)
_DEFAULT_MAX_BATCH = 8
_ASK_SECONDS = 0.4  # between two askings whether a batch is still wanted, beyond those of its steps
_TOO_MUCH = "The memory was too small for so much at once; it begins again with less."


class _BatchStopped(Exception):
    """Nobody wants any picture of the running batch any more. Raised in the step hook, caught below, never outside."""


class Engine:
    """One device and what is loaded on it. Cheap to make: torch is imported when the first recipe is opened.

    `open`, `run` and `close` belong to one thread; `loaded`, `loading` and `drain` may be called from any
    thread, `drain` from a signal handler too. Engines of one machine that share `cores_folder` share its cores.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int | None = None,
        memory_budget_bytes: int | None = None,
        parking_bytes: int = 0,
        weights_folder: Path | None = None,
        cores_folder: Path | None = None,
    ) -> None:
        self._cores = Cores(threads or os.cpu_count() or 1, cores_folder)
        self.residents = Residents(
            device=device,
            threads=self._cores.threads,
            budget_bytes=memory_budget_bytes,
            parking_bytes=parking_bytes,
            folder=weights_folder or weights.SHIPPED,
        )
        self.pulse = Pulse()
        self._largest_batch: dict[str, int] = {}  # in pictures, as the limits of recipes are
        self._draining = False

    def drain(self) -> None:
        """From now on every job comes back as `released`, running ones after their present step."""
        self._draining = True

    def loaded(self) -> list[Resident]:
        """What is resident now, most recently used first: one entry per id, also where ids share an opened recipe."""
        return self.residents.loaded()

    def loading(self) -> list[Loading]:
        """What is being opened now."""
        return self.residents.loading()

    def load_times_s(self) -> dict[str, float]:
        """Seconds that loading took, by the ids of recipes that are or were resident."""
        return self.residents.load_times_s()

    def memory(self) -> tuple[int, int]:
        """Bytes in use now, on the GPU where there is one, and the budget for what is resident (0: not known yet)."""
        return machines.used_bytes(), self.residents.budget_bytes or machines.default_budget_bytes()

    def close(self) -> None:
        """Forgets everything resident and gives the memory back."""
        self.residents.close()
        self._cores.close()

    def open(self, recipe: Recipe) -> Resident:
        """Loads `recipe` unless it is resident, those worth least making room. Raises EngineError."""
        return self._held(recipe)[0].resident

    def make_ready(self, recipe: Recipe) -> bool:
        """Loads `recipe` where it fits without any other going; a pinned one without another pinned one going.

        False: there is no room now. Raises EngineError.
        """
        if not self.residents.fits(recipe):
            return False
        try:
            self.residents.hold(recipe)
        except Exception as error:
            if not machines.is_out_of_memory(error):
                raise
            _log.warning("out of memory while a model was made ready; what is resident stays")
            error.__traceback__ = None  # its frames hold what was loaded so far
            machines.release_memory()
        else:
            return True
        raise EngineError("The machine ran out of memory.", code="out_of_memory", retryable=True)

    @property
    def swap_s(self) -> float:
        """Seconds that a change of models costs here lately; 0.0 while all that is asked for fits."""
        return self.residents.swap_s

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One outcome per job, in the order given. Never raises for a job; lets what `on_step` raises through.

        Jobs that agree run as one batch, up to the recipe's `max_batch` pictures; others one batch after the other.
        """
        outcomes: dict[str, Outcome] = {}
        for recipe, group in batches.by_recipe([batches.with_defaults(job) for job in jobs]):
            if self._draining:
                continue
            try:
                holding, load_s = self._held(recipe)
            except EngineError as error:
                outcomes |= _all_failed(group, error)
                continue
            found, refused = batches.split(holding.opened, group, most=self._most(recipe))
            outcomes |= {outcome.id: outcome for outcome in refused}
            for batch in found:
                if not self._draining:
                    outcomes |= self._run_batch(recipe, batch, on_step, load_s=load_s)
                    load_s = 0.0
        return [outcomes.get(job.id) or Outcome(job.id, "released") for job in jobs]

    def _run_batch(
        self, recipe: Recipe, batch: Sequence[Job], on_step: OnStep, *, load_s: float, remark: str = ""
    ) -> dict[str, Outcome]:
        watch = _Watch(
            batch, on_step, is_draining=lambda: self._draining, pulse=self.pulse, fit=self._cores.fit
        )
        parts: list[list[Job]] = []
        pictures = 1
        try:
            if remark:
                watch.say(remark)
            # Resident, unless the batch before this one ran out of memory.
            holding, again_s = self._held(recipe)
            load_s += again_s
            if load_s > 0:
                watch.say(f"Weights loaded in {load_s:.1f} s.")
            pictures = _pictures(holding, batch)
            before, kept = self.residents.held_bytes(), holding.opened.bytes
            is_compiled = bool((recipe.get("accelerations") or {}).get("compile"))
            is_exact = any(job.exact for job in batch)
            with self._cores.computing(exact=is_exact), self.pulse.batch(is_compiled=is_compiled):
                found = {outcome.id: outcome for outcome in holding.opened.run(batch, watch)}
            self._learn(holding, found.values(), before + max(holding.opened.bytes - kept, 0))
        except _BatchStopped:
            found = {job.id: Outcome(job.id, "released") for job in batch}
        except EngineError as error:
            found = _all_failed(batch, error)
        except Exception as error:
            if watch.raised is error:
                raise
            if machines.is_out_of_memory(error):
                parts = _smaller(batch, watch.stopped, has_company=len(self.residents.holdings) > 1)
            found = _all_failed(batch, self._translate(error, key=recipe_key(recipe), pictures=pictures))
        self.residents.settle(recipe)
        # Out here, where nothing holds the tensors that did not fit any more.
        for part in parts:
            found |= self._run_batch(recipe, part, on_step, load_s=load_s, remark=_TOO_MUCH)
            load_s = 0.0
        for job in batch:
            outcome = found[job.id]
            if job.id in watch.stopped:
                found[job.id] = Outcome(job.id, "stopped")
            elif outcome.metrics is not None and load_s > 0:
                waited_s = load_s + outcome.metrics.load_s  # for the base, and for adapters on it
                found[job.id] = replace(outcome, metrics=replace(outcome.metrics, load_s=waited_s))
        return found

    def _learn(self, holding: Holding, outcomes: Iterable[Outcome], before_bytes: int) -> None:
        peak = max((one.metrics.peak_memory_bytes for one in outcomes if one.metrics), default=0)
        if before_bytes and peak > before_bytes:
            self.residents.learn(holding, peak - before_bytes)

    def _translate(self, error: Exception, *, key: str, pictures: int) -> EngineError:
        if machines.is_out_of_memory(error):
            _log.warning("out of memory with a batch of %d; everything resident is let go", pictures)
            if pictures > 1:
                self._largest_batch[key] = pictures // 2
            error.__traceback__ = None  # its frames hold the very tensors that must go
            self.close()
            return EngineError("The machine ran out of memory.", code="out_of_memory", retryable=True)
        _log.error("a batch of %d failed", pictures, exc_info=error)
        sentence = f"The engine failed while making this picture ({type(error).__name__})."
        return EngineError(sentence, code="engine_failed", retryable=True)

    def _most(self, recipe: Recipe) -> int:
        """How many pictures a batch may have: no more than half of what once was too many for the memory."""
        limit = self._largest_batch.get(recipe_key(recipe), 1 << 30)
        return min(recipe.get("max_batch", _DEFAULT_MAX_BATCH), limit)

    def _held(self, recipe: Recipe) -> tuple[Holding, float]:
        """`Residents.hold`; where memory runs out beside others, once more without them. Raises EngineError."""
        while True:
            has_company = bool(self.residents.holdings)
            try:
                return self.residents.hold(recipe)
            except Exception as error:
                if not machines.is_out_of_memory(error):
                    raise
                failure = self._translate(error, key=recipe_key(recipe), pictures=1)
            if not has_company:
                raise failure


class _Watch:
    """The caller's `on_step` as families see it: remembers who was stopped and ends a batch that nobody wants."""

    def __init__(
        self,
        jobs: Sequence[Job],
        on_step: OnStep,
        *,
        is_draining: Callable[[], bool],
        pulse: Pulse,
        fit: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._ids = {job.id for job in jobs}
        self._on_step = on_step
        self._is_draining = is_draining
        self._pulse = pulse
        self._fit = fit
        self._last = {job.id: StepReport(job.id, 0, _planned_steps(job)) for job in jobs}
        self._told_at = float("-inf")
        self.stopped: set[str] = set()
        self.raised: Exception | None = None

    def __call__(self, reports: Sequence[StepReport]) -> list[str]:
        for report in reports:
            self._last[report.id] = replace(report, preview=None, logs=())
        self._fit()
        if reports:
            self._pulse.step(reports[0].step, reports[0].steps)
        else:  # files, or the steps of somebody who is not told of any more
            self._pulse.pause()
        if reports or time.monotonic() > self._told_at + _ASK_SECONDS:
            self._tell(reports or [one for one in self._last.values() if one.id not in self.stopped])
        if self._is_draining() or self.stopped == self._ids:
            raise _BatchStopped
        return list(self.stopped)

    def _tell(self, reports: Sequence[StepReport]) -> None:
        try:
            self.stopped |= self._ids.intersection(self._on_step(reports))
        except Exception as error:
            self.raised = error
            raise
        self._told_at = time.monotonic()

    def say(self, line: str) -> None:
        """Step 0 with a line for the log, before the first step."""
        self([StepReport(job.id, 0, _planned_steps(job), logs=(line,)) for job in self._jobs])


def _smaller(batch: Sequence[Job], stopped: set[str], *, has_company: bool) -> list[list[Job]]:
    """What to try at once of a batch for which there was no memory: its halves.

    A single job is tried again only where something else was let go to make room for it.
    """
    wanted = [job for job in batch if job.id not in stopped]
    if len(batch) == 1:
        return [wanted] if wanted and has_company else []
    middle = (len(wanted) + 1) // 2
    return [part for part in (wanted[:middle], wanted[middle:]) if part]


def _pictures(holding: Holding, batch: Sequence[Job]) -> int:
    """How many a batch makes; of one job, which is one call however many it makes, there is nothing to halve."""
    return sum(holding.opened.pictures(job.input) for job in batch) if len(batch) > 1 else 1


def _all_failed(jobs: Iterable[Job], error: EngineError) -> dict[str, Outcome]:
    return {job.id: Outcome(job.id, "failed", error=error) for job in jobs}


def _planned_steps(job: Job) -> int:
    steps = job.input.get("num_inference_steps")
    return steps if isinstance(steps, int) else 0
