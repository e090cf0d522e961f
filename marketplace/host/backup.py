"""One file that holds a whole Vitrine, and the way back.

A backup is a tar of the database (pg_dump's custom format, one consistent snapshot), the media folder, the secrets
that sessions and signed addresses depend on, and `manifest.json` with the sha256 of each. Restoring reads every byte
against the manifest before it changes anything; the database changes in one transaction, the media folder by renaming.
Media in a bucket stays there: its own versioning is its backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.conninfo import make_conninfo

from marketplace.host import embedded
from marketplace.host.places import HostProblem, Places, make_private, say_os_error

FORMAT = "vitrine-backup-1"
DATABASE, MANIFEST = "database.dump", "manifest.json"
OWN_SECRETS = {"postgres", "database", "redis"}  # they open this machine's servers, not another's
CHUNK = 1 << 20
# What Django takes out of OPTIONS for itself; all else is libpq's.
DJANGO_OPTIONS = {"pool", "server_side_binding", "prepare_threshold", "isolation_level", "assume_role"}


@dataclass(frozen=True)
class Database:
    """How libpq's programs and psycopg reach the database."""

    conninfo: str  # without the password
    password: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Database:
        """By Django's settings of it."""
        named = {
            "host": settings["HOST"],
            "port": settings["PORT"],
            "user": settings["USER"],
            "dbname": settings["NAME"],
            **{
                name: value
                for name, value in settings.get("OPTIONS", {}).items()
                if name not in DJANGO_OPTIONS
            },
        }
        given = {name: value for name, value in named.items() if value}
        return cls(conninfo=make_conninfo("", **given), password=settings["PASSWORD"])

    def connect(self) -> psycopg.Connection:
        """Raises HostProblem when it cannot be reached."""
        try:
            return psycopg.connect(self.conninfo, password=self.password or None, connect_timeout=5)
        except psycopg.OperationalError as error:
            raise HostProblem(f"the database cannot be reached: {' '.join(str(error).split())}") from None

    def major(self) -> int:
        with self.connect() as connection:
            return connection.info.server_version // 10000

    def run(self, *command: str) -> None:
        """Run one of PostgreSQL's programs on it. Raises HostProblem with what it says."""
        env = {**os.environ, "PGPASSWORD": self.password}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [
                line for line in done.stderr.splitlines() if "error" in line.lower()
            ] or done.stderr.splitlines()
            raise HostProblem(f"{Path(command[0]).name}: {' '.join(lines[:2]) or 'failed'}")


def write_backup(target: Path, *, database: Database, places: Places, media: Path | None) -> int:
    """Write the backup file `target`, whole or not at all, readable by this user only; the number of files in it.

    Nothing needs to stop meanwhile. Raises HostProblem.
    """
    if target.exists():
        raise HostProblem(f"{target} is there already: name another file")
    files: dict[str, dict[str, object]] = {}
    major = database.major()
    try:
        with tempfile.TemporaryDirectory(prefix=".vitrine-backup.", dir=target.parent) as work:
            dump = Path(work) / DATABASE
            program = str(_program("pg_dump", major))
            database.run(
                program,
                "--format=custom",
                "--no-owner",
                "--no-privileges",
                f"--file={dump}",
                database.conninfo,
            )
            making = Path(work) / "archive.tar"
            with tarfile.open(making, "x:", format=tarfile.PAX_FORMAT) as archive:
                for name, path in [(DATABASE, dump), *_secrets(places), *_media(media)]:
                    with contextlib.suppress(FileNotFoundError):  # an asset that expired meanwhile
                        files[name] = _add(archive, name, path)
                manifest = {
                    "format": FORMAT,
                    "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "postgresql": major,
                    "media": "folder" if media else "bucket",
                    "files": files,
                }
                _add_bytes(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
            with making.open("rb") as written:
                os.fsync(written.fileno())
            making.chmod(0o600)
            making.rename(target)
    except OSError as error:
        raise say_os_error(error, target) from None
    return len(files)


def restore_backup(
    source: Path, *, database: Database, places: Places, media: Path | None, force: bool = False
) -> int:
    """Put back what `source` holds; the number of files. Call it while nothing else uses database and media.

    Raises HostProblem, with nothing changed, when the file is damaged or was altered, when it comes from a newer
    PostgreSQL, and, without `force`, when the database already holds tables.
    """
    try:
        with tarfile.open(source, "r:") as archive:
            manifest = _verify(archive)
            major = database.major()
            if manifest["postgresql"] > major:
                raise HostProblem(
                    f"{source} comes from PostgreSQL {manifest['postgresql']}, this one is only {major}"
                )
            if not force and _has_tables(database):
                raise HostProblem("the database is not empty: --force replaces all that it holds")
            with _extracted(archive, manifest, places) as work:
                with _media_replaced(work / "media", media if manifest["media"] == "folder" else None):
                    _load(database, work / DATABASE, major=major, replace=force)
                for secret in (work / "keys").glob("*"):
                    secret.replace(make_private(places.keys) / secret.name)
    except (tarfile.TarError, EOFError):
        raise HostProblem(f"{source} is not a whole backup of Vitrine") from None
    except OSError as error:
        raise say_os_error(error, Path(error.filename or source)) from None
    return len(manifest["files"])


def _program(name: str, server_major: int) -> Path:
    """The oldest program that fits the server: newer ones write settings that older servers refuse."""
    found = {
        version: path for version, path in embedded.postgres_binaries(name).items() if version >= server_major
    }
    if not found:
        raise HostProblem(
            f"there is no {name} here for a server of PostgreSQL {server_major}: use the server's own"
        )
    return found[min(found)]


def _secrets(places: Places) -> Iterator[tuple[str, Path]]:
    for path in sorted(places.keys.glob("[!.]*")):
        if path.is_file() and path.name not in OWN_SECRETS:
            yield f"keys/{path.name}", path


def _media(media: Path | None) -> Iterator[tuple[str, Path]]:
    for path in sorted(media.rglob("*")) if media else []:
        if path.is_file() and not path.is_symlink():
            yield f"media/{path.relative_to(media or path).as_posix()}", path


def _add(archive: tarfile.TarFile, name: str, path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        archive.addfile(entry, file)
    return {"sha256": digest, "size": size}


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o600
    archive.addfile(entry, io.BytesIO(content))


def _verify(archive: tarfile.TarFile) -> dict[str, Any]:
    """Read everything once; the manifest when each file is named in it, is as it says and has a place to go to."""
    found: dict[str, dict[str, object]] = {}
    manifest: Any = None
    for entry in archive:
        file = archive.extractfile(entry) if entry.isreg() else None
        if file is None or entry.name in found or not _has_place(entry.name):
            raise HostProblem(f"the backup was altered: {entry.name!r} does not belong in it")
        if entry.name == MANIFEST:
            with contextlib.suppress(ValueError):
                manifest = json.load(file)
            continue
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        found[entry.name] = {"sha256": digest.hexdigest(), "size": entry.size}
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise HostProblem(f"the backup is of no known format: {FORMAT} is expected")
    listed = manifest.get("files")
    if (
        not isinstance(listed, dict)
        or DATABASE not in listed
        or not isinstance(manifest.get("postgresql"), int)
    ):
        raise HostProblem("the backup's manifest is incomplete")
    for name in sorted({*listed, *found}):
        if listed.get(name) != found.get(name):
            raise HostProblem(f"the backup was altered or is damaged: {name} is not what its manifest says")
    return manifest


def _has_place(name: str) -> bool:
    parts = name.split("/")
    if name in {DATABASE, MANIFEST}:
        return True
    if parts[0] == "keys":
        return len(parts) == 2 and re.fullmatch(r"[A-Za-z0-9_-]{1,60}", parts[1]) is not None
    return parts[0] == "media" and len(parts) > 1 and not {"", ".", ".."} & set(parts) and "\0" not in name


@contextlib.contextmanager
def _extracted(archive: tarfile.TarFile, manifest: Mapping[str, Any], places: Places) -> Iterator[Path]:
    """The files in a folder beside their places, on the same disk, so that moving them there is a rename."""
    with tempfile.TemporaryDirectory(prefix=".restore.", dir=make_private(places.root)) as name:
        work = Path(name)
        (work / "media").mkdir(mode=0o700)
        for entry_name in manifest["files"]:
            target = work / entry_name
            target.parent.mkdir(parents=True, exist_ok=True)
            source: IO[bytes] | None = archive.extractfile(entry_name)
            assert source is not None  # _verify has read it
            with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                shutil.copyfileobj(source, file, CHUNK)
        yield work


@contextlib.contextmanager
def _media_replaced(new: Path, media: Path | None) -> Iterator[None]:
    """The media folder replaced by `new`; put back when the block fails. `media=None` leaves everything alone."""
    if media is None:
        yield
        return
    before = media.with_name(f"{media.name}.before-restore")
    if before.exists():
        raise HostProblem(f"{before} is left of an interrupted restore: look at it and move it away")
    media.mkdir(parents=True, exist_ok=True)
    media.rename(before)
    try:
        new.rename(media)
        yield
    except BaseException:
        shutil.rmtree(media, ignore_errors=True)
        before.rename(media)
        raise
    shutil.rmtree(before)


def _has_tables(database: Database) -> bool:
    query = "SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') LIMIT 1"
    with database.connect() as connection:
        return connection.execute(query).fetchone() is not None


def _load(database: Database, dump: Path, *, major: int, replace: bool) -> None:
    """Load the dump in one transaction, in place of all that the role owns when `replace` is set."""
    script = dump.with_suffix(".sql")
    database.run(
        str(_program("pg_restore", major)), "--no-owner", "--no-privileges", f"--file={script}", str(dump)
    )
    script.chmod(0o600)
    command = [str(_program("psql", major)), "--no-psqlrc", "--quiet", "--single-transaction"]
    command += ["--set=ON_ERROR_STOP=1", f"--dbname={database.conninfo}", "--output=/dev/null"]
    if replace:
        command.append("--command=DROP OWNED BY CURRENT_USER")
    database.run(*command, f"--file={script}")
