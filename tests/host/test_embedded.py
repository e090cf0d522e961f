"""The embedded servers for real: whom they let in, where they live, and what they survive."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from marketplace.host import embedded
from marketplace.host.child import Running, stop_all
from marketplace.host.places import ROLE, HostProblem, Places, make_private
from marketplace.host.supervisor import Supervisor
from tests.host.test_supervisor import is_alive
from tests.until import until


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A folder with a cluster in it, deep and closed to everybody else, as a home folder is."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    places = Places.at(home / "a folder, with spaces" / ("deep" * 25))
    places.root.parent.mkdir(mode=0o700)
    with embedded.running(places, durable=False):
        pass
    yield places
    shutil.rmtree(places.sockets)


def postgres_pid(places: Places) -> int:
    return int((places.run / "postgres.pid").read_text().split()[0])


def test_both_answer_again_after_a_stop_and_nothing_is_left(places: Places) -> None:
    with embedded.running(places):
        with psycopg.connect(places.postgres_url()) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
            connection.execute("INSERT INTO kept VALUES (1)")
        redis.Redis.from_url(places.redis_url()).set("kept", "1")
    pid = postgres_pid(places)
    assert not is_alive(pid)
    with embedded.running(places):
        with psycopg.connect(places.postgres_url()) as connection:
            assert connection.execute("SELECT sum(x) FROM kept").fetchone() == (1,)
        assert redis.Redis.from_url(places.redis_url()).get("kept") == b"1"


def test_nobody_gets_in_without_the_password(places: Places) -> None:
    with embedded.running(places, durable=False):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=str(places.sockets), user=ROLE, dbname="vitrine", password="wrong")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=str(places.redis_socket)).ping()
        for socket_path in places.sockets.iterdir():
            if stat.S_ISSOCK(socket_path.stat().st_mode):
                assert stat.S_IMODE(socket_path.stat().st_mode) & 0o077 == 0
        password = places.secret("redis")
        shown = Path(f"/proc/{(places.run / 'redis.pid').read_text().split()[0]}/cmdline").read_text()
        assert password not in shown


def test_the_role_of_the_application_is_an_ordinary_one(places: Places) -> None:
    query = (
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    with embedded.running(places, durable=False), psycopg.connect(places.postgres_url()) as connection:
        assert connection.execute(query).fetchone() == (False, False, False, False)
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
        assert connection.execute("SELECT 'Ä' < 'B', lower('Ä')").fetchone() == (False, "ä")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the problem")
def test_as_root_the_server_is_another_user_and_folders_keep_their_modes(places: Places) -> None:
    with embedded.running(places, durable=False):
        status = Path(f"/proc/{postgres_pid(places)}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert fields["Uid"].split()[0] != "0"
        assert int(fields["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE and nothing else
        assert int(fields["CapBnd"], 16) == 1 << 1
        for folder in (places.root.parent, places.root.parent.parent, places.root, places.sockets):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert folder.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has the problem")
def test_as_root_its_programs_may_lie_in_a_closed_folder(tmp_path: Path) -> None:
    program = tmp_path / "closed" / "program"
    program.parent.mkdir(mode=0o700)
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o700)
    look = "import os, subprocess, sys; assert os.access(sys.argv[1], os.X_OK); subprocess.run([sys.argv[1]])"
    command = [*embedded.unprivileged(), sys.executable, "-I", "-S", "-c", look, str(program)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "found\n"


def test_a_killed_server_comes_back_with_what_was_committed(places: Places) -> None:
    said: list[str] = []
    with Supervisor(places, said.append) as supervisor:
        postgres, cache = supervisor.start(
            [embedded.postgres_child(places), embedded.redis_child(places)], floor=0
        )
        embedded.wait_for_postgres(places, postgres)
        embedded.wait_for_redis(places, cache)
        with psycopg.connect(places.postgres_url()) as connection:
            connection.execute("CREATE TABLE committed AS SELECT 7 AS x")
        redis.Redis.from_url(places.redis_url()).set("committed", "7")
        os.kill(postgres.pid, signal.SIGKILL)
        os.kill(cache.pid, signal.SIGKILL)

        def both_answer() -> bool:
            try:
                with psycopg.connect(places.postgres_url()) as connection:
                    row = connection.execute("SELECT x FROM committed").fetchone()
                return row == (7,) and redis.Redis.from_url(places.redis_url()).get("committed") == b"7"
            except (psycopg.Error, redis.RedisError):
                return False

        assert supervisor.wait(both_answer, seconds=60)
        assert "postgres was ended by SIGKILL; starting it again in 0.5 s" in said


def test_a_server_that_survived_is_ended_and_started_anew(places: Places) -> None:
    survivors = [
        Running(child, places, print)
        for child in (embedded.postgres_child(places, durable=False), embedded.redis_child(places))
    ]
    embedded.wait_for_postgres(places, survivors[0])
    embedded.wait_for_redis(places, survivors[1])
    client = psycopg.connect(places.postgres_url())  # a client that would keep a polite server waiting
    with embedded.running(places, durable=False):
        until(
            lambda: survivors[0].ended() is not None and survivors[1].ended() is not None, "the old ones end"
        )
        assert postgres_pid(places) != survivors[0].pid
        with psycopg.connect(places.postgres_url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    client.close()


def test_a_stranger_with_the_dead_servers_id_does_not_stop_it(places: Places) -> None:
    stranger = subprocess.Popen([*embedded.unprivileged(), "sleep", "600"])
    try:
        (places.postgres / "postmaster.pid").write_text(f"{stranger.pid}\n{places.postgres}\n1\n5432\n\n\n\n")
        (places.sockets / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n{places.postgres}\n1\n5432\n")
        with embedded.running(places, durable=False), psycopg.connect(places.postgres_url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_secrets_of_another_database_are_one_line(places: Places, tmp_path: Path) -> None:
    kept = (places.keys / "postgres").read_text()
    (places.keys / "postgres").write_text("0" * 64)
    try:
        with pytest.raises(HostProblem, match="bring back the folder `keys`"), embedded.running(places):
            pass
    finally:
        (places.keys / "postgres").write_text(kept)


def test_an_unfinished_first_start_is_done_again(tmp_path: Path) -> None:
    places = Places.at(tmp_path / "data")
    places.prepare()
    half = make_private(places.root / "postgres.new")
    (half / "PG_VERSION").write_text("18")
    running = Running(embedded.postgres_child(places, durable=False), places, print)
    embedded.wait_for_postgres(places, running)
    assert not half.exists()
    stop_all([running], grace_seconds=5)


def test_without_any_redis_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert embedded.redis_binary().name == "redis-server"  # the wheel's
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(HostProblem, match="apt install redis-server"):
        embedded.redis_binary()
    with pytest.raises(HostProblem, match="DATABASE_URL"):
        embedded.postgres_binary("postgres")


def test_the_wheels_redis_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    places = Places.at(tmp_path / "data")
    places.prepare()
    running = Running(embedded.redis_child(places), places, print)
    embedded.wait_for_redis(places, running)
    version = redis.Redis.from_url(places.redis_url()).info("server")["redis_version"]
    stop_all([running], grace_seconds=5)
    assert version.startswith("6.2.")
