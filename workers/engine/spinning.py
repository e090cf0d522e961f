"""How the threads of one operation wait for each other on a CPU: awake for a moment where the cores are free, asleep at
once where others want them.

Hides libgomp. Staying awake makes the steps of a small model half as long again as fast on a quiet machine; where other
processes want the cores, one thread is awake for another that does not get to run, and steps took up to ten times as
long. libgomp reads how long a thread stays awake once, from `GOMP_SPINCOUNT`, but stays awake for next to nothing while
a process has more such threads than there are cores (`gomp_throttled_spin_count_var` of its env.c). So for as long as
others want the cores, idle teams of threads are kept that make it so. What is computed is the same either way.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

AWAKE = 20_000
"""Turns of the loop in which a thread stays awake, about a millisecond: longer than the pauses within a step, shorter
than what the kernel lets another process run for."""
_TASKS = Path("/proc/self/task")
_LOOK_S = 0.1  # between looks
_LATELY_S = 0.7  # what is longer ago counts less and less
_CROWDED = 0.40  # of the time lately a thread waited for a core: others want them
_FREE = 0.20  # the web process and the database beside a busy engine make it wait for a tenth
_PARALLEL = 1 << 20  # elements that torch divides among its threads


def can_tell() -> bool:
    """Whether the kernel tells how long threads wait for a core; without that nobody should stay awake."""
    return (_TASKS / str(os.getpid()) / "schedstat").exists()


def waited_s() -> float:
    """Seconds that this process's threads have been ready to run and had no core, all of them together."""
    total = 0
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may have ended by now
            total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9


class Spinning:
    """Call `look` often, from the thread that computes; `close` at the end."""

    def __init__(
        self,
        threads: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        waited: Callable[[], float] = waited_s,
    ) -> None:
        cores = len(os.sched_getaffinity(0))
        self._teams_wanted = -(-(cores - threads + 1) // (threads - 1)) if 1 < threads <= cores else 0
        self._teams: list[_Team] = []
        self._clock = clock
        self._waited = waited
        self._seen_at, self._seen_s = clock(), waited()
        self._share = 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether others want the cores, so that threads sleep at once."""
        return bool(self._teams)

    def look(self) -> None:
        """Sees how long the threads waited for a core lately, and has them wait for each other accordingly."""
        now = self._clock()
        passed = now - self._seen_at
        if passed < _LOOK_S or not self._teams_wanted:
            return
        waited = self._waited()
        share = (waited - self._seen_s) / passed
        self._seen_at, self._seen_s = now, waited
        self._share += (share - self._share) * (1 - math.exp(-passed / _LATELY_S))
        if self._share > _CROWDED:
            while len(self._teams) < self._teams_wanted:
                self._teams.append(_Team())
        elif self._share < _FREE:
            self.close()

    def close(self) -> None:
        """Lets the idle teams go."""
        for team in self._teams:
            team.leave()
        self._teams = []


class _Team:
    """A thread that has done one operation with its team of threads, and keeps it while it waits."""

    def __init__(self) -> None:
        self._leave, ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._stay, args=(ready,), name="idle team", daemon=True)
        self._thread.start()
        ready.wait()

    def _stay(self, ready: threading.Event) -> None:
        import torch

        try:
            torch.ones(_PARALLEL).add_(1)
        finally:
            ready.set()
        self._leave.wait()

    def leave(self) -> None:
        self._leave.set()
        self._thread.join()
