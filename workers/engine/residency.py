"""The resident set: which recipes are open on one device, within a budget of memory.

Hides opening, measuring, eviction and what is told of it to other threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from workers.engine import machine as machines
from workers.engine import weights
from workers.engine.contract import EngineError, Loading, Recipe, Resident, recipe_key
from workers.engine.families import Family, Opened, find
from workers.engine.machine import Machine

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Holding:
    """One opened recipe, and the callers' ids of it."""

    resident: Resident
    opened: Opened
    ids: list[str]


class Residents:
    """What is loaded on one device. Belongs to one thread, but for `loaded` and `loading`."""

    def __init__(self, *, device: str, threads: int, budget_bytes: int | None, folder: Path) -> None:
        self.holdings: OrderedDict[str, Holding] = OrderedDict()
        self._device = device
        self._threads = threads
        self._budget_bytes = budget_bytes
        self._folder = folder
        self._opening: dict[str, tuple[str, float]] = {}
        self._load_times_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def loaded(self) -> list[Resident]:
        """What is resident now, most recently used first: one entry per id, also where ids share an opened recipe."""
        with self._lock:
            holdings = list(reversed(self.holdings.values()))
            return [replace(holding.resident, id=name) for holding in holdings for name in holding.ids]

    def loading(self) -> list[Loading]:
        """What is being opened now."""
        now = time.monotonic()
        with self._lock:
            return [
                Loading(key, name, now - since, self._load_times_s.get(key))
                for key, (name, since) in self._opening.items()
            ]

    def close(self) -> None:
        """Forgets everything resident and gives the memory back."""
        while self.holdings:
            self._evict(next(iter(self.holdings)))
        machines.release_memory()

    def hold(self, recipe: Recipe) -> tuple[Holding, float]:
        """What `recipe` opens, and the seconds that it had to be waited for: 0.0 when it was resident.

        Raises EngineError; memory that runs out comes through as the library raises it.
        """
        key = recipe_key(recipe)
        started_at = time.perf_counter()
        with self._lock:
            if key in self.holdings:
                self.holdings.move_to_end(key)
                holding = self.holdings[key]
                if recipe.get("id", key) not in holding.ids:
                    holding.ids.append(recipe.get("id", key))
                return holding, 0.0
            self._opening[key] = (recipe.get("id", key), time.monotonic())
        try:
            return self._load(recipe, key), time.perf_counter() - started_at
        finally:
            with self._lock:
                self._opening.pop(key, None)

    def _load(self, recipe: Recipe, key: str) -> Holding:
        started_at = time.perf_counter()
        machines.set_environment()
        family = find(recipe["family"])
        machine, folder, expected = self._prepare(recipe, family)
        budget = self._budget_bytes or machine.memory_bytes // 10 * (9 if machine.device != "cpu" else 5)
        if expected > budget:
            sentence = f"This model needs about {expected >> 20} MiB; this machine has {budget >> 20} MiB for models."
            raise EngineError(sentence, code="out_of_memory")
        self._make_room(budget - expected)
        opened = family.open(recipe, folder=folder, machine=machine)
        load_s = time.perf_counter() - started_at
        resident = Resident(key=key, id=recipe.get("id", key), bytes=opened.bytes, load_s=load_s)
        self._make_room(budget - opened.bytes)
        holding = Holding(resident, opened, [resident.id])
        with self._lock:
            self.holdings[key] = holding
            self._load_times_s[key] = load_s
        return holding

    def _prepare(self, recipe: Recipe, family: Family) -> tuple[Machine, Path, int]:
        if not family.needs_weights:
            return Machine(device="cpu", threads=self._threads, memory_bytes=1 << 40), self._folder, 0
        machine = machines.start(self._device, self._threads)
        folder = weights.locate(recipe, root=self._folder)
        item_bytes = machine.dtype(recipe.get("dtype", "auto")).itemsize
        return machine, folder, weights.measure(folder, item_bytes=item_bytes)

    def _make_room(self, free_for: int) -> None:
        """Evicts, least recently used first, until what stays fits into `free_for` bytes."""
        evicted = False
        while self.holdings and sum(holding.resident.bytes for holding in self.holdings.values()) > free_for:
            self._evict(next(iter(self.holdings)))
            evicted = True
        if evicted:
            machines.release_memory()

    def _evict(self, key: str) -> None:
        with self._lock:
            holding = self.holdings.pop(key)
        _log.info("evicting %s (%d bytes)", holding.resident.id, holding.resident.bytes)
        holding.opened.close()
