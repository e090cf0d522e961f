"""Real processes under the real supervisor: they are kept alive, and nothing is ever left behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketplace.host import process
from tests.until import until

PROJECT = Path(__file__).resolve().parent.parent.parent


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Run:
    """A stand-in supervisor and what its children noted."""

    def __init__(self, data: Path, *kinds: str) -> None:
        self.data = data
        self.output = data / "output"
        data.mkdir(exist_ok=True)
        with self.output.open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.host.stand_in", str(data), *kinds],
                cwd=PROJECT,
                stdout=out,
                stderr=out,
            )

    def events(self) -> list[str]:
        path = self.data / "events"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, pattern: str = ".*") -> list[int]:
        found = [re.fullmatch(rf"({pattern}) (?:parent|child) (\d+)", line) for line in self.events()]
        return [int(match[2]) for match in found if match]

    def said(self) -> str:
        return self.output.read_text()

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            self.popen.wait(timeout=20)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    for line in (tmp_path / "data" / "events").read_text().splitlines():
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(line.split()[-1]), signal.SIGKILL)


@contextlib.contextmanager
def standing(data: Path, *kinds: str, processes: int = 4) -> Iterator[Run]:
    run = Run(data, *kinds)
    try:
        until(lambda: len(run.pids()) >= processes, "the children stand")
        yield run
    finally:
        run.end()


def test_sigterm_ends_everything_from_the_top_down(data: Path) -> None:
    with standing(data) as run:
        run.popen.send_signal(signal.SIGTERM)
        assert run.popen.wait(timeout=20) == 0
        assert not [pid for pid in run.pids() if is_alive(pid)]
        stops = [line for line in run.events() if line.endswith("stops")]
        assert stops == ["upper stops", "ground stops"]


def test_a_child_that_refuses_to_end_is_ended(data: Path) -> None:
    with standing(data, "stubborn") as run:
        run.popen.send_signal(signal.SIGINT)
        assert run.popen.wait(timeout=20) == 0
        assert not [pid for pid in run.pids() if is_alive(pid)]


def test_kill_of_the_supervisor_leaves_no_orphan(data: Path) -> None:
    with standing(data) as run:
        run.popen.kill()
        run.popen.wait()
        until(lambda: not [pid for pid in run.pids() if is_alive(pid)], "everything is gone")


@pytest.mark.parametrize("kind", [(), ("stubborn",)])
def test_kill_of_a_child_ends_its_children_and_starts_it_again(data: Path, kind: tuple[str, ...]) -> None:
    with standing(data, *kind) as run:
        before = run.pids("upper")
        parent = int((data / "run" / "upper.pid").read_text().split()[0])
        os.kill(parent, signal.SIGKILL)
        until(lambda: len(run.pids("upper")) == 4, "it stands again")
        assert not [pid for pid in before if is_alive(pid)]
        assert all(is_alive(pid) for pid in run.pids() if pid not in before)
        assert "upper was ended by SIGKILL; starting it again in 0.5 s" in run.said()


def test_a_child_that_keeps_dying_is_started_ever_more_rarely(data: Path) -> None:
    with standing(data, "crashing") as run:
        until(lambda: "ended with status 3; starting it again in 2 s" in run.said(), "three deaths")
        delays = re.findall(r"starting it again in (\S+) s", run.said())
        assert delays[:3] == ["0.5", "1", "2"]


def test_two_runs_on_one_folder(data: Path) -> None:
    with standing(data) as run:
        command = [sys.executable, "-m", "tests.host.stand_in", str(data)]
        second = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"in use by another run (process {run.popen.pid})" in second.stderr
        assert all(is_alive(pid) for pid in run.pids())


def test_survivors_of_a_killed_run_are_ended_first(data: Path) -> None:
    first = Run(data, "lasting")
    until(lambda: len(first.pids()) == 6, "the children stand")
    first.popen.kill()
    first.popen.wait()
    lasting = first.pids("lasting")
    until(lambda: not [pid for pid in first.pids("upper|ground") if is_alive(pid)], "the others are gone")
    assert all(is_alive(pid) for pid in lasting)
    second = Run(data)
    try:
        until(lambda: len(second.pids()) == 10, "the second run stands")
        assert not [pid for pid in lasting if is_alive(pid)]
        assert "an earlier lasting" in second.said()
    finally:
        second.end()


def test_a_lock_that_names_a_stranger_harms_nobody(data: Path) -> None:
    with standing(data) as run:
        (data / "run" / "old.pid").write_text(f"{os.getpid()} 1\n")
        run.end()
    with standing(data, processes=8):
        pass  # reaching this line, this very process was not taken for the old one


def test_without_the_kernels_help_a_watcher_ends_the_process() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    source = f"import os; from marketplace.host.process import _watch; _watch(os.getpid(), {parent.pid}, 9)"
    watched = subprocess.Popen([sys.executable, "-c", source], cwd=PROJECT)
    assert watched.poll() is None
    parent.kill()
    parent.wait()
    assert watched.wait(timeout=30) == -signal.SIGKILL


def test_processes_with_one_id_are_told_apart() -> None:
    assert process.started_at(os.getpid()) == process.started_at(os.getpid()) != ""
    assert process.started_at(2**22 + 1) == ""
