"""Versions that this machine cannot open: their weights are missing or damaged on it, or too large for it.

They are left to the other machines of a lane while there is one that has not said the same. Engines of one machine
share its files and are alike, so what one of them says holds for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from playground import live

UNFIT_SECONDS = 300.0  # after which it is tried again: files are fetched anew, packages installed
LOOK_SECONDS = 1.0  # for which a look at the other engines counts


class Unfit:
    """What the engine called `worker` cannot open. `names` may be called from any thread."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._until: dict[str, float] = {}
        self._left: dict[str, tuple[float, list[str]]] = {}
        self._guard = threading.Lock()

    def note(self, version: str) -> None:
        """Notes that `version` cannot be opened here now."""
        with self._guard:
            self._until[version] = time.monotonic() + UNFIT_SECONDS
            self._left.clear()

    def names(self) -> list[str]:
        """The versions that were noted lately."""
        now = time.monotonic()
        with self._guard:
            self._until = {one: until for one, until in self._until.items() if until > now}
            return sorted(self._until)

    def is_fit_elsewhere(self, version: str, lane: str) -> bool:
        """Whether another machine of `lane` may yet open `version`."""
        return self._is_fit_elsewhere(version, live.engines(lane))

    def left(self, lane: str) -> list[str]:
        """The versions that are left to the other machines of `lane`, as a look of a second ago shows them."""
        now = time.monotonic()
        looked_at, left = self._left.get(lane, (float("-inf"), []))
        if now - looked_at > LOOK_SECONDS:
            engines = live.engines(lane)
            here = {one for said in engines if self._is_here(said) for one in said.get("unfit", ())}
            left = [one for one in here.union(self.names()) if self._is_fit_elsewhere(one, engines)]
            self._left[lane] = now, left
        return left

    def _is_here(self, engine: live.Engine) -> bool:
        return _machine(engine["worker"]) == _machine(self._worker)

    def _is_fit_elsewhere(self, version: str, engines: Collection[live.Engine]) -> bool:
        unfit = {_machine(said["worker"]) for said in engines if version in said.get("unfit", ())}
        unfit.add(_machine(self._worker))
        return any(not said["draining"] and _machine(said["worker"]) not in unfit for said in engines)


def _machine(worker: str) -> str:
    """The host of an engine, whose name is made of host, process and chance."""
    return worker.rsplit("-", 2)[0]
