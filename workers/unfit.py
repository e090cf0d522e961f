"""Versions that this machine cannot open: their weights are missing or damaged on it, or too large for it.

They are left to the other machines of a lane while there is one that has not said the same. Engines of one machine
share its files and are alike, so what one of them says holds for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from playground import live
from workers.engine import EngineError

UNFIT_SECONDS = 300.0  # after which it is tried again: files are fetched anew, packages installed
LOOK_SECONDS = 1.0  # for which a look at the other engines counts


@dataclass(frozen=True, slots=True)
class _Note:
    """Why a version cannot be opened, until when that counts, and the wish to try it that was known of by then."""

    said: live.UnfitNote
    until: float
    wish: bytes | None


class Unfit:
    """What the engine called `worker` cannot open. All but `left` may be called from any thread."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._notes: dict[str, _Note] = {}
        self._left: dict[str, tuple[float, list[str]]] = {}
        self._guard = threading.Lock()

    def note(self, version: str, error: EngineError) -> None:
        """Notes that `version` cannot be opened here now."""
        (wish,) = live.wishes_to_try(live.machine_of(self._worker), [version])
        with self._guard:
            before = self._notes.get(version)
            since = before.said["since"] if before is not None else time.time()
            said: live.UnfitNote = {"code": error.code, "why": error.sentence, "since": since}
            self._notes[version] = _Note(said, time.monotonic() + UNFIT_SECONDS, wish)
            self._left.clear()

    def notes(self) -> dict[str, live.UnfitNote]:
        """The versions that were noted lately, and why."""
        now = time.monotonic()
        with self._guard:
            self._notes = {one: note for one, note in self._notes.items() if note.until > now}
            return {one: self._notes[one].said for one in sorted(self._notes)}

    def forget(self, version: str) -> None:
        """Notes that `version` was opened here."""
        with self._guard:
            if self._notes.pop(version, None) is not None:
                self._left.clear()

    def heed(self) -> bool:
        """Forgets what the operator wants tried again. True if there was any of it."""
        with self._guard:
            notes = dict(self._notes)
        if not notes:
            return False
        wishes = live.wishes_to_try(live.machine_of(self._worker), list(notes))
        wanted = [one for one, wish in zip(notes, wishes, strict=True) if wish not in {None, notes[one].wish}]
        with self._guard:
            self._notes = {one: note for one, note in self._notes.items() if one not in wanted}
            self._left.clear()
        return bool(wanted)

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
            left = [one for one in here.union(self.notes()) if self._is_fit_elsewhere(one, engines)]
            self._left[lane] = now, left
        return left

    def _is_here(self, engine: live.Engine) -> bool:
        return live.machine_of(engine["worker"]) == live.machine_of(self._worker)

    def _is_fit_elsewhere(self, version: str, engines: Collection[live.Engine]) -> bool:
        unfit = {live.machine_of(said["worker"]) for said in engines if version in said.get("unfit", ())}
        unfit.add(live.machine_of(self._worker))
        return any(not said["draining"] and live.machine_of(said["worker"]) not in unfit for said in engines)
