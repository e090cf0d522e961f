"""The cores of a machine, shared by the engines on it: one that computes alone has all its threads, one beside others
its part.

Two engines with a thread each make more pictures than one with two, whose threads wait for each other within every
operation (18 % more of the shipped model's on two cores); and what preempts one of them does not stop the other. Alone,
all threads make a picture sooner.

Hides how engines see each other: who computes holds the lock on a seat, a file in a folder that all of them share. The
kernel gives a seat back however its process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger(__name__)
SEATS = 16  # engines beyond that are not seen by the others


class Cores:
    """Call `fit` often while inside `computing`, from the thread that computes.

    Without a `folder` an engine takes itself to be alone.
    """

    def __init__(self, threads: int, folder: Path | None = None) -> None:
        self.threads = threads
        self._folder = folder if threads > 1 else None
        self._seats: list[int] = []
        self._mine: int | None = None
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
            if self._mine is not None:
                fcntl.flock(self._mine, fcntl.LOCK_UN)
                self._mine = None

    def fit(self) -> None:
        """Gives torch as many threads as are this engine's part now. Costs some ten microseconds."""
        torch = sys.modules.get("torch")  # a family without tensors does not bring it
        if torch is None:
            return
        part = self.threads if self._is_fixed else max(1, self.threads // (1 + self.others()))
        if torch.get_num_threads() != part:
            torch.set_num_threads(part)

    def others(self) -> int:
        """How many other engines compute now."""
        return sum(_is_taken(seat) for seat in self._seats if seat != self._mine)

    def close(self) -> None:
        """Lets go of the files."""
        for seat in self._seats:
            os.close(seat)
        self._seats, self._mine = [], None

    def _sit_down(self) -> None:
        if self._folder is None:
            return
        if not self._seats:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for number in range(SEATS):
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                    self._seats.append(os.open(self._folder / f"{number}.seat", flags, 0o600))
            except OSError as error:
                _log.warning("engines beside this one are not seen: %s", error)
                self._folder = None  # no reason not to compute
        for seat in self._seats:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(seat, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._mine = seat
                return


def _is_taken(seat: int) -> bool:
    """Whether somebody else computes there. Who looks shares the seat for a moment: two who look do not see each other,
    and who wants to sit down meanwhile finds another seat."""
    try:
        fcntl.flock(seat, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(seat, fcntl.LOCK_UN)
    return False
