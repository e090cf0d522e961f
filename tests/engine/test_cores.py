from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from workers.engine.cores import SEATS, Cores

_OTHER = """
import sys
from pathlib import Path
from workers.engine.cores import Cores

with Cores(4, Path(sys.argv[1])).computing():
    print("computes", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """An engine in a process of its own that computes until its standard input ends."""
    command = [sys.executable, "-c", _OTHER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "computes\n"
        yield process


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_each_has_its_part_while_others_compute_and_all_when_alone(tmp_path: Path) -> None:
    cores = Cores(4, tmp_path / "cores", linger_s=0)
    with cores.computing():
        assert torch.get_num_threads() == 4
        with another(tmp_path / "cores"):
            cores.fit()
            assert torch.get_num_threads() == 2
            with another(tmp_path / "cores"):
                cores.fit()
                assert torch.get_num_threads() == 1
        cores.fit()
        assert torch.get_num_threads() == 4
    cores.close()


def test_a_killed_engine_is_missed_at_once(tmp_path: Path) -> None:
    cores = Cores(2, tmp_path)
    with cores.computing(), another(tmp_path) as process:
        assert cores.others() == 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert cores.others() == 0
    cores.close()


def test_who_rests_takes_no_part(tmp_path: Path) -> None:
    mine, other = (Cores(2, tmp_path, linger_s=0) for _ in range(2))
    with other.computing():
        pass
    with mine.computing():
        assert mine.others() == 0
        assert torch.get_num_threads() == 2
    mine.close()
    other.close()


def test_who_comes_back_in_a_moment_is_still_counted(tmp_path: Path) -> None:
    mine, other = (Cores(2, tmp_path, linger_s=3600) for _ in range(2))
    with mine.computing():
        assert mine.others() == 0  # seats in which nobody sat yet
        with other.computing():
            mine.fit()
            assert torch.get_num_threads() == 1
        mine.fit()
        assert torch.get_num_threads() == 1
    with mine.computing(), other.computing():  # each in the seat that it had
        assert (mine.others(), other.others()) == (1, 1)
    mine.close()
    other.close()


def test_a_clock_that_is_set_back_makes_nobody_count(tmp_path: Path) -> None:
    cores = Cores(2, tmp_path, linger_s=60)
    with cores.computing():
        for seat in tmp_path.iterdir():
            os.utime(seat, (time.time() + 3600,) * 2)
        assert cores.others() == 0
    cores.close()


def test_an_exact_run_keeps_all_threads(tmp_path: Path) -> None:
    cores = Cores(2, tmp_path, linger_s=0)
    with another(tmp_path):
        with cores.computing(exact=True):
            cores.fit()
            assert torch.get_num_threads() == 2
        with cores.computing():
            assert torch.get_num_threads() == 1
    cores.close()


def test_more_engines_than_seats_go_on(tmp_path: Path) -> None:
    many = [Cores(SEATS * 2, tmp_path, linger_s=0) for _ in range(SEATS + 1)]
    inside = [one.computing() for one in many]
    for one in inside:
        one.__enter__()
    assert many[0].others() == SEATS - 1
    assert many[-1].others() == SEATS
    for one in inside:
        one.__exit__(None, None, None)
    assert many[-1].others() == 0
    for cores in many:
        cores.close()


def test_without_a_folder_an_engine_is_alone(tmp_path: Path) -> None:
    cores = Cores(2)
    with another(tmp_path), cores.computing():
        assert cores.others() == 0
        assert torch.get_num_threads() == 2


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cores = Cores(2, tmp_path / "file" / "cores")
    for _ in range(2):
        with cores.computing():
            assert torch.get_num_threads() == 2
    cores.close()
