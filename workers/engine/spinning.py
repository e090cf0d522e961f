"""How the threads of one operation wait for each other on a CPU: awake for a moment where the cores are free, asleep at
once where others want them.

Hides libgomp. Staying awake makes the steps of a small model half as long again as fast on a quiet machine; where other
processes want the cores, one thread is awake for another that does not get to run, and steps took up to ten times as
long. libgomp reads how long a thread stays awake once, from `GOMP_SPINCOUNT`, but stays awake for next to nothing while
a process has more such threads than there are cores (`gomp_throttled_spin_count_var` of its env.c). So for as long as
others want the cores, idle teams of threads are kept that make it so. What is computed is the same either way.

From when on sleeping pays depends on the number of threads:

- Awake, an operation stands still while any of its threads has no core, as it ends with the last of them. The share s
  of the time that this takes is at most the sum of what each of them waited, and at most 1, of 2 threads as of 64.
  1 - s of the speed is left.
- Asleep, each operation wakes all of its threads but one, one after the other, so the cost grows with them. On two
  cores it made steps half as long again. Taken as two thirds, to be safe, n threads are left 1 / (1 + 2/3 (n - 1)) of
  their speed at worst.

The two are even at s = 2 (n - 1) / (2 n + 1): 0.40 of 2 threads, 0.82 of 8, 0.91 of 16, 0.98 of 64. All that is rounded
here speaks for staying awake, which is what libgomp does by itself: many threads sleep only where operations would
hardly get on at all.

That the cores are free again shows less well, the more threads there are: to be woken is to wait a little, too, and the
sum of that may stay above any bound. So now and then those that sleep stay awake to see, the more seldom the more often
it was in vain.
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
_LOOK_SHARE = 0.01  # of the time is the most that looks take: one at a hundred threads takes milliseconds
_LATELY_S = 0.7  # what is longer ago counts less and less
_FREE = 0.5  # of what crowds the cores; beside two threads the web process and the database take half of that
_ASLEEP_S = 30.0  # until they stay awake to see whether others still want the cores
_LONGEST_ASLEEP_S = 600.0
_PARALLEL = 1 << 20  # elements that torch divides among its threads


def can_tell() -> bool:
    """Whether the kernel tells how long threads wait for a core; without that nobody should stay awake."""
    return (_TASKS / str(os.getpid()) / "schedstat").exists()


def waited_s() -> float:
    """Seconds that this process's threads have been ready to run and had no core, all of them together."""
    total = 0
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):  # it may have ended by now
            total += int((task / "schedstat").read_bytes().split()[1])
    return total / 1e9


def crowded_from(threads: int) -> float:
    """The share of the time in which some of so many threads has no core, from which they had better sleep."""
    return 2 * (threads - 1) / (2 * threads + 1)


class Spinning:
    """Call `look` often, from the thread that computes; `close` at the end."""

    def __init__(
        self,
        *,
        cores: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        waited: Callable[[], float] = waited_s,
    ) -> None:
        self._cores = cores or len(os.sched_getaffinity(0))
        self._teams: list[_Team] = []
        self._clock = clock
        self._waited = waited
        self._seen_at, self._seen_s = clock(), waited()
        self._pause_s = _LOOK_S
        self._share = 0.0
        self._asleep_s = _ASLEEP_S
        self._asleep_until = 0.0
        self._tried_at = float("-inf")

    @property
    def is_crowded(self) -> bool:
        """Whether others want the cores, so that threads sleep at once."""
        return bool(self._teams)

    def look(self, threads: int) -> None:
        """Sees how long the threads waited for a core lately, and has the `threads` of an operation wait for each other
        accordingly."""
        now = self._clock()
        passed = now - self._seen_at
        if passed < self._pause_s or not 1 < threads <= self._cores:
            return
        waited = self._waited()
        self._pause_s = max(_LOOK_S, (self._clock() - now) / _LOOK_SHARE)
        share = min(max((waited - self._seen_s) / passed, 0.0), 1.0)  # threads that ended took theirs along
        self._seen_at, self._seen_s = now, waited
        self._share += (share - self._share) * (1 - math.exp(-passed / _LATELY_S))
        if self._share < _FREE * crowded_from(threads):
            self.close()
        elif self._teams and now > self._asleep_until:
            self._tried_at = now
            self._share = 0.0  # what they waited asleep says nothing of what they will awake
            self.close()
        elif self._teams or self._share > crowded_from(threads):
            if not self._teams:
                is_vain = now - self._tried_at < _ASLEEP_S
                self._asleep_s = min(2 * self._asleep_s, _LONGEST_ASLEEP_S) if is_vain else _ASLEEP_S
                self._asleep_until = now + self._asleep_s
            self._crowd(threads)

    def _crowd(self, threads: int) -> None:
        """Keeps so many idle teams that there are more threads than cores, with the `threads` of an operation."""
        kept = threads + sum(team.threads - 1 for team in self._teams)
        for _ in range(math.ceil((self._cores + 1 - kept) / (threads - 1))):
            self._teams.append(_Team(threads))

    def close(self) -> None:
        """Lets the idle teams go."""
        for team in self._teams:
            team.leave()
        self._teams = []


class _Team:
    """A thread that has done one operation with its team of `threads`, it among them, and keeps it while it waits."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
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
