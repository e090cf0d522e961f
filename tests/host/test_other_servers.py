"""`DATABASE_URL`, `REDIS_URL` and `CELERY_BROKER_URL` in place of the embedded servers: Debian's own, for real."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.conftest import Stack, free_port, run_stack

PROJECT = Path(__file__).resolve().parent.parent.parent
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nonexistent"))
TOOLS = {
    "PostgreSQL": shutil.which("initdb", path=str(POSTGRES)),
    "Redis": shutil.which("redis-server"),
    "RabbitMQ": shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin"),
}
# Both answer, or a minute passes: Celery's own command waits for as long as it is told in any case.
PING = """
from marketplace.dispatch import app
print(*app.control.inspect(timeout=60, limit=2).ping())
"""
MISSING = [name for name, path in TOOLS.items() if path is None]


def server(command: list[str], folder: Path, **env: str) -> subprocess.Popen[bytes]:
    """A server in a group of its own, with its output in `folder`."""
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def wait(
    process: subprocess.Popen[bytes], folder: Path, answers: Callable[[], object], *, seconds: int = 120
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            answers()
            return
        except (psycopg.OperationalError, redis.ConnectionError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((folder / "output").read_text(errors="replace")[-3000:])
            time.sleep(0.1)


@contextlib.contextmanager
def ended_after(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def debian_postgres(folder: Path) -> Iterator[str]:
    """Debian's PostgreSQL on a TCP port; as root it runs as its own user, on a folder that this one can reach."""
    as_user: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    port = free_port()
    (folder / "password").write_text("of:the@app/ü\n", encoding="utf-8")
    (folder / "password").chmod(0o644)
    initdb = [*as_user, str(POSTGRES / "initdb"), "-D", str(folder / "data"), "-U", "vitrine", "-E", "UTF8"]
    subprocess.run(
        [*initdb, f"--pwfile={folder / 'password'}", "--auth=scram-sha-256"], check=True, capture_output=True
    )
    command = [*as_user, str(POSTGRES / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
    process = server([*command, "-c", "listen_addresses=127.0.0.1", "-k", str(folder)], folder)
    url = f"postgres://vitrine:of%3Athe%40app%2F%C3%BC@127.0.0.1:{port}/vitrine?application_name=vitrine"
    base = f"host=127.0.0.1 port={port} user=vitrine password=of:the@app/ü dbname="
    with ended_after(process):
        wait(process, folder, lambda: psycopg.connect(base + "postgres").close())
        with psycopg.connect(base + "postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE vitrine")
        yield url


@contextlib.contextmanager
def debian_redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [
        str(TOOLS["Redis"]),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    process = server([*command, "--appendonly", "yes", "--requirepass", "of-redis"], folder)
    url = f"redis://:of-redis@127.0.0.1:{port}/3"
    with ended_after(process):
        wait(process, folder, lambda: redis.Redis.from_url(url).ping())
        yield url


@contextlib.contextmanager
def debian_rabbitmq(folder: Path) -> Iterator[str]:
    """RabbitMQ without its service: its node, folders and ports are the test's own."""
    port, distribution, mapper = free_port(), free_port(), free_port()
    config = folder / "rabbitmq.conf"
    config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\nloopback_users = none\n")
    env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"vitrine{port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    (folder / "plugins").write_text("[].\n")
    program = next(
        Path("/usr/lib/rabbitmq").glob("**/bin/rabbitmq-server")
    )  # without the wrapper's change of user
    process = server([str(program)], folder, **env)

    def answers() -> None:
        from amqp import Connection  # type: ignore[import-untyped]

        with Connection(f"127.0.0.1:{port}", connect_timeout=5):
            pass

    try:
        with ended_after(process):
            wait(process, folder, answers)
            yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:  # the port mapper leaves the group on its own
        subprocess.run(["epmd", "-port", str(mapper), "-kill"], capture_output=True, check=False)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole Vitrine on servers that it did not start."""
    if MISSING:
        assert os.environ.get("CI") != "true", f"install {', '.join(MISSING)}"
        pytest.skip(f"needs Debian's {', '.join(MISSING)}")
    with contextlib.ExitStack() as stack:
        # Below /tmp itself: pytest's folders are closed to PostgreSQL's user.
        folders = []
        for name in ("postgres", "redis", "rabbitmq"):
            folder = Path("/tmp") / f"vitrine-test-{name}-{os.getpid()}"
            folder.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folders.append(folder)
        database = stack.enter_context(debian_postgres(folders[0]))
        cache = stack.enter_context(debian_redis(folders[1]))
        broker = stack.enter_context(debian_rabbitmq(folders[2]))
        yield stack.enter_context(
            run_stack(
                tmp_path_factory.mktemp("elsewhere") / "data",
                DATABASE_URL=database,
                REDIS_URL=cache,
                CELERY_BROKER_URL=broker,
            )
        )


def test_no_server_of_ours_is_started(elsewhere: Stack) -> None:
    assert {path.stem for path in (elsewhere.data / "run").glob("*.pid")} == {
        "prepare",
        "web",
        "control",
        "engine",
    }
    assert not (elsewhere.data / "postgres").exists()


def test_the_workers_answer_through_rabbitmq(elsewhere: Stack) -> None:
    said = elsewhere.manage("shell", "--no-imports", "-c", PING)
    assert "control@" in said, said
    assert "engine-cpu@" in said, said


def test_the_doctor_finds_nothing_wrong(elsewhere: Stack) -> None:
    said = elsewhere.manage("doctor")
    assert "problem" not in said
    assert "amqp://" in said
    assert "guest:guest" not in said


def test_a_backup_of_an_older_server_can_be_restored_on_it(elsewhere: Stack, tmp_path: Path) -> None:
    elsewhere.manage("backup", str(tmp_path / "backup.tar"))
    with psycopg.connect(elsewhere.env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    env = {**elsewhere.env, "VITRINE_DATA": str(tmp_path / "other")}
    env["DATABASE_URL"] = env["DATABASE_URL"].replace("/vitrine?", "/restored?")
    command = [sys.executable, str(PROJECT / "manage.py"), "restore", str(tmp_path / "backup.tar")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT count(*) > 0 FROM django_migrations").fetchone()
    assert row == (True,)
