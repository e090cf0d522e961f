"""A server that does what it is told, down to the byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

Script = Callable[[socket.socket, bytes], None]


class Server:
    """Answers each connection with a script; remembers what it was asked."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.asked: list[bytes] = []
        self._script, self._tls = script, tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http{'s' if tls else ''}://localhost:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            asked = b""
            while b"\r\n\r\n" not in asked:
                got = connection.recv(65536)
                if not got:
                    return
                asked += got
            head, _, body = asked.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[16:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length: ")
                ),
                0,
            )
            while len(body) < length:
                body += connection.recv(65536)
            self.asked.append(head + b"\r\n\r\n" + body)
            self._script(connection, self.asked[-1])
            with contextlib.suppress(OSError):
                connection.close()

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def serving(script: Script, **named) -> Iterator[Server]:
    server = Server(script, **named)
    try:
        yield server
    finally:
        server.close()


def saying(status: int = 200, body: bytes = b"", length: int | None = None, **headers: str) -> Script:
    """A whole answer; a `length` of -1 says none."""

    def script(connection: socket.socket, asked: bytes) -> None:
        lines = [f"HTTP/1.1 {status} Word"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if length != -1:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return script
