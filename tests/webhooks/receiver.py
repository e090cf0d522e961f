"""A customer's server: it takes what is posted, and answers as the test says, kindly or not."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Message:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


SILENCE_SECONDS = 40
Behaviour = Callable[[BaseHTTPRequestHandler, Message], None]


def say(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with this."""

    def answer(handler: BaseHTTPRequestHandler, message: Message) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler, message: Message) -> None:
    """A good status and a body without an end."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x" * 65536)


def silent(handler: BaseHTTPRequestHandler, message: Message) -> None:
    """No answer, for longer than anybody waits."""
    time.sleep(SILENCE_SECONDS)


def reset(handler: BaseHTTPRequestHandler, message: Message) -> None:
    """The connection is cut without a word."""
    handler.connection.close()


@dataclass
class Receiver:
    """What arrived, in order. `behaviour` answers all that is not told apart in `by_path`."""

    url: str = ""
    messages: list[Message] = field(default_factory=list)
    behaviour: Behaviour = field(default_factory=lambda: say(204))
    by_path: dict[str, Behaviour] = field(default_factory=dict)

    def at(self, path: str) -> list[Message]:
        return [one for one in self.messages if one.path == path]


@contextlib.contextmanager
def running() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            names = {name.lower(): value for name, value in self.headers.items()}
            message = Message(self.path, names, body, time.monotonic())
            receiver.messages.append(message)
            receiver.by_path.get(self.path, receiver.behaviour)(self, message)

        def do_GET(self) -> None:
            receiver.messages.append(Message("GET " + self.path, {}, b"", time.monotonic()))
            self.send_error(500)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
