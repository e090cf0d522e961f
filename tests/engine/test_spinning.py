from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from workers.engine.spinning import Spinning, can_tell

CORES = len(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(CORES < 2, reason="threads on one core have nobody to stay awake for")


class Machine:
    """A clock, and how long threads waited for a core, both as the test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waited = 0.0
        self.spinning = Spinning(2, clock=lambda: self.now, waited=lambda: self.waited)

    def lives(self, seconds: float, *, waiting: float) -> bool:
        """So many seconds, of which threads wait for a core this share. Returns whether it is crowded then."""
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            self.waited += 0.2 * waiting
            self.spinning.look()
        return self.spinning.is_crowded


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    found = Machine()
    try:
        yield found
    finally:
        found.spinning.close()


def test_threads_sleep_at_once_while_others_want_the_cores() -> None:
    with machine() as one:
        assert not one.lives(3, waiting=0.15)
        assert not one.lives(0.2, waiting=1.0)  # a moment's work of others is none
        assert one.lives(2, waiting=0.9)
        assert one.lives(3, waiting=0.3)
        assert not one.lives(3, waiting=0.05)
        assert not one.lives(3, waiting=0.3)


def test_idle_teams_go_when_the_cores_are_free_again() -> None:
    with machine() as one:
        one.lives(2, waiting=1)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("idle team") == CORES - 1
        one.lives(3, waiting=0)
        assert "idle team" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("threads", [1, CORES + 1])
def test_nothing_is_done_where_nothing_would_be_gained(threads: int) -> None:
    found = Spinning(threads, clock=iter(range(10)).__next__, waited=iter(range(10)).__next__)
    found.look()
    assert not found.is_crowded


@pytest.mark.skipif(not can_tell(), reason="this kernel does not tell how long threads wait")
def test_a_crowd_is_seen() -> None:
    import torch

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * CORES)]
    found = Spinning(2)
    numbers = torch.ones(1 << 21)

    deadline = time.monotonic() + 60
    try:
        while not found.is_crowded and time.monotonic() < deadline:
            numbers.mul_(1.0)
            found.look()
        assert found.is_crowded
    finally:
        found.close()
        for process in busy:
            process.kill()
            process.wait()
