"""The session's servers: one embedded PostgreSQL and Redis for everybody, one whole Vitrine for who asks for `stack`.

The data folder is a fresh one, set before the settings are read; the servers die with pytest, even by `kill -9`.
With `-n` each process that runs tests has servers and a stack of its own, and nothing is shared but the machine.
`VITRINE_TEST_FSYNC=1` keeps the session's database crash-safe; the `stack` always is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as made_up
from psycopg import sql

from marketplace.host import embedded
from marketplace.host.places import ROLE, SUPERUSER, Places
from tests.leftovers import pytest_sessionfinish, pytest_terminal_summary, pytest_warning_recorded

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary", "pytest_warning_recorded"]
PROJECT = Path(__file__).resolve().parent.parent
STACK_SECONDS = 240
# Tests of whole installations: in one process, so that no two of these want the cores at the same time.
WHOLE = (
    *("stack/", "host/test_dev.py", "host/test_other_servers.py", "api/test_over_http.py"),
    *("clients/fal/test_clients.py", "clients/fal/test_beside.py"),
    "clients/replicate/test_clients.py",
    *("clients/openai/test_clients.py", "clients/huggingface/test_clients.py", "clients/test_pasted.py"),
)
# Begun first where tests run in several processes, so that none of these is still at work when all else is done.
LONGEST_FIRST = (
    "whole",
    "api/test_contract.py",
    "engine/test_accelerations.py",
    "training/test_scoring.py",
    "host/test_supervisor.py",
    "host/test_backup.py",
)
OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "PUBLIC_URL",
    "HOST",
    "PORT",
    "TLS_PORT",
    "CONNECT_PORT",
    "SECRET_KEY",
    "MAKELEVEL",
)

_session = contextlib.ExitStack()

for _name in (
    *OURS,
    "MEDIA_BUCKET",
    "MEDIA_ENDPOINT",
    "ALLOWED_HOSTS",
    "DEBUG",
    "LEDGER_BOOK",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_SANDBOX",
    "STRIPE_SANDBOX_URL",
    "VITRINE_LANES",
    "OUTBOUND_PRIVATE",
):
    os.environ.pop(_name, None)
os.environ["VITRINE_LANES"] = "cpu"  # a second engine only where a test is about it
os.environ["VITRINE_DATA"] = tempfile.mkdtemp(prefix="vitrine-tests-")
os.environ["DJANGO_SETTINGS_MODULE"] = (
    "marketplace.settings"  # here, not in the ini: the folder must be known first
)


def pytest_configure(config: pytest.Config) -> None:
    _session.callback(shutil.rmtree, os.environ["VITRINE_DATA"], ignore_errors=True)
    # How fast a busy machine makes examples up says nothing. (With CI set they are the same at each run.)
    made_up.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    made_up.load_profile("unhurried")
    sys.addaudithook(_refuse_distant)
    if _hands_out(config):
        # Not handed on: who runs tests chooses a folder of its own before settings are read.
        del os.environ["DJANGO_SETTINGS_MODULE"]
        return
    if not config.option.collectonly:
        places = Places.configured()
        _session.enter_context(embedded.running(places, durable=os.environ.get("VITRINE_TEST_FSYNC") == "1"))
        with psycopg.connect(
            places.postgres_url(role=SUPERUSER, database="postgres"), autocommit=True
        ) as connection:
            connection.execute(f"ALTER ROLE {ROLE} CREATEDB")  # pytest-django makes a database of its own
    from django.conf import settings

    # Read now, so that pytest-django finds them configured.
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
    # A password of a test needs no million rounds; the `stack`, whose processes are as they are, has them.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_unconfigure() -> None:
    _session.close()


def _hands_out(config: pytest.Config) -> bool:
    """Whether this process runs no test itself: with `-n` others do, each with servers and a folder of its own."""
    return bool(config.getoption("tx", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` a file stays in one process, and so do all tests of whole installations."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)  # pytest-django has its order before
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n` what takes longest begins first."""
    if hasattr(config, "workerinput"):
        ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
        items.sort(key=lambda item: ranks.get(_group(item.nodeid), len(ranks)))


def _group(nodeid: str) -> str:
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return "whole" if path.startswith(WHOLE) else path


def _refuse_distant(event: str, args: tuple[Any, ...]) -> None:
    """Tests reach this machine only."""
    if event != "socket.connect" or args[0].family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(ValueError):
        if not ipaddress.ip_address(args[1][0]).is_loopback:
            raise RuntimeError(f"a test tried to reach {args[1][0]}: tests stay on this machine")


def free_port() -> int:
    """A port that nobody listens on now, and that no outgoing connection is given before it is used."""
    while True:
        port = random.randrange(10_000, 32_768)  # below those that systems give out by themselves
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Stack:
    """A whole Vitrine in processes of its own."""

    url: str
    email: str
    password: str
    key: str
    data: Path
    pid: int  # the supervisor's
    env: dict[str, str]  # what `manage.py` needs to speak to it
    tls_port: int = 0  # with a certificate of the authority in `data/tls/ca.pem`; 0 where there is none
    connect_port: int = 0

    def pid_of(self, name: str) -> int:
        """The process id of a child: web, control, engine, postgres or redis."""
        deadline = time.monotonic() + 60
        while not (found := (self.data / "run" / f"{name}.pid").read_text().split()):  # it is being written
            assert time.monotonic() < deadline, f"{name} has no process id"
            time.sleep(0.01)
        return int(found[0])

    def manage(self, *args: str) -> str:
        """Run `manage.py` against it; its standard output."""
        command = [sys.executable, str(PROJECT / "manage.py"), *args]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def run_stack(data: Path, **env: str) -> Iterator[Stack]:
    """`manage.py dev` on the folder `data` and a free port, ready to be used; stopped at the end of the block."""
    port = free_port()
    settings = {name: value for name, value in os.environ.items() if name not in OURS}
    settings |= {"VITRINE_DATA": str(data), "PORT": str(port), "HOST": "127.0.0.1"}
    settings |= {"TLS_PORT": "0", **env}
    output = data.parent / f"{data.name}.out"
    with output.open("ab") as log:
        before = log.tell()
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "manage.py"), "dev"],
            env=settings,
            stdout=log,
            stderr=log,
            cwd=PROJECT,
        )
    try:
        _wait_for_announcement(process, output, since=before)
        demo = (
            json.loads((data / "run" / "demo.json").read_text())
            if (data / "run" / "demo.json").exists()
            else {}
        )
        yield Stack(
            url=f"http://127.0.0.1:{port}",
            email=demo.get("email", ""),
            password=demo.get("password", ""),
            key=demo.get("key", ""),
            data=data,
            pid=process.pid,
            env=settings,
            tls_port=int(settings["TLS_PORT"]),
            connect_port=int(settings.get("CONNECT_PORT", "0")),
        )
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_announcement(process: subprocess.Popen[bytes], output: Path, *, since: int) -> None:
    deadline = time.monotonic() + STACK_SECONDS
    while "Ctrl-C stops it." not in (text := output.read_bytes()[since:].decode(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"manage.py dev did not come up:\n{text[-6000:]}")
        time.sleep(0.1)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One web, control and engine for the whole session, crash-safe, with a folder of their own.

    It may tell servers on this machine, so that a test can be one, takes clients that insist on https, and its engine
    has the families of the tests.
    """
    named = {"OUTBOUND_PRIVATE": "loopback", "ENGINE_FAMILIES": str(PROJECT / "tests" / "families")}
    named |= {"TLS_PORT": str(free_port()), "CONNECT_PORT": str(free_port())}
    with run_stack(tmp_path_factory.mktemp("stack") / "data", **named) as running:
        yield running


SWEEP = """
CREATE FUNCTION sweep_test() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET session_replication_role = replica SET lock_timeout = '60s' AS $$
BEGIN
    LOCK TABLE {tables} IN EXCLUSIVE MODE;
    {deletes}
END $$
"""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """What tests that commit leave behind is deleted row by row.

    Django's way, to truncate every table and to make permissions anew, takes thirty times as long. The function
    belongs to the superuser: ledger rows are guarded against everybody else. It waits for what still writes.
    """
    from django.db import connection
    from django.test import TransactionTestCase

    with django_db_blocker.unblock():
        names = connection.introspection.django_table_names(only_existing=True, include_views=False)
        database = connection.settings_dict["NAME"]
    kept = {"django_content_type", "auth_permission"}  # what `migrate` wrote
    tables = [sql.Identifier(name) for name in sorted({*names} - kept)]
    made = sql.SQL(SWEEP).format(
        tables=sql.SQL(", ").join(tables),
        deletes=sql.SQL(" ").join(sql.SQL("DELETE FROM {};").format(table) for table in tables),
    )
    address = Places.configured().postgres_url(role=SUPERUSER, database=database)
    with psycopg.connect(address, autocommit=True) as superuser:
        superuser.execute(made)

    def sweep(case: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT sweep_test()")

    TransactionTestCase._fixture_teardown = sweep


@pytest.fixture(autouse=True)
def _fresh_shelf() -> None:
    """What one test put on the shelf, or who had which key, is not remembered in the next."""
    from marketplace import catalog, keys

    catalog.forget()
    keys.forget()


from tests.billing.stripe import stripe_sandbox  # noqa: E402, F401 - a fixture of everybody's
