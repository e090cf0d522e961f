"""What is wrong with this machine: one finding per thing that Vitrine needs, each with what to do about it."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
import redis
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from marketplace.host import embedded, run
from marketplace.host.backup import Database
from marketplace.host.places import HostProblem, Places

OLDEST_POSTGRES = 14
OLDEST_REDIS = (6, 2)


@dataclass(frozen=True)
class Finding:
    """What was looked at and what is wrong with it; nothing is wrong when `problem` is empty."""

    about: str
    problem: str = ""
    note: str = ""

    def __str__(self) -> str:
        text = self.problem or self.note
        return f"{'problem' if self.problem else 'ok':<8}{self.about}{f': {text}' if text else ''}"


@dataclass(frozen=True)
class Addresses:
    """Where the servers are, as the settings have them."""

    database: Mapping[str, object]
    redis_url: str
    broker_url: str


def findings(places: Places, environ: Mapping[str, str], addresses: Addresses) -> Iterator[Finding]:
    """Look at everything once, the ground first. Never raises for what it finds."""
    is_up = run.is_running(places)
    own_database = not environ.get("DATABASE_URL", "").strip()
    own_redis = not environ.get("REDIS_URL", "").strip()
    yield _look("Python", _python)
    yield _look("data folder", lambda: _folders(places))
    yield _look("secrets", lambda: _secrets(places))
    yield _look("torch", _torch)
    if own_database:
        yield _look(
            "PostgreSQL's programs", lambda: str(embedded.postgres_binary("postgres", data=places.postgres))
        )
        if os.geteuid() == 0:
            yield _look("PostgreSQL as root", embedded.check_root)
    if own_redis:
        yield _look("Redis's program", lambda: str(embedded.redis_binary()))
    if is_up or not own_database:
        yield _look("database", lambda: _database(addresses.database))
    if is_up or not own_redis:
        yield _look("redis", lambda: _redis(addresses.redis_url))
    if is_up or environ.get("CELERY_BROKER_URL", "").strip():
        yield _look("broker", lambda: _broker(addresses.broker_url))
    if is_up:
        yield _look("health", lambda: _health(run.Address.of(environ)))
    else:
        yield _look("address", lambda: _address(run.Address.of(environ)))


def _look(about: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(about=about, note=check())
    except (HostProblem, OSError, psycopg.Error, redis.RedisError, OperationalError) as problem:
        return Finding(about=about, problem=" ".join(str(problem).split()))


def _python() -> str:
    return sys.version.split()[0]


def _folders(places: Places) -> str:
    places.prepare()
    embedded.check_space(places)
    return f"{places.root}, {shutil.disk_usage(places.root).free // 2**20} MB free"


def _secrets(places: Places) -> str:
    for path in (places.keys, *places.keys.iterdir()):
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise HostProblem(f"others may read {path}: chmod {'700' if path.is_dir() else '600'} it")
    return ""


def _torch() -> str:
    if importlib.util.find_spec("torch") is None:
        raise HostProblem("not installed, so this machine cannot be an engine: `make run` installs it")
    return ""


def _database(settings: Mapping[str, object]) -> str:
    with Database.of(settings).connect() as connection:
        version = connection.info.server_version
        if version // 10000 < OLDEST_POSTGRES:
            raise HostProblem(
                f"PostgreSQL {version // 10000} is too old: {OLDEST_POSTGRES} or newer is needed"
            )
        found = connection.execute("SELECT to_regclass('django_migrations') IS NOT NULL").fetchone()
        if found != (True,):
            raise HostProblem("it holds no tables yet: `manage.py prepare` makes them")
    return f"PostgreSQL {version // 10000}.{version % 10000}"


def _redis(url: str) -> str:
    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
        server = client.info("server")
        memory = client.info("memory")
        if client.info("persistence").get("aof_enabled") != 1:
            raise HostProblem(
                "it forgets everything when it stops: set `appendonly yes` in its configuration"
            )
    version = str(server["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        raise HostProblem(f"Redis {version} is too old: 6.2 or newer is needed")
    if memory.get("maxmemory_policy") not in {"noeviction", None}:
        raise HostProblem("it drops messages when it is full: set `maxmemory-policy noeviction`")
    return f"Redis {version}"


def _broker(url: str) -> str:
    with Connection(url, connect_timeout=5) as connection:  # type: ignore[no-untyped-call]
        connection.ensure_connection(max_retries=1, timeout=5)
        return str(connection.as_uri())


def _address(address: run.Address) -> str:
    address.check_free()
    return f"{address.url} is free; Vitrine does not run: `make run` starts it"


def _health(address: run.Address) -> str:
    connection = http.client.HTTPConnection(address.reachable_host, address.port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        body = answer.read(4000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise HostProblem(
            f"{address.url}/healthz does not answer ({error}): is PORT the one it runs with?"
        ) from None
    finally:
        connection.close()
    if answer.status == 200:
        return f"{address.url} answers"
    try:
        said = "; ".join(json.loads(body)["problems"])
    except (ValueError, KeyError, TypeError):
        said = body
    raise HostProblem(f"{address.url}/healthz answers {answer.status}: {said}")
