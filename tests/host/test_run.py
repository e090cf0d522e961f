"""`manage.py dev` when the machine refuses: one clear line, status 1, nothing left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from marketplace.host import embedded
from marketplace.host import lanes as host_lanes
from marketplace.host.lanes import lanes
from marketplace.host.places import HostProblem, Places
from marketplace.host.run import Address, workers
from tests.conftest import OURS, free_port

PROJECT = Path(__file__).resolve().parent.parent.parent


def dev(data: Path | str, *before: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {name: value for name, value in os.environ.items() if name not in OURS}
    settings |= {"VITRINE_DATA": str(data), "PORT": str(free_port()), "TLS_PORT": "0", **env}
    command = [*before, sys.executable, str(PROJECT / "manage.py"), "dev"]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=120)


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("vitrine: ")
    assert all(word in done.stderr for word in words), done.stderr


def test_a_busy_port_is_seen_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_one_line(dev(tmp_path / "data", PORT=str(port)), f"port {port}", "set PORT")
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize("port", ["http", "0", "70000"])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    with pytest.raises(HostProblem, match="PORT must be a number"):
        Address.of({"PORT": port})


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(HostProblem, match=r"HOST|cannot listen"):
        Address(host="no such host", port=free_port()).check_free()
    with pytest.raises(HostProblem, match="cannot listen"):
        Address(host="192.0.2.1", port=free_port()).check_free()


def test_an_unwritable_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/sys")  # where even root may not write
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    assert_one_line(dev(folder / "vitrine"), "is not writable", "VITRINE_DATA")


def may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if may_mount():
        script = f'mount -t tmpfs -o size=256k none {tmp_path} && head -c 1M /dev/zero > {tmp_path}/filler; exec "$@"'
        done = dev(tmp_path / "data", "unshare", "--mount", "sh", "-c", script, "sh")
        lines = [line for line in done.stderr.splitlines() if "head:" not in line]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("vitrine: no space left for")
        done = dev(
            tmp_path / "data",
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'mount -t tmpfs -o size=8m none {tmp_path} && exec "$@"',
            "sh",
        )
        assert_one_line(done, "no space left for", "MB needed", "VITRINE_DATA")
    else:
        places = Places.at(tmp_path / "data")
        places.prepare()
        monkeypatch.setattr(embedded, "FIRST_START_BYTES", 2**60)
        with pytest.raises(HostProblem, match="no space left for"):
            embedded.check_space(places)


def test_the_children_are_the_documented_commands() -> None:
    children = workers(Address(host="127.0.0.1", port=8000), lanes({"VITRINE_LANES": "cpu:2,gpu"}))
    names = ["web", "control", "engine", "engine-gpu", "engine.2"]
    assert [child.name for child in children] == names
    commands = [" ".join(child.command) for child in children]
    assert "-P threads" in commands[1]
    assert "-P prefork -c 1 -Q lane.gpu" in commands[3]
    assert not any(" -B" in command or "--beat" in command for command in commands)


def test_no_two_engines_have_one_name() -> None:
    found = lanes({"VITRINE_LANES": "cpu:2,2,gpu:3,gpu-2,gpu-3"})
    children = workers(Address(host="127.0.0.1", port=8000), found)
    assert len({child.name for child in children}) == len(children) == 10
    nodes = {child.command[child.command.index("-n") + 1] for child in children[1:]}
    assert len(nodes) == 9


def test_lanes_by_environment() -> None:
    assert [(lane.name, lane.engines) for lane in lanes({"VITRINE_LANES": "cpu, gpu:3,cpu:2"})] == [
        ("cpu", 1),
        ("gpu", 3),
    ]
    for wrong in ("cpu;rm", "cpu:0", "cpu:17", "cpu:-1", "cpu:", ",", "CPU"):
        with pytest.raises(HostProblem, match="VITRINE_LANES"):
            lanes({"VITRINE_LANES": wrong})


def test_several_engines_share_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_lanes, "_GPUS", (tmp_path / "gpu",))
    memory_mb = psutil.virtual_memory().total // 2**20
    (alone,), (several,) = lanes({"VITRINE_LANES": "cpu"}), lanes({"VITRINE_LANES": "cpu:4"})
    assert alone.env == {}
    assert int(several.env["ENGINE_MEMORY_MB"]) == pytest.approx(memory_mb / 5, rel=0.02)
    assert lanes({"VITRINE_LANES": "cpu:4", "ENGINE_MEMORY_MB": "900"})[0].env == {}
    of_two = lanes({"VITRINE_LANES": "cpu:3,film"})
    assert [lane.env for lane in of_two] == [several.env, several.env]
    (tmp_path / "gpu").touch()  # what it has is not what the machine has
    assert lanes({"VITRINE_LANES": "gpu:2"})[0].env == {}


def test_by_default_there_are_as_many_engines_as_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_lanes, "_GPUS", (tmp_path / "gpu",))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(host_lanes, "_memory_bytes", lambda: 16 * 10**9)
    assert lanes({})[0].engines == 2
    monkeypatch.setattr(host_lanes, "_memory_bytes", lambda: 4 * 10**9)
    assert lanes({})[0].engines == 1
    monkeypatch.setattr(host_lanes, "_memory_bytes", lambda: 16 * 10**9)
    (tmp_path / "gpu").touch()
    assert lanes({})[0].engines == 1
