"""One connection of the web process and the request on it, as Twisted sees them.

Hides what Twisted and Daphne leave open: who is slow with the head of a request, who asks on without reading what was
said, who does not take the end of an answer. A request with a body is handed on before the body has come; the client
is held back while nobody takes what it sends. Django may not be set up yet when this is imported.
"""

# ruff: noqa: N802, N815 - Twisted's names

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web import http

from playground.edge.overlong import Rest, path_of

HEADER_BYTES = 32 * 1024
HEAD_SECONDS = 20  # from the first byte of a request to the end of its headers
IDLE_SECONDS = 75  # without a byte; what waits for the bytes of a body is less patient
SLOW_READER_SECONDS = 60  # in which a reader must take what is buffered for it
LINGER_SECONDS = 2  # for a refused client to notice, before the connection is cut
INLET_BYTES = 128 * 1024  # of a body that may wait for the application

REASONS = {431: b"Request Header Fields Too Large"}


def refuse(
    transport: Any, problem: Any, scope: dict[str, Any] | None = None, *, as_page: bool = False
) -> None:
    """Answer with `problem` and cut the connection soon, when the client has had time to notice.

    `scope` is the request as far as it is known.
    """
    from playground.edge import cors
    from playground.edge.answers import name_request, problem_parts

    scope = scope if scope is not None else {"method": "", "path": "", "headers": []}
    named = name_request(scope)
    status, headers, body = problem_parts(problem, named, scope, as_page=as_page)
    cut_short(transport, status, [*headers, *cors.OPEN], body)


def cut_short(transport: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """Answer past the usual way, read on only to throw away, and cut the connection soon."""
    reason = http.RESPONSES.get(status, REASONS.get(status, b"Refused"))
    lines = [b"HTTP/1.1 %d %s" % (status, reason), *(b"%s: %s" % pair for pair in headers)]
    lines += [b"content-length: %d" % len(body), b"connection: close", b"", body]
    transport.write(b"\r\n".join(lines))
    if isinstance(transport, ProtocolWrapper):
        transport.loseConnection()  # TLS cannot be half closed
    else:
        transport.loseWriteConnection()
    asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abortConnection)


class Channel(http.HTTPChannel):
    """One connection, which knows whether its reader keeps up."""

    totalHeadersSize = HEADER_BYTES

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.factory: Any
        self.drained = asyncio.Event()
        self.drained.set()
        self._answered: Any = None  # the request whose answer is said but not taken yet
        self._head_end: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._line = b""  # the last of the head
        self._too_long: tuple[Any, Rest] | None = None  # what will be said of it, and what decides how

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.rest(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.wake(self)
        self._end_head()
        if self._end is not None:
            self._end.cancel()
        if self._answered is not None:
            self.requests.remove(self._answered)  # it has heard its end
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        is_amid_head = self.line_mode and (self._buffer or not self._HTTPChannel__first_line)  # type: ignore[attr-defined]
        if is_amid_head and self._head_end is None and not self._is_deaf:
            self._head_end = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up_head)

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]
        except ValueError:  # a length of more digits than Python reads
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        self.factory.wake(self)
        self._end_head()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        """Go on to the next request, but not before the reader has taken what this one was answered."""
        if not self.drained.is_set() and self.persistent:
            self._answered = request
            return
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self.persistent and self.line_mode:
            self.factory.rest(self)

    def pauseProducing(self) -> None:
        self.drained.clear()
        super().pauseProducing()  # type: ignore[no-untyped-call]
        if self._is_socket:
            self._networkProducer.pauseProducing()  # type: ignore[misc]

    def resumeProducing(self) -> None:
        self.drained.set()
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self._is_socket:
            self._networkProducer.resumeProducing()  # type: ignore[misc]
        if self._answered is not None:
            answered, self._answered = self._answered, None
            self.requestDone(answered)

    def stopProducing(self) -> None:
        self.drained.set()
        super().stopProducing()  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:
        """End the connection when everything is taken, which must not last for ever."""
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(SLOW_READER_SECONDS, self.abort)
        super().loseConnection()  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:
        inlet = self.requests[-1].inlet if self.requests else None
        if inlet is not None and inlet.is_full:  # it is we who do not let anything come
            self.setTimeout(self.timeOut)  # type: ignore[no-untyped-call]
        else:
            super().timeoutConnection()  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self._turn_away(line, is_line=True)

    def lineReceived(self, line: bytes) -> None:
        self._line = line
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._turn_away(self._unread(), is_line=False)
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """Cut the connection."""
        if self.transport is not None:
            self.transport.abortConnection()

    def go_on(self) -> None:
        """Tell a client that asked first that its body is wanted."""
        super()._send100Continue()  # type: ignore[no-untyped-call]

    def hold_back(self, *, is_full: bool) -> None:
        """Stop reading from the client, or go on."""
        if is_full:
            self._networkProducer.pauseProducing()  # type: ignore[misc]
        elif not self._waitingForTransport:
            self._networkProducer.resumeProducing()  # type: ignore[misc]

    @property
    def _is_socket(self) -> bool:
        """Whether a websocket has taken the connection over: what it says is not read while we are not heard."""
        transport = self.transport
        if isinstance(transport, ProtocolWrapper):  # TLS stands between
            return transport.wrappedProtocol is not self
        return transport is not None and transport.protocol is not self

    def _send100Continue(self) -> None:
        inlet = self.requests[-1].inlet
        if inlet is not None:
            inlet.asks_first = True

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderCount > self.maxHeaders:
            self._turn_away(self._unread(), is_line=False)
        else:
            self._refuse("malformed_request", "This is no HTTP that can be read.")

    def _unread(self) -> bytes:
        """What has come from the line on at which the head became too much."""
        return self._line + b"\r\n" + self._buffer

    def _turn_away(self, unread: bytes, *, is_line: bool) -> None:
        """There is more before the body than fits: of the address if that is not over, else of the headers."""
        from playground.api.problems import Problem
        from playground.pages import errors

        in_address = bool(self._HTTPChannel__first_line)  # type: ignore[attr-defined]
        limit = self.MAX_LENGTH if is_line else self.totalHeadersSize
        code, what = ("uri_too_long", "address") if in_address else ("headers_too_large", "headers")
        detail = f"The {what} may have at most {limit:,} bytes."
        problem = Problem(code, detail, members={"max_bytes": limit})
        first: bytes = unread if in_address else b"- " + self._path  # type: ignore[operator]
        if not errors.is_page(path_of(first)):
            self._say(problem)
            return
        self._too_long = problem, Rest()
        self._deafen(self._read_on)
        if self._head_end is None:
            self._head_end = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up_head)
        self._read_on(b"" if in_address else self._headers_so_far())
        self._read_on(unread)

    def _headers_so_far(self) -> bytes:
        """What the headers that were read say of who asks; the last of them, which might go on, as it came."""
        accepted = self.requests[-1].requestHeaders.getRawHeaders(b"Accept", [])
        lines = [*(b"Accept: " + value for value in accepted), self._HTTPChannel__header]  # type: ignore[attr-defined]
        return b"".join(line + b"\r\n" for line in lines if line)

    def _read_on(self, data: bytes) -> None:
        """More of a head that is too long, until it is known whether to answer with a page."""
        if self._too_long is not None:
            problem, rest = self._too_long
            as_page = rest.asks_for_page(data)
            if as_page is not None:
                self._say(problem, as_page=as_page)

    def _give_up_head(self) -> None:
        if self._too_long is not None:
            self._say(self._too_long[0])
            return
        detail = f"The headers did not come within {HEAD_SECONDS} s. Send the request again."
        self._refuse("request_timeout", detail)

    def _refuse(self, code: str, detail: str) -> None:
        from playground.api.problems import Problem

        self._say(Problem(code, detail))

    def _say(self, problem: Any, *, as_page: bool = False) -> None:
        """Answer with an error, and listen no more."""
        self.factory.wake(self)
        self._end_head()
        self._too_long = None
        self._deafen(lambda _: None)
        request = self.requests[-1] if self.requests else None
        if request is None or not request.is_refused:  # else it has its answer
            refuse(self.transport, problem, as_page=as_page)
        if request is not None:
            request.is_refused = True

    def _deafen(self, hear: Callable[[bytes], None]) -> None:
        """Take what still comes for no request."""
        self._is_deaf = True
        self._buffer = b""
        self.dataReceived = hear  # type: ignore[method-assign,assignment]
        self.lineReceived = lambda *_: None  # type: ignore[method-assign]

    def _end_head(self) -> None:
        if self._head_end is not None:
            self._head_end.cancel()
            self._head_end = None


class Inlet:
    """A body as it comes: what the application has not taken yet, and a client that waits while that is much."""

    def __init__(self, channel: Channel) -> None:
        self.asks_first = False  # with `Expect: 100-continue`
        self.is_whole = False
        self.is_full = False
        self._channel = channel
        self._waiting = (
            bytearray()
        )  # in one piece, so that many small chunks are not more than few large ones
        self._is_over = False  # and the application knows it
        self._is_gone = False
        self._news = asyncio.Event()

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Daphne's: the end of the connection; the body that it holds is empty."""
        if message["type"] != "http.request":
            self._is_gone = True
            self._news.set()

    def feed(self, data: bytes) -> None:
        self._waiting += data
        self._news.set()
        self._balance()

    def end(self) -> None:
        self.is_whole = True
        self._news.set()

    async def get(self) -> dict[str, Any]:
        """The application's `receive`."""
        if self.asks_first:
            self.asks_first = False
            self._channel.go_on()
        while True:
            if self._waiting or (self.is_whole and not self._is_over):
                body = bytes(self._waiting)
                self._waiting.clear()
                self._balance()
                self._is_over = self.is_whole
                return {"type": "http.request", "body": body, "more_body": not self._is_over}
            if self._is_gone:
                return {"type": "http.disconnect"}
            self._news.clear()
            await self._news.wait()

    def _balance(self) -> None:
        wanted = len(self._waiting) > (INLET_BYTES // 2 if self.is_full else INLET_BYTES)
        if wanted != self.is_full and self._channel.transport is not None:
            self.is_full = wanted
            self._channel.hold_back(is_full=wanted)


class Request(WebRequest):  # type: ignore[misc]
    """One request, turned away as soon as its headers or its length are reason enough."""

    is_refused = False
    is_for_people = False
    inlet: Inlet | None = None  # where there is a body: the application starts before it has come
    size = 0

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs, parsePOSTFormSubmission=False)

    def gotLength(self, length: int | None) -> None:
        from playground.edge import answers, gate, speakers

        address, _, query = self.channel._path.partition(b"?")
        method = self.channel._command.decode("latin-1")
        headers = [(n.lower(), v) for n, values in self.requestHeaders.getAllRawHeaders() for v in values]
        self.asked: dict[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": "https" if self.isSecure() else "http",
            "path": unquote(address.decode("latin-1")),
            "query_string": query,
            "headers": headers,
        }
        speakers.placed(self.asked)
        path = self.asked["path"]
        self.limit = gate.limit(method, path)
        self.is_for_people = answers.is_for_people(path, headers)
        problem = gate.refusal(path, headers, method)
        self.kept: list[Any] = []
        if problem is None and length == 0:
            super().gotLength(length)
            return
        if problem is None and self.requestHeaders.hasHeader(b"Upgrade"):
            problem = gate.upgrade_with_body()
        self.content = io.BytesIO()
        if problem is not None:
            self._refuse(problem)
            return
        self.inlet = Inlet(self.channel)
        super().requestReceived(self.channel._command, self.channel._path, self.channel._version)

    def handleContentChunk(self, data: bytes) -> None:
        from playground.edge import gate

        self.size += len(data)
        if self.is_refused or self.inlet is None:
            return
        if self.size > self.limit:
            self._refuse(gate.too_large(self.limit))
        else:
            self.inlet.feed(data)

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
        refuse(self.channel.transport, problem, self.asked, as_page=self.is_for_people)

    def _cut_off(self) -> None:
        """Take nothing more of this request in; what still comes is read and thrown away."""
        self.is_refused = True
        if self.inlet is not None:
            self.channel.hold_back(is_full=False)


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes connections of ours, and keeps count of those on which nothing is asked.

    When there are too many of them, the one that has rested longest makes room.
    """

    protocol = Channel
    most_resting = 10_000

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.timeOut = IDLE_SECONDS
        self._resting: dict[Channel, None] = {}

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]  # what TLS clients are offered: connections of ours speak nothing else

    def buildProtocol(self, addr: Any) -> Any:
        channel = http.HTTPFactory.buildProtocol(self, addr)
        channel.requestFactory = Request  # type: ignore[union-attr]
        return channel

    def rest(self, channel: Channel) -> None:
        """Nothing is asked on this connection now."""
        self._resting.pop(channel, None)
        self._resting[channel] = None
        if len(self._resting) > self.most_resting:
            oldest = next(iter(self._resting))
            self.wake(oldest)
            oldest.abort()

    def wake(self, channel: Channel) -> None:
        """Something is, or the connection ends."""
        self._resting.pop(channel, None)
