"""The cores of a machine, shared by the engines on it: one that computes alone has all its threads, one beside others
its part.

Two engines with a thread each make more pictures than one with two, whose threads wait for each other within every
operation (18 % more of the shipped model's on two cores); and what preempts one of them does not stop the other. Alone,
all threads make a picture sooner.

Hides how engines see each other: who computes holds the lock on a seat, a file in a folder that all of them share. The
kernel gives a seat back however its process ends. A seat that was just left counts as taken for a moment more: an
engine at work comes back with the next batch, and with three threads on two cores every operation waits for one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)
SEATS = 16  # engines beyond that are not seen by the others
LINGER_S = 1.0  # longer than an engine at work is between two batches


class Cores:
    """Call `fit` often while inside `computing`, from the thread that computes.

    Without a `folder` an engine takes itself to be alone.
    """

    def __init__(self, threads: int, folder: Path | None = None, *, linger_s: float = LINGER_S) -> None:
        self.threads = threads
        self._folder = folder if threads > 1 else None
        self._linger_s = linger_s
        self._seats: list[int] = []
        self._mine: int | None = None  # the last one, which is taken again where it is free
        self._sits = False
        self._is_fixed = False

    @contextlib.contextmanager
    def computing(self, *, exact: bool = False) -> Iterator[None]:
        """Has a seat while inside, and gives torch its threads: `exact` all of them throughout, for how an operation is
        divided shows in the last bits of what comes out."""
        self._is_fixed = exact
        self._sit_down()
        try:
            self.fit()
            yield
        finally:
            if self._sits and self._mine is not None:
                os.utime(self._mine)
                fcntl.flock(self._mine, fcntl.LOCK_UN)
            self._sits = False

    def fit(self) -> None:
        """Gives torch as many threads as are this engine's part now. Costs some ten microseconds."""
        torch = sys.modules.get("torch")  # a family without tensors does not bring it
        if torch is None:
            return
        part = self.threads if self._is_fixed else max(1, self.threads // (1 + self.others()))
        if torch.get_num_threads() != part:
            torch.set_num_threads(part)

    def others(self) -> int:
        """How many other engines compute now, or did a moment ago."""
        now = time.time()
        # Left in the future is left before the clock was set back, and no moment ago.
        return sum(
            abs(now - os.fstat(seat).st_mtime) < self._linger_s or _is_taken(seat)
            for seat in self._seats
            if seat != self._mine
        )

    def close(self) -> None:
        """Lets go of the files."""
        for seat in self._seats:
            os.close(seat)
        self._seats, self._mine, self._sits = [], None, False

    def _sit_down(self) -> None:
        if self._folder is None:
            return
        if not self._seats:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for number in range(SEATS):
                    self._seats.append(_opened(self._folder / f"{number}.seat"))
            except OSError as error:
                _log.warning("engines beside this one are not seen: %s", error)
                self._folder = None  # no reason not to compute
        former = [] if self._mine is None else [self._mine]
        for seat in [*former, *self._seats]:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(seat, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._mine, self._sits = seat, True
                return
        self._mine = None


def _opened(path: Path) -> int:
    try:
        seat = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.utime(seat, (0, 0))  # nobody has left it yet
    return seat


def _is_taken(seat: int) -> bool:
    """Whether somebody else computes there. Who looks shares the seat for a moment: two who look do not see each other,
    and who wants to sit down meanwhile finds another seat."""
    try:
        fcntl.flock(seat, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(seat, fcntl.LOCK_UN)
    return False
