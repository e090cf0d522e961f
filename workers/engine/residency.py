"""The resident set: which recipes are open on one device, within a budget of memory.

Hides opening, measuring, eviction, the parking of weights in the machine's own memory, and what is told of all that to
other threads. The budget counts the weights of everything resident, the adapters kept beside them and the working
memory of the one that runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workers.engine import machine as machines
from workers.engine import weights
from workers.engine.contract import EngineError, Loading, Recipe, Resident, recipe_key
from workers.engine.families import Family, Opened, Parkable, Shedding, find
from workers.engine.machine import Machine
from workers.engine.worth import Worth

_log = logging.getLogger(__name__)
_MB = 1 << 20
_CROWDED_SECONDS = 600.0  # after the last eviction, for which a change of models is still reckoned with


@dataclass(slots=True)
class Holding:
    """One opened recipe, the callers' ids of it, the bytes that a run needs beyond its weights."""

    resident: Resident
    opened: Opened
    ids: list[str]
    pinned: bool = False
    working_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What opening a recipe takes, known before anything of it is opened."""

    family: Family
    machine: Machine
    folder: Path
    bytes: int
    working_bytes: int
    budget_bytes: int

    def check(self, recipe: Recipe) -> None:
        """Raises EngineError where it can never fit or is not fit to be opened, so that nothing else is evicted for it
        in vain."""
        if self.bytes + self.working_bytes > self.budget_bytes:
            need, budget = (self.bytes + self.working_bytes) // _MB, self.budget_bytes // _MB
            sentence = f"This model needs about {need} MiB; this machine has {budget} MiB for models."
            raise EngineError(sentence, code="out_of_memory")
        self.family.check(recipe, folder=self.folder, machine=self.machine)


class Residents:
    """What is loaded on one device. Belongs to one thread, but for `loaded`, `parked`, `loading` and `swap_s`.

    `budget_bytes` is for the device's memory (None: nine tenths of a GPU's, half of the machine's own), `parking_bytes`
    for weights that wait in the machine's own memory to come back to a GPU.
    """

    def __init__(
        self, *, device: str, threads: int, budget_bytes: int | None, parking_bytes: int, folder: Path
    ) -> None:
        self.holdings: OrderedDict[str, Holding] = OrderedDict()
        self.loads = self.evictions = self.returns = 0  # since the start, for those who watch
        self._parked: OrderedDict[str, Holding] = OrderedDict()
        self._device = device
        self._threads = threads
        self.budget_bytes = budget_bytes
        self._parking_bytes = parking_bytes
        self._folder = folder
        self._worth = Worth()
        self._opening: dict[str, tuple[str, float, float | None]] = {}
        self._load_times_s: dict[str, float] = {}
        self._sizes: dict[str, int] = {}
        self._working: dict[str, int] = {}
        self._bytes_per_second = 0.0
        self._swap: tuple[float, float] | None = None
        self._lock = threading.Lock()

    def loaded(self) -> list[Resident]:
        """What is resident now, most recently used first: one entry per id, also where ids share an opened recipe."""
        return self._told(self.holdings)

    def parked(self) -> list[Resident]:
        """What waits in the machine's own memory, in the same form."""
        return self._told(self._parked)

    def loading(self) -> list[Loading]:
        """What is being opened now. How long it takes is what it took last, or what others of its size did."""
        now = time.monotonic()
        with self._lock:
            return [
                Loading(key, name, now - since, expected_s)
                for key, (name, since, expected_s) in self._opening.items()
            ]

    def load_times_s(self) -> dict[str, float]:
        """Seconds that loading took, by the callers' ids of what is or was resident."""
        with self._lock:
            return dict(self._load_times_s)

    @property
    def swap_s(self) -> float:
        """Seconds that a change of models costs here lately; 0.0 while everything fits."""
        swap = self._swap
        if swap is None or time.monotonic() - swap[0] > _CROWDED_SECONDS:
            return 0.0
        return swap[1]

    def close(self) -> None:
        """Forgets everything, parked too, and gives the memory back."""
        for key in list(self.holdings):
            self._drop(key, self.holdings)
        for key in list(self._parked):
            self._drop(key, self._parked)
        machines.release_memory()

    def hold(self, recipe: Recipe) -> tuple[Holding, float]:
        """What `recipe` opens, and the seconds that it had to be waited for: 0.0 when it was resident.

        Others make room for it, the least worth first and pinned ones last. Raises EngineError: before anything was
        evicted for what can never fit, and for files that are missing, damaged or not to be trusted. Memory that runs
        out comes through as the library raises it.
        """
        key, name = recipe_key(recipe), recipe.get("id", "") or recipe_key(recipe)
        started_at = time.perf_counter()
        holding = self.holdings.get(key)
        if holding is None:
            with self._lock:
                self._opening[key] = (name, time.monotonic(), self._load_times_s.get(name))
            try:
                holding = self._bring_in(recipe, key, name)
            finally:
                with self._lock:
                    self._opening.pop(key, None)
            waited_s = time.perf_counter() - started_at
        else:
            waited_s = 0.0
            self._count(holding)
            self._make_room(holding.working_bytes, self._budget(holding), keep=key)
        with self._lock:
            self.holdings.move_to_end(key)
            holding.pinned |= bool(recipe.get("pin"))
            if name not in holding.ids:
                holding.ids.append(name)
        self._worth.used(key, reload_s=holding.resident.load_s, bytes=holding.resident.bytes)
        return holding, waited_s

    def fits(self, recipe: Recipe) -> bool:
        """Whether `recipe` has room beside what is resident; a pinned one beside what is pinned. Raises EngineError."""
        plan = self._plan(recipe)
        stays = [one for one in self.holdings.values() if one.pinned or not recipe.get("pin")]
        taken = sum(one.resident.bytes for one in stays)
        return taken + plan.bytes + plan.working_bytes <= plan.budget_bytes

    def learn(self, holding: Holding, peak_bytes: int) -> None:
        """Notes what a run of `holding` took beyond its weights: from now on that much is kept free for it."""
        seen = max(holding.working_bytes, peak_bytes)
        holding.working_bytes = self._working[holding.resident.key] = seen

    def settle(self, recipe: Recipe) -> None:
        """After a run of `recipe`: what it left beside its weights is counted, and makes room where it is too much."""
        key = recipe_key(recipe)
        holding = self.holdings.get(key)
        if holding is not None and self._count(holding):
            self._make_room(0, self._budget(holding), keep=key)

    def held_bytes(self) -> int:
        """Memory of the device, or of the process, that a run begins with; 0 before anything was loaded.

        Where the kernel cannot begin a new measurement it is the peak so far: what another model needed once is not
        taken for the need of this one.
        """
        if not self._sizes:
            return 0
        machine = machines.start(self._device, self._threads)
        machine.reset_peak()
        return machine.peak_bytes()

    def _told(self, holdings: OrderedDict[str, Holding]) -> list[Resident]:
        with self._lock:
            found = list(reversed(holdings.values()))
            return [replace(holding.resident, id=name) for holding in found for name in holding.ids]

    def _bring_in(self, recipe: Recipe, key: str, name: str) -> Holding:
        plan = self._plan(recipe)
        if key in self._parked:
            return self._return(key, plan)
        with self._lock:
            self._opening[key] = (*self._opening[key][:2], self._expected_s(name, plan.bytes))
        started_at = time.perf_counter()
        plan.check(recipe)
        crowded = self._make_room(plan.bytes + plan.working_bytes, plan.budget_bytes, keep=key)
        opened = plan.family.open(recipe, folder=plan.folder, machine=plan.machine)
        load_s = time.perf_counter() - started_at
        resident = Resident(key=key, id=name, bytes=opened.bytes, load_s=load_s)
        holding = Holding(resident, opened, [name], working_bytes=plan.working_bytes)
        with self._lock:
            self.holdings[key] = holding
            self._load_times_s[name] = load_s
            self.loads += 1
        if opened.bytes:
            self._bytes_per_second = opened.bytes / max(load_s, 1e-3)
        # It may hold more than its files promise.
        crowded |= self._make_room(plan.working_bytes, plan.budget_bytes, keep=key)
        if crowded:
            self._swap = (time.monotonic(), load_s)
        return holding

    def _expected_s(self, name: str, bytes: int) -> float | None:
        known = self._load_times_s.get(name)
        if known is None and bytes and self._bytes_per_second:
            return bytes / self._bytes_per_second
        return known

    def _return(self, key: str, plan: _Plan) -> Holding:
        """Brings parked weights back to the device."""
        started_at = time.perf_counter()
        with self._lock:
            holding = self._parked.pop(key)  # before others are parked for it, for which it might have to go
        assert isinstance(holding.opened, Parkable)
        try:
            self._make_room(holding.resident.bytes + holding.working_bytes, plan.budget_bytes, keep=key)
            holding.opened.resume()
        except BaseException:
            holding.opened.close()
            raise
        with self._lock:
            self.holdings[key] = holding
            self.returns += 1
        self._swap = (time.monotonic(), time.perf_counter() - started_at)
        return holding

    def _plan(self, recipe: Recipe) -> _Plan:
        machines.set_environment()
        family = find(recipe["family"])
        working = max(_declared_bytes(recipe), 0)
        if not family.needs_weights:
            machine = Machine(device="cpu", threads=self._threads, memory_bytes=1 << 40)
            return _Plan(family, machine, self._folder, 0, 0, machine.memory_bytes)
        machine = machines.start(self._device, self._threads)
        budget = self.budget_bytes or machine.budget_bytes
        key = recipe_key(recipe)
        folder = weights.locate(recipe, root=self._folder)
        if key not in self._sizes:
            item_bytes = machine.dtype(recipe.get("dtype", "auto")).itemsize
            self._sizes[key] = weights.measure(folder, item_bytes=item_bytes)
        size = self._sizes[key]
        # What was learnt makes others go, but is no reason to refuse: the next run may be a smaller one.
        learnt = min(self._working.get(key, 0), max(budget - size, 0))
        return _Plan(family, machine, folder, size, max(working, learnt), budget)

    def _budget(self, holding: Holding) -> int:
        if self.budget_bytes or not holding.resident.bytes:
            return self.budget_bytes or 1 << 62
        return machines.start(self._device, self._threads).budget_bytes

    def _make_room(self, free_bytes: int, budget_bytes: int, *, keep: str) -> bool:
        """Evicts until `free_bytes` are free beside what stays; `keep` stays. Whether anything went."""
        went = False
        while (over := self._taken() + free_bytes - budget_bytes) > 0:
            others = [key for key, one in self.holdings.items() if key != keep and one.resident.bytes]
            if not self._shed(over, others):
                if others:
                    self._evict(min(others, key=lambda key: (self.holdings[key].pinned, self._worth.of(key))))
                elif not self._shed(over, [key for key in self.holdings if key == keep]):
                    break
            went = True
        if went:
            machines.release_memory()
        return went

    def _taken(self) -> int:
        return sum(one.resident.bytes for one in self.holdings.values())

    def _shed(self, bytes: int, keys: Sequence[str]) -> bool:
        """Lets go of adapters, which are quicker to have again than a model. Whether anything went."""
        for holding in (self.holdings[key] for key in keys):
            if isinstance(holding.opened, Shedding) and holding.opened.shed(bytes):
                self._count(holding)
                return True
        return False

    def _count(self, holding: Holding) -> bool:
        """Notes what `holding` takes now. Whether that is another amount than before."""
        is_new = holding.resident.bytes != holding.opened.bytes
        if is_new:
            holding.resident = replace(holding.resident, bytes=holding.opened.bytes)
        return is_new

    def _evict(self, key: str) -> None:
        holding = self.holdings[key]
        self._worth.went(key)
        self.evictions += 1
        _log.info("evicting %s (%d bytes)", holding.resident.id, holding.resident.bytes)
        if not self._park(key, holding):
            self._drop(key, self.holdings)

    def _park(self, key: str, holding: Holding) -> bool:
        """Moves weights to the machine's own memory, the longest parked ones making room there."""
        size = holding.resident.bytes
        if size > self._parking_bytes or not isinstance(holding.opened, Parkable):
            return False
        while sum(one.resident.bytes for one in self._parked.values()) + size > self._parking_bytes:
            self._drop(next(iter(self._parked)), self._parked)
        if not holding.opened.park():
            return False
        with self._lock:
            self._parked[key] = self.holdings.pop(key)
        return True

    def _drop(self, key: str, holdings: OrderedDict[str, Holding]) -> None:
        with self._lock:
            holding = holdings.pop(key)
        holding.opened.close()


def _declared_bytes(recipe: Recipe) -> int:
    """What the recipe says that a run needs beyond its weights. Raises EngineError."""
    declared = recipe.get("working_mb", 0)
    if isinstance(declared, bool) or not isinstance(declared, int) or declared < 0:
        raise EngineError("“working_mb” must be a whole number of mebibytes.", code="bad_weights")
    return declared * _MB
