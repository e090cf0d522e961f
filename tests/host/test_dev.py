"""`manage.py dev` with its real processes: started, killed, started again, stopped."""

from __future__ import annotations

import http.client
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Stack, run_stack
from tests.host.test_supervisor import is_alive
from tests.until import until

CHILDREN = {"postgres", "redis", "web", "control", "engine"}


def descendants(pid: int) -> set[int]:
    """Every process below `pid`, by /proc."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def health(stack: Stack) -> int:
    address = urlsplit(stack.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dev") / "data"


def test_it_starts_and_says_how_to_get_in(data: Path) -> None:
    with run_stack(data) as stack:
        assert health(stack) == 200
        assert {name for name in CHILDREN if is_alive(stack.pid_of(name))} == CHILDREN
        said = (data.parent / "data.out").read_text()
        assert stack.url in said
        assert stack.email in said
        assert stack.password in said
        assert stack.key.startswith("vt_")
        assert stack.key in said
        assert stat.S_IMODE((data / "run" / "demo.json").stat().st_mode) == 0o600
        assert "problem" not in stack.manage("doctor")
        below = descendants(stack.pid)
        assert len(below) > len(CHILDREN)  # the engine's child and PostgreSQL's
        os.kill(stack.pid, signal.SIGTERM)
        until(lambda: not [pid for pid in below if is_alive(pid)], "everything ends")


@pytest.fixture(scope="module")
def again(data: Path) -> Iterator[Stack]:
    """The run after one whose supervisor was killed, on the same folder."""
    with run_stack(data) as stack:
        below = descendants(stack.pid)
        os.kill(stack.pid, signal.SIGKILL)
        until(lambda: not [pid for pid in below if is_alive(pid)], "everything ends")
    with run_stack(data) as stack:
        yield stack


def test_a_killed_supervisor_leaves_nothing_and_starts_again(again: Stack) -> None:
    assert health(again) == 200


def kill_and_see_it_return(stack: Stack, name: str) -> None:
    pid = stack.pid_of(name)
    group = {pid, *descendants(pid)}
    os.kill(pid, signal.SIGKILL)
    until(lambda: not [one for one in group if is_alive(one)], f"{name} and its children are gone")
    until(lambda: stack.pid_of(name) != pid and is_alive(stack.pid_of(name)), f"{name} is back")


def test_killed_children_come_back(again: Stack) -> None:
    for order in (("engine", "control", "web"), ("redis", "postgres")):
        for name in order:
            kill_and_see_it_return(again, name)
        until(lambda: health(again) == 200, "it works again", seconds=120)


def test_a_second_run_on_the_same_folder_says_so(again: Stack) -> None:
    refused = pytest.raises(pytest.fail.Exception, match=f"in use by another run .process {again.pid}")
    with refused, run_stack(again.data):
        pass
    assert health(again) == 200
