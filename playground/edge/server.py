"""The web process: `python -m playground.edge.server -b HOST -p PORT`.

Daphne with what it leaves out: a body is refused before it is read, a slow reader slows down who writes to it instead
of filling the memory, and a stop lets what is being answered be answered.
"""

# ruff: noqa: N802, N815 - Twisted's names

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
os.environ.setdefault("ASGI_THREADS", "2")  # the loop's own pool; Django and the edge have theirs

import argparse
import asyncio
import io
import logging
import resource
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import daphne.server
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from django.utils.module_loading import import_string
from twisted.internet import defer
from twisted.web import http

APPLICATION = "playground.asgi.application"
BUFFER_BYTES = 64 * 1024
HEADER_BYTES = 32 * 1024
SLOW_READER_SECONDS = 60  # in which a reader must take what is buffered for it
LINGER_SECONDS = 2  # for a refused client to notice, before the connection is cut
GRACE_SECONDS = 4  # for what is being answered at a stop
INLET_BYTES = 512 * 1024  # of a file that may wait for the application
SOCKET_MESSAGE_BYTES = 256 * 1024  # both ways: a card with its preview fits, and nobody has more to say to us

REASONS = {431: b"Request Header Fields Too Large"}

log = logging.getLogger(__name__)


def refuse(transport: Any, problem: Any, request_id: bytes = b"", *, as_page: bool = False) -> None:
    """Answer with `problem` and cut the connection soon, when the client has had time to notice."""
    from playground.edge import cors
    from playground.edge.answers import name_request, problem_parts

    named = name_request({"headers": [(b"x-request-id", request_id)]})
    status, headers, body = problem_parts(problem, named, as_page=as_page)
    cut_short(transport, status, [*headers, *cors.OPEN], body)


def cut_short(transport: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer past the usual way, read on only to throw away, and cut the connection soon."""
    reason = http.RESPONSES.get(status, REASONS.get(status, b"Refused"))
    lines = [b"HTTP/1.1 %d %s" % (status, reason), *(b"%s: %s" % pair for pair in headers)]
    lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
    transport.write(b"\r\n".join(lines))
    transport.loseWriteConnection()
    asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abortConnection)


class Channel(http.HTTPChannel):
    """One connection, which knows whether its reader keeps up."""

    totalHeadersSize = HEADER_BYTES

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drained = asyncio.Event()
        self.drained.set()

    def pauseProducing(self) -> None:
        self.drained.clear()
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        self.drained.set()
        super().resumeProducing()  # type: ignore[no-untyped-call]

    def stopProducing(self) -> None:
        self.drained.set()
        super().stopProducing()  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self._turn_away(is_line=True)

    def lineReceived(self, line: bytes) -> None:
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._turn_away(is_line=False)
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderCount > self.maxHeaders:
            self._turn_away(is_line=False)
        else:
            from playground.api.problems import Problem

            refuse(self.transport, Problem("malformed_request", "This is no HTTP that can be read."))
            self._listen_no_more()

    def _turn_away(self, *, is_line: bool) -> None:
        """There is more before the body than fits: of the address if that is not over, else of the headers."""
        from playground.api.problems import Problem

        in_address = bool(self._HTTPChannel__first_line)  # type: ignore[attr-defined]
        limit = self.MAX_LENGTH if is_line else self.totalHeadersSize
        code, what = ("uri_too_long", "address") if in_address else ("headers_too_large", "headers")
        detail = f"The {what} may have at most {limit:,} bytes."
        refuse(self.transport, Problem(code, detail, members={"max_bytes": limit}))
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        self.dataReceived = self.lineReceived = lambda *_: None  # type: ignore[method-assign]

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _send100Continue(self) -> None:
        request: Any = self.requests[-1]
        if request.inlet is not None:
            request.inlet.asks_first = True
        elif not request.is_refused:
            super()._send100Continue()  # type: ignore[no-untyped-call]

    def go_on(self) -> None:
        """Tell a client that asked first that its body is wanted."""
        super()._send100Continue()  # type: ignore[no-untyped-call]

    def hold_back(self, *, is_full: bool) -> None:
        """Stop reading from the client, or go on."""
        if is_full:
            self._networkProducer.pauseProducing()  # type: ignore[misc]
        elif not self._waitingForTransport:
            self._networkProducer.resumeProducing()  # type: ignore[misc]


class Inlet:
    """A body as it comes: what the application has not taken yet, and a client that waits while that is much."""

    def __init__(self, channel: Channel) -> None:
        self.asks_first = False  # with `Expect: 100-continue`
        self.is_whole = False
        self._channel = channel
        self._messages: deque[dict[str, Any]] = deque()
        self._bytes = 0
        self._is_full = False
        self._news = asyncio.Event()

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Daphne's: the end of the connection; the body that it holds is empty."""
        if message["type"] != "http.request":
            self._put(message)

    def feed(self, data: bytes) -> None:
        self._bytes += len(data)
        self._put({"type": "http.request", "body": data, "more_body": True})
        self._balance()

    def end(self) -> None:
        self.is_whole = True
        self._put({"type": "http.request", "body": b"", "more_body": False})

    async def get(self) -> dict[str, Any]:
        """The application's `receive`."""
        if self.asks_first:
            self.asks_first = False
            self._channel.go_on()
        while not self._messages:
            self._news.clear()
            await self._news.wait()
        message = self._messages.popleft()
        self._bytes -= len(message.get("body", b""))
        self._balance()
        return message

    def _put(self, message: dict[str, Any]) -> None:
        self._messages.append(message)
        self._news.set()

    def _balance(self) -> None:
        wanted = self._bytes > (INLET_BYTES // 2 if self._is_full else INLET_BYTES)
        if wanted != self._is_full and self._channel.transport is not None:
            self._is_full = wanted
            self._channel.hold_back(is_full=wanted)


class Request(WebRequest):  # type: ignore[misc]
    """One request, turned away as soon as its headers or its length are reason enough."""

    is_refused = False
    is_for_people = False
    inlet: Inlet | None = (
        None  # where the body is a file, for which the application starts before it has come
    )
    size = 0

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        from playground.edge import answers, gate

        path = unquote(self.channel._path.split(b"?", 1)[0].decode("latin-1"))
        method = self.channel._command.decode("latin-1")
        self.limit = gate.limit(method, path)
        headers = [(n.lower(), v) for n, values in self.requestHeaders.getAllRawHeaders() for v in values]
        self.is_for_people = answers.is_for_people(path, headers)
        problem = gate.refusal(path, headers, method)
        self.kept: list[Any] = []
        if problem is not None:
            self.content = io.BytesIO()
            self._refuse(problem)
        elif length and gate.is_file(method, path):
            self.content = io.BytesIO()
            self.inlet = Inlet(self.channel)
            super().requestReceived(self.channel._command, self.channel._path, self.channel._version)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        from playground.edge import gate

        self.size += len(data)
        if self.is_refused:
            return
        if self.size > self.limit:
            self._refuse(gate.too_large(self.limit))
        elif self.inlet is not None:
            self.inlet.feed(data)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.is_refused:
            self.channel.transport.loseConnection()
        elif self.inlet is not None:
            self.inlet.end()
            for message in self.kept:
                super().handle_reply(message)
        else:
            super().requestReceived(command, path, version)

    def handle_reply(self, message: Any) -> None:
        """An answer to a body that has not all come cannot go the usual way: the connection is in the midst of it."""
        if self.is_refused:
            return
        if self.inlet is None or self.inlet.is_whole:
            super().handle_reply(message)
            return
        self.kept.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            start, *rest = self.kept
            kept = [
                pair for pair in start["headers"] if pair[0].lower() not in {b"content-length", b"connection"}
            ]
            self._cut_off()
            cut_short(
                self.channel.transport, start["status"], kept, b"".join(one.get("body", b"") for one in rest)
            )

    def _refuse(self, problem: Any) -> None:
        """Answer with an error, now."""
        self._cut_off()
        given = self.requestHeaders.getRawHeaders(b"X-Request-Id", [b""])[0]
        refuse(self.channel.transport, problem, given, as_page=self.is_for_people)

    def _cut_off(self) -> None:
        """Take nothing more of this request in; what still comes is read and thrown away."""
        self.is_refused = True
        if self.inlet is not None:
            self.channel.hold_back(is_full=False)


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes connections of ours."""

    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:
        channel = http.HTTPFactory.buildProtocol(self, addr)
        channel.requestFactory = Request  # type: ignore[union-attr]
        return channel


class WebServer(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server with flow control and a graceful end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ports: list[Any] = []

    def run(self) -> None:
        daphne.server.HTTPFactory = Factory  # Daphne names its factory in `run` and leaves no other way in
        super().run()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)

    def create_application(self, protocol: Any, scope: Any) -> Any:
        inlet = getattr(protocol, "inlet", None)
        if inlet is None:
            return super().create_application(protocol, scope)
        if protocol not in self.connections:
            return None
        scope.setdefault("asgi", {"version": "3.0"})
        work = self.application(scope=scope, receive=inlet.get, send=partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(work)
        return inlet

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        await super().handle_reply(protocol, message)
        channel = getattr(protocol, "channel", None) or getattr(protocol.transport, "producer", None)
        if isinstance(channel, Channel) and not channel.drained.is_set():
            try:
                async with asyncio.timeout(SLOW_READER_SECONDS):
                    await channel.drained.wait()
            except TimeoutError:
                channel.abort()

    def kill_all_applications(self) -> defer.Deferred[None]:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        from playground.edge.site import close

        for port in self.ports:
            port.stopListening()
        await close()
        running = [
            one["application_instance"] for one in self.connections.values() if "application_instance" in one
        ]
        if running:
            _, late = await asyncio.wait(running, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def serve(host: str, port: int, *, has_proxy: bool = False) -> int:
    """Serve until a signal ends it; the exit status."""
    _allow_many_files()
    server = WebServer(
        import_string(APPLICATION),
        endpoints=build_endpoint_description_strings(host=host, port=port),
        request_buffer_size=BUFFER_BYTES,
        websocket_timeout=-1,
        websocket_max_message_size=SOCKET_MESSAGE_BYTES,
        websocket_max_frame_size=SOCKET_MESSAGE_BYTES,
        proxy_forwarded_address_header="X-Forwarded-For" if has_proxy else None,
        proxy_forwarded_port_header="X-Forwarded-Port" if has_proxy else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if has_proxy else None,
        verbosity=0,
        server_name="",
    )
    server.run()
    return 1 if server.abort_start else 0


def _allow_many_files() -> None:
    """Each viewer is an open file: take all that the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="playground.edge.server", description="Vitrine's web process.")
    parser.add_argument("-b", "--bind", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("-p", "--port", type=int, default=8000, help="the port to listen on")
    parser.add_argument(
        "--proxy-headers", action="store_true", help="believe a proxy's X-Forwarded-For and -Proto"
    )
    given = parser.parse_args(arguments)
    return serve(given.bind, given.port, has_proxy=given.proxy_headers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
