"""Folders and secrets of one machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from marketplace.host.places import HostProblem, Places

PROJECT = Path(__file__).resolve().parent.parent.parent

ASK = """
import sys, time
from pathlib import Path
from marketplace.host.places import Places
places = Places.at(Path(sys.argv[1]))
sys.stdin.readline()
print(places.secret("raced"))
"""


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    places = Places.at(tmp_path / "data")
    first = places.secret("django")
    assert places.secret("django") == first
    assert places.secret("other") != first
    assert stat.S_IMODE((places.keys / "django").stat().st_mode) == 0o600
    assert stat.S_IMODE(places.keys.stat().st_mode) == 0o700


def test_processes_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        for _ in range(8)
    ]
    for one in asking:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    answers = {one.communicate(timeout=60)[0] for one in asking}
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 64
    assert [path.name for path in (tmp_path / "data" / "keys").iterdir()] == ["raced"]


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    places = Places.at(tmp_path)
    places.secret("django")
    (places.keys / "django").write_text("")
    with pytest.raises(HostProblem, match="remove it"):
        places.secret("django")


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    Places.at(data).prepare()
    assert stat.S_IMODE(data.stat().st_mode) == 0o755
    assert stat.S_IMODE((data / "run").stat().st_mode) == 0o700


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    places = Places.at(tmp_path / "data")
    places.prepare()
    places.keys.chmod(0o755)
    with pytest.raises(HostProblem, match="chmod 700"):
        places.prepare()
    places.keys.chmod(0o700)
    places.prepare()


def test_a_deep_folder_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    places = Places.at(tmp_path / ("deep" * 30))
    assert len(os.fsencode(places.sockets / ".s.PGSQL.5432.lock")) <= 100
    assert places.sockets == Places.at(tmp_path / ("deep" * 30)).sockets
    assert places.sockets != Places.at(tmp_path / ("deed" * 30)).sockets
    places.prepare()
    assert stat.S_IMODE(places.sockets.stat().st_mode) == 0o700
    places.sockets.rmdir()


def test_a_socket_folder_of_others_is_refused(tmp_path: Path) -> None:
    places = Places.at(tmp_path / ("deep" * 30))
    places.sockets.mkdir(mode=0o777)
    places.sockets.chmod(0o777)
    try:
        with pytest.raises(HostProblem, match="alone"):
            places.prepare()
    finally:
        places.sockets.rmdir()
    with tempfile.TemporaryDirectory() as elsewhere:
        places.sockets.symlink_to(elsewhere)
        try:
            with pytest.raises(HostProblem, match="alone"):
                places.prepare()
        finally:
            places.sockets.unlink()


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(HostProblem, match="no folder"):
        Places.at(tmp_path / "data").prepare()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("DEBUG", "maybe"),
        ("DATABASE_URL", "mysql://x"),
        ("ENGINE_THREADS", "0"),
        ("MAX_BODY_BYTES", "-1"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    told = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        cwd=PROJECT,
        env={**os.environ, "VITRINE_DATA": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith("vitrine: a setting is wrong: ")
    assert name in told.stderr
    assert len(told.stderr.splitlines()) == 1
