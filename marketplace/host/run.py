"""`manage.py dev`: everything that Vitrine needs on one machine, started in order and kept alive.

The ground floor are the embedded servers, unless addresses of other ones are given; on it stand web, control and the
engines of each lane. Any refusal of the machine is one clear line, raised as HostProblem before anything is left
running.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from marketplace.host import embedded, process, tls
from marketplace.host.child import Child, end_survivors
from marketplace.host.lanes import Lane, lanes
from marketplace.host.places import HostProblem, Places
from marketplace.host.supervisor import Stopped, Supervisor, sole

PROJECT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 180.0
REPORT_SECONDS = 15.0
ASK_SECONDS = 0.2
TLS_PORT, CONNECT_PORT = 8443, 8444
WITHOUT = {
    "TLS_PORT": "clients that insist on https find nothing here",
    "CONNECT_PORT": "nothing leads fal’s host names here",
}


@dataclass(frozen=True)
class Address:
    """Where the web process listens."""

    host: str
    port: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Address:
        """By HOST and PORT. Raises HostProblem."""
        port = environ.get("PORT", "").strip() or "8000"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise HostProblem(f"PORT must be a number from 1 to 65535, not {port!r}")
        return cls(host=environ.get("HOST", "").strip() or "127.0.0.1", port=int(port))

    def beside(self, environ: Mapping[str, str], name: str, usual: int, *, host: str = "") -> Address | None:
        """A further port, by the setting `name`; None for 0. Raises HostProblem.

        Where nobody has set it and the usual one is taken, it is left out: another install on this machine has it.
        """
        said = environ.get(name, "").strip()
        if said and not (said.isdigit() and int(said) < 65536):
            raise HostProblem(f"{name} must be a number from 1 to 65535, or 0 for none, not {said!r}")
        found = Address(host or self.host, int(said or usual))
        if not found.port:
            return None
        try:
            found.check_free(name)
        except HostProblem as problem:
            if said:
                raise
            say(f"{problem}; until then {WITHOUT[name]}")
            return None
        return found

    @property
    def reachable_host(self) -> str:
        """A host name by which this machine itself reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        host = self.reachable_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def check_free(self, name: str = "PORT") -> None:
        """Raise HostProblem when nobody could listen there. `name` is the setting that the port is from."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except socket.gaierror:
            raise HostProblem(f"HOST {self.host!r} is no address of this machine") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise HostProblem(
                    f"port {self.port} of {self.host} is in use: stop what listens there, or set {name} to another one"
                ) from None
            if error.errno == errno.EACCES:
                raise HostProblem(
                    f"port {self.port} needs more rights: set {name} to one from 1024 up"
                ) from None
            raise HostProblem(f"cannot listen on {self.host}:{self.port}: {error.strerror}") from None


@dataclass(frozen=True)
class Secure:
    """The ports for clients that insist on https: TLS with a certificate of our own, and one that leads to it."""

    address: Address
    certificate: tls.Certificate
    connect: Address | None

    @property
    def url(self) -> str:
        return self.address.url.replace("http:", "https:", 1)

    @classmethod
    def of(cls, environ: Mapping[str, str], places: Places, address: Address) -> Secure | None:
        """By TLS_PORT and CONNECT_PORT; None without the first. Raises HostProblem."""
        secure = address.beside(environ, "TLS_PORT", TLS_PORT)
        if secure is None:
            return None
        connect = address.beside(environ, "CONNECT_PORT", CONNECT_PORT, host="127.0.0.1")
        return cls(secure, tls.certificate(places, address.host), connect)


def workers(address: Address, found: Sequence[Lane], secure: Secure | None = None) -> list[Child]:
    """Web, control and the engines of each lane, every lane's first one first: what an operator of many machines starts
    one by one. With a CONNECT port, who serves that comes before the engines."""
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "--quiet", "-A", "marketplace.dispatch", "worker", "--loglevel", "INFO"]
    celery += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    web = [*python, "playground.edge.server", "-b", address.host, "-p", str(address.port)]
    ports = {
        "TLS_PORT": "0",
        "CONNECT_PORT": "0",
    }  # as they are, not as they were asked for: the pages name them
    if secure is not None:
        ports["TLS_PORT"] = str(secure.address.port)
        ports["CONNECT_PORT"] = str(secure.connect.port if secure.connect is not None else 0)
        files = secure.certificate
        web += [
            "--tls-port",
            str(secure.address.port),
            "--tls-key",
            str(files.key),
            "--tls-cert",
            str(files.chain),
        ]
    env = {"PYTHONUNBUFFERED": "1", "DJANGO_SETTINGS_MODULE": "marketplace.settings"}
    # In a container root is the usual user, and nothing unpickles what Celery's warning is about.
    env["PYTHONWARNINGS"] = "ignore:You're running the worker with superuser privileges"

    def child(name: str, command: list[str], more: Mapping[str, str] = MappingProxyType({})) -> Child:
        return Child(name=name, command=command, env={**env, **more}, cwd=PROJECT)

    def engine(lane: Lane, number: int) -> Child:
        suffix = f".{number}" if number > 1 else ""  # which no lane's name has in it
        name = "engine" if lane.name == "cpu" else f"engine-{lane.name}"
        command = [*celery, "-P", "prefork", "-c", "1", "-Q", f"lane.{lane.name}"]
        return child(f"{name}{suffix}", [*command, "-n", f"engine-{lane.name}{suffix}@%h"], lane.env)

    turns = range(1, max(lane.engines for lane in found) + 1)
    engines = [engine(lane, number) for number in turns for lane in found if number <= lane.engines]
    control = [*celery, "-P", "threads", "-c", "8", "-Q", "control", "-n", "control@%h"]
    first = [child("web", web, ports), child("control", control)]
    if secure is not None and secure.connect is not None:
        way = [str(secure.connect.port), str(secure.address.port), secure.address.reachable_host]
        first.append(child("connect", [*python, "marketplace.host.tunnel", *way]))
    return [*first, *engines]


def run(places: Places, environ: Mapping[str, str]) -> None:
    """Run Vitrine until a signal ends it. Raises HostProblem when it cannot start; then nothing is left running."""
    _end_with_make(environ)
    address, found = Address.of(environ), lanes(environ)
    places.prepare()
    with sole(places):
        end_survivors(places, say)
        embedded.check_space(places)
        address.check_free()
        secure = Secure.of(environ, places, address)
        with Supervisor(places, say) as supervisor, contextlib.suppress(Stopped):
            start_servers(supervisor, environ)
            _prepare(supervisor)
            children = workers(address, found, secure)
            extra = sum(lane.engines - 1 for lane in found)
            at_once = len(children) - extra  # further engines do not take the cores from what is waited for
            supervisor.start(children[:at_once], floor=1)
            _wait_until_healthy(supervisor, address)
            supervisor.start(children[at_once:], floor=1)
            _announce(places, address, secure, environ)
            supervisor.wait()
    say("stopped")


_console = threading.Lock()


def say(line: str) -> None:
    """One whole line to the console, from whatever thread. A console that is gone is no reason to stop."""
    with _console, contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def start_servers(supervisor: Supervisor, environ: Mapping[str, str]) -> None:
    """Start the embedded servers that no given address replaces, and wait until they answer. Raises HostProblem."""
    places = supervisor.places
    wanted = []
    if not environ.get("DATABASE_URL", "").strip():
        wanted.append((embedded.postgres_child(places), embedded.wait_for_postgres))
    if not environ.get("REDIS_URL", "").strip():
        wanted.append((embedded.redis_child(places), embedded.wait_for_redis))
    running = supervisor.start([child for child, _ in wanted], floor=0)
    for server, (_, wait) in zip(running, wanted, strict=True):
        wait(places, server)


def _prepare(supervisor: Supervisor) -> None:
    command = [sys.executable, str(PROJECT / "manage.py"), "prepare"]
    if supervisor.run_once(Child(name="prepare", command=command, cwd=PROJECT)) != 0:
        raise HostProblem(
            f"the database could not be made ready: see the lines above, or {supervisor.places.log / 'prepare.log'}"
        )


def _wait_until_healthy(supervisor: Supervisor, address: Address) -> None:
    """Wait for GET /healthz to answer 200. Raises HostProblem with what it says otherwise."""
    said, asked_at = "nothing answers yet", 0.0

    def is_healthy() -> bool:
        nonlocal said, asked_at
        if time.monotonic() - asked_at < ASK_SECONDS:
            return False
        status, said = _ask_health(address)
        asked_at = time.monotonic()
        return status == 200

    waited = 0.0
    while not supervisor.wait(is_healthy, seconds=REPORT_SECONDS):
        waited += REPORT_SECONDS
        if waited >= READY_SECONDS:
            raise HostProblem(
                f"not healthy after {READY_SECONDS:.0f} s: {said}; see the logs in {supervisor.places.log}"
            )
        say(f"still starting: {said}")


def _ask_health(address: Address) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address.reachable_host, address.port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return (
            answer.status,
            f"/healthz answers {answer.status}: {answer.read(500).decode('utf-8', 'replace').strip()}",
        )
    except (OSError, http.client.HTTPException) as error:
        return 0, f"/healthz does not answer: {error}"
    finally:
        connection.close()


def _announce(places: Places, address: Address, secure: Secure | None, environ: Mapping[str, str]) -> None:
    """Print where it runs and how to get in, to standard output."""
    lines = [f"Vitrine is running at {address.url}"]
    with contextlib.suppress(OSError, ValueError, KeyError):
        demo = json.loads(places.demo.read_text(encoding="utf-8"))
        lines += [f"  sign in  {demo['email']}  password {demo['password']}", f"  API key  {demo['key']}"]
    if secure is not None:
        port = f"   for fal's clients HTTPS_PROXY={secure.connect.url}" if secure.connect is not None else ""
        lines += [f"  TLS      {secure.url}   trust {secure.certificate.authority}{port}"]
    elif not environ.get("TLS_PORT", "").strip():
        lines += [f"  TLS      none: port {TLS_PORT} was in use; set TLS_PORT to another one, or to 0"]
    lines.append("Ctrl-C stops it.")
    with contextlib.suppress(OSError):
        print("\n".join(lines), flush=True)


def _end_with_make(environ: Mapping[str, str]) -> None:
    """Under `make run` the end of make, even by `kill -9`, is the end of the run."""
    if environ.get("MAKELEVEL"):
        process.die_with_parent(sign=signal.SIGTERM)


def is_running(places: Places) -> bool:
    """Whether a supervisor holds this folder."""
    if not places.lock.exists():
        return False
    try:
        with sole(places):
            return False
    except HostProblem:
        return True
