"""A web process of its own on the test's database, and a look into it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.db import connection

from tests.conftest import free_port
from tests.until import until

PROJECT = Path(__file__).resolve().parent.parent.parent
LIMIT = 1_000_000  # of a body


@dataclass
class Web:
    pid: int
    port: int
    process: subprocess.Popen[bytes]

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def memory_kb(self) -> int:
        return self._status_kb("VmRSS")

    def _status_kb(self, name: str) -> int:
        (line,) = (one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if name in one)
        return int(line.split()[1])

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_kb(self) -> int:
        """The most memory that it had at once since `forget_peak`."""
        return self._status_kb("VmHWM")

    def files(self) -> list[str]:
        """What it has open that was deleted: bodies that wait on disk."""
        found = []
        for one in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(one.readlink()))
        return [name for name in found if "(deleted)" in name]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = client.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            client.close()

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def say(self, *pieces: bytes) -> bytes:
        """Send all of it on one connection; what comes back until the server ends it, or says no more for long."""
        with self.open() as line:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    line.sendall(piece)
            said = b""
            with contextlib.suppress(OSError):
                while more := line.recv(65536):
                    said += more
            return said


@contextlib.contextmanager
def serving(*more: str, **env: str) -> Iterator[Web]:
    """A web process, with `more` on its command line; it is stopped at the end."""
    from marketplace.host.places import Places

    port = free_port()
    database = Places.configured().postgres_url(database=connection.settings_dict["NAME"])
    env = {**os.environ, "DATABASE_URL": database, "PORT": str(port), "MAX_BODY_BYTES": str(LIMIT), **env}
    command = [sys.executable, "-m", "playground.edge.server", "-b", "127.0.0.1", "-p", str(port), *more]
    process = subprocess.Popen(command, env=env, cwd=PROJECT)
    try:
        until(lambda: accepts(port))
        yield Web(process.pid, port, process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
