from __future__ import annotations

import contextlib
import itertools
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

    def __init__(self, threads: int, cores: int) -> None:
        self.now = 0.0
        self.waited = 0.0
        self.threads = threads
        self.spinning = Spinning(cores=cores, clock=lambda: self.now, waited=lambda: self.waited)

    def lives(self, seconds: float, *, waiting: float) -> bool:
        """So many seconds, of which threads wait for a core this share. Returns whether it is crowded then."""
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            self.waited += 0.2 * waiting
            self.spinning.look(self.threads)
        return self.spinning.is_crowded


@contextlib.contextmanager
def machine(threads: int = 2, cores: int | None = None) -> Iterator[Machine]:
    found = Machine(threads, cores or threads)
    try:
        yield found
    finally:
        found.spinning.close()


def idle_teams() -> int:
    return [thread.name for thread in threading.enumerate()].count("idle team")


def test_threads_sleep_at_once_while_others_want_the_cores() -> None:
    with machine() as one:
        assert not one.lives(3, waiting=0.15)
        assert not one.lives(0.2, waiting=1.0)  # a moment's work of others is none
        assert one.lives(2, waiting=0.9)
        assert one.lives(3, waiting=0.3)
        assert not one.lives(3, waiting=0.05)
        assert not one.lives(3, waiting=0.3)


@pytest.mark.parametrize(
    ("threads", "awake", "asleep"), [(2, 0.35, 0.45), (8, 0.77, 0.87), (16, 0.86, 0.96), (64, 0.93, 1.0)]
)
def test_the_more_threads_are_to_be_woken_the_longer_they_stay_awake(
    threads: int, awake: float, asleep: float
) -> None:
    with machine(threads) as one:
        assert not one.lives(20, waiting=awake)
        assert one.lives(20, waiting=asleep)
        assert idle_teams() == 1


def test_of_many_that_wait_at_once_an_operation_does_not_stand_still_the_longer() -> None:
    with machine(64) as one:
        for _ in range(20):
            assert not one.lives(0.2, waiting=64.0)
            assert not one.lives(0.8, waiting=0.1)


def test_they_stay_awake_now_and_then_to_see_and_the_more_seldom_the_more_often_in_vain() -> None:
    with machine(16) as one:
        awake_at: list[float] = []
        while one.now < 400:  # so many of them that even their waking adds up to all of the time
            if not one.lives(0.2, waiting=1.5):
                awake_at.append(one.now)
        stays = [
            round(later - earlier) for earlier, later in itertools.pairwise(awake_at) if later - earlier > 5
        ]
        assert stays == [30, 60, 120]
        assert not one.lives(300, waiting=0.5)  # awake they wait no more
        one.lives(3, waiting=0.0)
        begun = one.now + 2
        assert one.lives(2, waiting=1.0)
        while one.lives(0.2, waiting=1.0):
            assert one.now < begun + 40  # as seldom as at first


@pytest.mark.parametrize(
    ("threads", "cores", "teams"), [(2, 2, 1), (2, 3, 2), (3, 8, 3), (8, 8, 1), (5, 16, 3)]
)
def test_idle_teams_make_more_threads_than_cores_and_go_when_they_are_free_again(
    threads: int, cores: int, teams: int
) -> None:
    with machine(threads, cores) as one:
        one.lives(6, waiting=1)
        assert idle_teams() == teams
        assert threads + teams * (threads - 1) > cores >= threads + (teams - 1) * (threads - 1)
        one.lives(3, waiting=0)
        assert idle_teams() == 0


def test_an_engine_that_gets_fewer_threads_keeps_as_many_teams_as_it_needs_then() -> None:
    with machine(3, 8) as one:
        one.lives(6, waiting=1)
        assert idle_teams() == 3
        one.threads = 2
        one.lives(0.2, waiting=1)
        assert idle_teams() == 4
        one.threads = 1  # which wait for nobody
        assert one.lives(3, waiting=0)


@pytest.mark.parametrize("threads", [1, CORES + 1])
def test_nothing_is_done_where_nothing_would_be_gained(threads: int) -> None:
    with machine(threads, CORES) as one:
        assert not one.lives(20, waiting=1.0)


@pytest.mark.skipif(not can_tell(), reason="this kernel does not tell how long threads wait")
def test_a_crowd_is_seen() -> None:
    import torch

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * CORES)]
    found = Spinning()
    numbers = torch.ones(1 << 21)

    deadline = time.monotonic() + 60
    try:
        while not found.is_crowded and time.monotonic() < deadline:
            numbers.mul_(1.0)
            found.look(2)
        assert found.is_crowded
    finally:
        found.close()
        for process in busy:
            process.kill()
            process.wait()
