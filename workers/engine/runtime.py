"""The engine's resident set and its one loop: which recipes are open, and how a list of jobs becomes outcomes.

Hides grouping into batches, eviction, stopping, draining and the translation of every failure into an outcome.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.engine import machine as machines
from workers.engine import weights
from workers.engine.contract import (
    EngineError,
    Job,
    Loading,
    OnStep,
    Outcome,
    Recipe,
    Resident,
    StepReport,
    adapters_key,
    recipe_key,
)
from workers.engine.families import Family, Opened, find
from workers.engine.machine import Machine

_log = logging.getLogger(__name__)
_DEFAULT_MAX_BATCH = 8
_TOO_MUCH = "The memory was too small for so much at once; it begins again with less."


class _BatchStopped(Exception):
    """Nobody wants any picture of the running batch any more. Raised in the step hook, caught below, never outside."""


@dataclass(slots=True)
class _Holding:
    resident: Resident
    opened: Opened
    ids: list[str]


class Engine:
    """One device and what is loaded on it. Cheap to make: torch is imported when the first recipe is opened.

    `open`, `run` and `close` belong to one thread; `loaded`, `loading` and `drain` may be called from any
    thread, `drain` from a signal handler too.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        threads: int | None = None,
        memory_budget_bytes: int | None = None,
        weights_folder: Path | None = None,
    ) -> None:
        self._device = device
        self._threads = threads or os.cpu_count() or 1
        self._budget_bytes = memory_budget_bytes
        self._weights_folder = weights_folder or weights.SHIPPED
        self._holdings: OrderedDict[str, _Holding] = OrderedDict()
        self._opening: dict[str, tuple[str, float]] = {}
        self._load_times_s: dict[str, float] = {}
        self._largest_batch: dict[str, int] = {}
        self._lock = threading.Lock()
        self._draining = False
        self.loads = self.evictions = 0  # since the start, for those who watch

    def drain(self) -> None:
        """From now on every job comes back as `released`, running ones after their present step."""
        self._draining = True

    def loaded(self) -> list[Resident]:
        """What is resident now, most recently used first: one entry per id, also where ids share an opened recipe."""
        with self._lock:
            holdings = list(reversed(self._holdings.values()))
            return [replace(holding.resident, id=name) for holding in holdings for name in holding.ids]

    def loading(self) -> list[Loading]:
        """What is being opened now."""
        now = time.monotonic()
        with self._lock:
            return [
                Loading(key, name, now - since, self._load_times_s.get(key))
                for key, (name, since) in self._opening.items()
            ]

    def memory(self) -> tuple[int, int]:
        """Bytes in use now, on the GPU where there is one, and the budget for what is resident (0: not known yet)."""
        return machines.used_bytes(), self._budget_bytes or machines.default_budget_bytes()

    def close(self) -> None:
        """Forgets everything resident and gives the memory back."""
        while self._holdings:
            self._evict(next(iter(self._holdings)))
        machines.release_memory()

    def open(self, recipe: Recipe) -> Resident:
        """Loads `recipe` unless it is resident, least recently used ones making room. Raises EngineError."""
        return self._holding(recipe).resident

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One outcome per job, in the order given. Never raises for a job; lets what `on_step` raises through.

        Jobs that agree run as one batch, up to the recipe's `max_batch` pictures; others one batch after the other.
        """
        outcomes: dict[str, Outcome] = {}
        for recipe, group in _by_recipe([_with_defaults(job) for job in jobs]):
            if self._draining:
                continue
            try:
                holding, load_s = self._timed(recipe)
            except EngineError as error:
                outcomes |= _all_failed(group, error)
                continue
            batches, refused = self._batches(holding, recipe, group)
            outcomes |= {outcome.id: outcome for outcome in refused}
            for batch in batches:
                if not self._draining:
                    outcomes |= self._run_batch(recipe, batch, on_step, load_s=load_s)
                    load_s = 0.0
        return [outcomes.get(job.id) or Outcome(job.id, "released") for job in jobs]

    def _run_batch(
        self, recipe: Recipe, batch: Sequence[Job], on_step: OnStep, *, load_s: float, remark: str = ""
    ) -> dict[str, Outcome]:
        watch = _Watch(batch, on_step, is_draining=lambda: self._draining)
        parts: list[list[Job]] = []
        try:
            if remark:
                watch.say(remark)
            # Resident, unless the batch before this one ran out of memory.
            holding, again_s = self._timed(recipe)
            load_s += again_s
            if load_s > 0:
                watch.say(f"Weights loaded in {load_s:.1f} s.")
            found = {outcome.id: outcome for outcome in holding.opened.run(batch, watch)}
        except _BatchStopped:
            found = {job.id: Outcome(job.id, "released") for job in batch}
        except EngineError as error:
            found = _all_failed(batch, error)
        except Exception as error:
            if watch.raised is error:
                raise
            if machines.is_out_of_memory(error):
                parts = _smaller(batch, watch.stopped, has_company=len(self._holdings) > 1)
            found = _all_failed(batch, self._translate(error, key=recipe_key(recipe), batch=len(batch)))
        # Out here, where nothing holds the tensors that did not fit any more.
        for part in parts:
            found |= self._run_batch(recipe, part, on_step, load_s=load_s, remark=_TOO_MUCH)
            load_s = 0.0
        for job in batch:
            outcome = found[job.id]
            if job.id in watch.stopped:
                found[job.id] = Outcome(job.id, "stopped")
            elif outcome.metrics is not None and load_s > 0:
                found[job.id] = replace(outcome, metrics=replace(outcome.metrics, load_s=load_s))
        return found

    def _translate(self, error: Exception, *, key: str, batch: int) -> EngineError:
        if machines.is_out_of_memory(error):
            _log.warning("out of memory with a batch of %d; everything resident is let go", batch)
            if batch > 1:
                self._largest_batch[key] = batch // 2
            error.__traceback__ = None  # its frames hold the very tensors that must go
            self.close()
            return EngineError("The machine ran out of memory.", code="out_of_memory", retryable=True)
        _log.error("a batch of %d failed", batch, exc_info=error)
        sentence = f"The engine failed while making this picture ({type(error).__name__})."
        return EngineError(sentence, code="engine_failed", retryable=True)

    def _batches(
        self, holding: _Holding, recipe: Recipe, jobs: Sequence[Job]
    ) -> tuple[list[list[Job]], list[Outcome]]:
        most = min(
            recipe.get("max_batch", _DEFAULT_MAX_BATCH),
            self._largest_batch.get(holding.resident.key, 1 << 30),
        )
        batches: list[list[Job]] = []
        refused: list[Outcome] = []
        open_batches: dict[str, tuple[list[Job], int]] = {}
        for job in jobs:
            try:
                key, count = holding.opened.batch_key(job.input), holding.opened.pictures(job.input)
                key += adapters_key(job.adapters)
            except EngineError as error:
                refused.append(Outcome(job.id, "failed", error=error))
                continue
            batch, taken = open_batches.get(key, ([], most))
            if job.exact or taken + count > most:
                batch, taken = [], 0
                batches.append(batch)
            batch.append(job)
            if not job.exact:
                open_batches[key] = (batch, taken + count)
        return batches, refused

    def _timed(self, recipe: Recipe) -> tuple[_Holding, float]:
        """What `recipe` opens, and the seconds that it had to be waited for: 0.0 when it was resident."""
        started_at = time.perf_counter()
        was_resident = recipe_key(recipe) in self._holdings
        holding = self._holding(recipe)
        return holding, 0.0 if was_resident else time.perf_counter() - started_at

    def _holding(self, recipe: Recipe) -> _Holding:
        key = recipe_key(recipe)
        with self._lock:
            if key in self._holdings:
                self._holdings.move_to_end(key)
                holding = self._holdings[key]
                if recipe.get("id", key) not in holding.ids:
                    holding.ids.append(recipe.get("id", key))
                return holding
            self._opening[key] = (recipe.get("id", key), time.monotonic())
        try:
            return self._load_with_room(recipe, key)
        finally:
            with self._lock:
                self._opening.pop(key, None)

    def _load_with_room(self, recipe: Recipe, key: str) -> _Holding:
        """`_load`; where memory runs out beside others, once more without them. Raises EngineError."""
        while True:
            has_company = bool(self._holdings)
            try:
                return self._load(recipe, key)
            except Exception as error:
                if not machines.is_out_of_memory(error):
                    raise
                failure = self._translate(error, key=key, batch=1)
            if not has_company:
                raise failure

    def _load(self, recipe: Recipe, key: str) -> _Holding:
        started_at = time.perf_counter()
        machines.set_environment()
        family = find(recipe["family"])
        machine, folder, expected = self._prepare(recipe, family)
        budget = self._budget_bytes or machine.budget_bytes
        if expected > budget:
            sentence = f"This model needs about {expected >> 20} MiB; this machine has {budget >> 20} MiB for models."
            raise EngineError(sentence, code="out_of_memory")
        self._make_room(budget - expected)
        opened = family.open(recipe, folder=folder, machine=machine)
        load_s = time.perf_counter() - started_at
        resident = Resident(key=key, id=recipe.get("id", key), bytes=opened.bytes, load_s=load_s)
        self._make_room(budget - opened.bytes)
        holding = _Holding(resident, opened, [resident.id])
        with self._lock:
            self._holdings[key] = holding
            self._load_times_s[key] = load_s
            self.loads += 1
        return holding

    def _prepare(self, recipe: Recipe, family: Family) -> tuple[Machine, Path, int]:
        if not family.needs_weights:
            return Machine(device="cpu", threads=self._threads, memory_bytes=1 << 40), self._weights_folder, 0
        machine = machines.start(self._device, self._threads)
        folder = weights.locate(recipe, root=self._weights_folder)
        item_bytes = machine.dtype(recipe.get("dtype", "auto")).itemsize
        return machine, folder, weights.measure(folder, item_bytes=item_bytes)

    def _make_room(self, free_for: int) -> None:
        """Evicts, least recently used first, until what stays fits into `free_for` bytes."""
        evicted = False
        while (
            self._holdings and sum(holding.resident.bytes for holding in self._holdings.values()) > free_for
        ):
            self._evict(next(iter(self._holdings)))
            evicted = True
        if evicted:
            machines.release_memory()

    def _evict(self, key: str) -> None:
        with self._lock:
            holding = self._holdings.pop(key)
            self.evictions += 1
        _log.info("evicting %s (%d bytes)", holding.resident.id, holding.resident.bytes)
        holding.opened.close()


class _Watch:
    """The caller's `on_step` as families see it: remembers who was stopped and ends a batch that nobody wants."""

    def __init__(self, jobs: Sequence[Job], on_step: OnStep, *, is_draining: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._ids = {job.id for job in jobs}
        self._on_step = on_step
        self._is_draining = is_draining
        self.stopped: set[str] = set()
        self.raised: Exception | None = None

    def __call__(self, reports: Sequence[StepReport]) -> list[str]:
        try:
            self.stopped |= self._ids.intersection(self._on_step(reports))
        except Exception as error:
            self.raised = error
            raise
        if self._is_draining() or self.stopped == self._ids:
            raise _BatchStopped
        return list(self.stopped)

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


def _all_failed(jobs: Iterable[Job], error: EngineError) -> dict[str, Outcome]:
    return {job.id: Outcome(job.id, "failed", error=error) for job in jobs}


def _with_defaults(job: Job) -> Job:
    """Two recipes may share what they open and differ in their defaults, so these belong to the job."""
    given = {name: value for name, value in job.input.items() if value is not None}
    return replace(job, input={**(job.recipe.get("defaults") or {}), **given})


def _planned_steps(job: Job) -> int:
    steps = job.input.get("num_inference_steps")
    return steps if isinstance(steps, int) else 0


def _by_recipe(jobs: Sequence[Job]) -> Iterator[tuple[Recipe, list[Job]]]:
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(recipe_key(job.recipe), []).append(job)
    for group in groups.values():
        yield group[0].recipe, group
