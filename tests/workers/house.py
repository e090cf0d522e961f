"""A session without a process: the engine, and the lanes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from tests.predictions import cast
from workers.engine import Engine
from workers.unfit import Unfit

CARD = {"family": "testcard", "weights": ""}


class Worker:
    def __init__(self) -> None:
        self.worker, self.lanes, self.lock = "here-1-listener", [cast.LANE], 0
        self.unfit = Unfit(self.worker)
        self.engine = Engine(threads=1)
        self.kept: dict[str, int] = {}

    def at_work(self, fences, seconds):
        return contextlib.nullcontext()

    def keep(self, fences: Mapping[str, int]) -> None:
        self.kept |= fences

    def let_go(self, fences: Mapping[str, int]) -> None:
        for one in fences:
            del self.kept[one]

    def lost(self) -> set[str]:
        return set()

    def report(self) -> None:
        pass
