"""Backup and restore: everything comes back, and nothing changes when the file is not what it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from marketplace.host import embedded
from marketplace.host.backup import Database, restore_backup, write_backup
from marketplace.host.places import HostProblem, Places
from marketplace.settings import database
from tests.conftest import OURS

PROJECT = Path(__file__).resolve().parent.parent.parent
SCHEMA = """
CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount bigint NOT NULL, note text);
CREATE FUNCTION must_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF (SELECT sum(amount) FROM entries) <> 0 THEN RAISE 'unbalanced'; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION must_balance();
INSERT INTO entries (amount, note) VALUES (5, 'Käse'), (-5, E'tab\\t\\\\backslash');
"""


def database_of(places: Places) -> Database:
    return Database.of(database(places.postgres_url()))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Places, Places]]:
    """Two machines: the one that is backed up and the one that it is restored on."""
    one, other = (Places.at(tmp_path_factory.mktemp(name) / "data") for name in ("one", "other"))
    with (
        embedded.running(one, durable=False, with_redis=False),
        embedded.running(other, durable=False, with_redis=False),
    ):
        yield one, other


@pytest.fixture
def machines(servers: tuple[Places, Places]) -> tuple[Places, Places]:
    """The first with content, the second empty."""
    for places in servers:
        with database_of(places).connect() as connection:
            connection.execute("DROP OWNED BY CURRENT_USER")
        for path in sorted(places.media.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    one, _ = servers
    with database_of(one).connect() as connection:
        connection.execute(SCHEMA)
    (one.media / "ab" / "cd").mkdir(parents=True)
    (one.media / "ab" / "cd" / "picture with spaces ü.webp").write_bytes(os.urandom(3_000_000))
    (one.media / "empty").write_bytes(b"")
    one.secret("django")
    return servers


def content(places: Places) -> tuple[object, dict[str, bytes]]:
    with database_of(places).connect() as connection:
        rows = connection.execute("SELECT id, amount, note FROM entries ORDER BY id").fetchall()
    files = {
        str(path.relative_to(places.media)): path.read_bytes()
        for path in places.media.rglob("*")
        if path.is_file()
    }
    return rows, files


def backup(places: Places, target: Path) -> int:
    return write_backup(target, database=database_of(places), places=places, media=places.media)


def restore(places: Places, source: Path, *, force: bool = False) -> int:
    return restore_backup(
        source, database=database_of(places), places=places, media=places.media, force=force
    )


def test_everything_comes_back(machines: tuple[Places, Places], tmp_path: Path) -> None:
    one, other = machines
    file = tmp_path / "backup.tar"
    assert backup(one, file) == 4  # database, two media files, one secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert restore(other, file) == 4
    assert content(other) == content(one)
    assert other.secret("django") == one.secret("django")
    assert other.secret("database") != one.secret("database")
    with contextlib.closing(database_of(other).connect()) as connection:
        connection.execute("INSERT INTO entries (amount) VALUES (1)")
        with pytest.raises(psycopg.Error, match="unbalanced"):
            connection.commit()
    assert [path.name for path in other.root.iterdir() if "restore" in path.name] == []
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_there_is_not_overwritten(machines: tuple[Places, Places], tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_text("precious")
    with pytest.raises(HostProblem, match="there already"):
        backup(machines[0], tmp_path / "backup.tar")
    assert (tmp_path / "backup.tar").read_text() == "precious"


def test_what_is_there_is_replaced_by_force_only(machines: tuple[Places, Places], tmp_path: Path) -> None:
    one, other = machines
    backup(one, tmp_path / "backup.tar")
    with database_of(other).connect() as connection:
        connection.execute("CREATE TABLE newer (x int); CREATE TABLE entries (other int)")
    (other.media / "old.webp").write_bytes(b"old")
    with pytest.raises(HostProblem, match="not empty: --force"):
        restore(other, tmp_path / "backup.tar")
    assert (other.media / "old.webp").read_bytes() == b"old"
    restore(other, tmp_path / "backup.tar", force=True)
    assert content(other) == content(one)
    with database_of(other).connect() as connection:
        assert connection.execute("SELECT to_regclass('newer')").fetchone() == (None,)


def rewritten(source: Path, target: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> Path:
    """The archive with each file passed through `change`."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for entry in old:
            file = old.extractfile(entry)
            assert file is not None
            name, data = change(entry.name, file.read())
            entry.name, entry.size, entry.pax_headers = name, len(data), {}
            new.addfile(entry, io.BytesIO(data))
    return target


def test_an_altered_file_is_refused_and_changes_nothing(
    machines: tuple[Places, Places], tmp_path: Path
) -> None:
    one, other = machines
    good = tmp_path / "backup.tar"
    backup(one, good)

    def flip(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data[:-1] + bytes([data[-1] ^ 1]) if name == "database.dump" else data

    def rename(name: str, data: bytes) -> tuple[str, bytes]:
        return name.replace("media/empty", "media/other"), data

    def escape(name: str, data: bytes) -> tuple[str, bytes]:
        return name.replace("media/empty", "media/../../../escaped"), data

    def forget(name: str, data: bytes) -> tuple[str, bytes]:
        if name != "manifest.json":
            return name, data
        manifest = json.loads(data)
        del manifest["files"]["media/empty"]
        return name, json.dumps(manifest).encode()

    for number, change in enumerate([flip, rename, escape, forget]):
        bad = rewritten(good, tmp_path / f"bad{number}.tar", change)
        with pytest.raises(HostProblem, match="altered"):
            restore(other, bad)
    (tmp_path / "cut.tar").write_bytes(good.read_bytes()[:2_000_000])
    (tmp_path / "noise.tar").write_bytes(os.urandom(20_000))
    for name in ("cut.tar", "noise.tar"):
        with pytest.raises(HostProblem):
            restore(other, tmp_path / name)
    with pytest.raises(HostProblem, match=r"missing\.tar"):
        restore(other, tmp_path / "missing.tar")
    assert list(other.media.iterdir()) == []
    with database_of(other).connect() as connection:
        assert connection.execute("SELECT to_regclass('entries')").fetchone() == (None,)


def test_when_the_database_refuses_the_media_stay(machines: tuple[Places, Places], tmp_path: Path) -> None:
    one, other = machines
    backup(one, tmp_path / "backup.tar")
    (other.media / "old.webp").write_bytes(b"old")
    with psycopg.connect(
        other.postgres_url(role="postgres", database="vitrine"), autocommit=True
    ) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM pg_database_owner")
    try:
        with pytest.raises(HostProblem, match="permission denied"):
            restore(other, tmp_path / "backup.tar")
    finally:
        with psycopg.connect(
            other.postgres_url(role="postgres", database="vitrine"), autocommit=True
        ) as connection:
            connection.execute("GRANT CREATE ON SCHEMA public TO pg_database_owner")
    assert [path.name for path in other.media.iterdir()] == ["old.webp"]


def manage(data: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in OURS} | {
        "VITRINE_DATA": str(data)
    }
    command = [sys.executable, str(PROJECT / "manage.py"), *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_the_commands_on_a_real_installation(tmp_path: Path) -> None:
    with embedded.running(Places.at(tmp_path / "one")):
        done = manage(tmp_path / "one", "prepare")
        assert done.returncode == 0, done.stderr
    done = manage(tmp_path / "one", "backup", str(tmp_path / "backup.tar"))
    assert done.returncode == 0, done.stderr
    done = manage(tmp_path / "two", "restore", str(tmp_path / "backup.tar"))
    assert done.returncode == 0, done.stderr
    done = manage(tmp_path / "two", "restore", str(tmp_path / "backup.tar"))
    assert done.returncode == 1
    assert done.stderr == "vitrine: the database is not empty: --force replaces all that it holds\n"
    with embedded.running(Places.at(tmp_path / "two")):
        done = manage(tmp_path / "two", "migrate", "--check", "--skip-checks")
        assert done.returncode == 0, done.stdout
        done = manage(tmp_path / "two", "prepare")
        assert done.returncode == 0, done.stderr
