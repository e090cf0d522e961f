"""Django behind the edge: each request in one hop to one of a few threads.

Django's own ASGI handler makes a thread per request and hops between it and the loop at every middleware that is not
asynchronous. Ours runs the whole chain where it is at home, in a thread, so what is asked at once waits for a thread
instead of making one. An answer is complete before the first byte is sent, so a slow reader never holds a thread or a
database connection. A `Drip` is made piece by piece as it is read, a thread for each piece.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from billing.sandbox.api import Lost
from playground.edge.protocol import Headers, Message, Receive, Scope, Send, while_here
from playground.pages.streams import Drip

THREADS = 6  # more would only wait for the interpreter: with 12, a sixth fewer submits a second
CHUNK_BYTES = 64 * 1024
IN_MEMORY_BYTES = 1024 * 1024  # a body or a streamed answer beyond this waits on disk

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="django")


class Inner(ASGIHandler):
    """Django's request cycle, synchronous, in a bounded pool of threads: the site's, or one of its own."""

    def __init__(self, pool: ThreadPoolExecutor = _pool) -> None:
        self._pool = pool
        self.load_middleware(is_async=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        try:
            body = await self._received(receive)
        except RequestAborted:
            return
        scope = _measured(scope, body)
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        status, headers, content = await loop.run_in_executor(
            self._pool, context.run, self._answer, scope, body
        )
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        if content is None:
            await send(start)
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            await send({"type": "http.disconnect"})
        elif isinstance(content, bytes):
            await send(start)
            await send({"type": "http.response.body", "body": content})
        elif isinstance(content, Drip):
            await send(start)
            await while_here(receive, _drip(content, send))
        else:
            with content:
                await send(start)
                while chunk := content.read(CHUNK_BYTES):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})

    async def _received(self, receive: Receive) -> SpooledTemporaryFile[bytes]:
        """The body as a file. Raises RequestAborted, and whatever `receive` raises."""
        body: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestAborted
                body.write(message.get("body", b""))
                more = message.get("more_body", False)
        except BaseException:
            body.close()
            raise
        return body

    def _answer(
        self, scope: Scope, body: SpooledTemporaryFile[bytes]
    ) -> tuple[int, Headers, bytes | SpooledTemporaryFile[bytes] | Drip | None]:
        """The whole request cycle; whatever the request opened is closed when it returns."""
        with body:
            set_script_prefix(get_script_prefix(scope))
            signals.request_started.send(sender=self.__class__, scope=scope)
            request, refused = self.create_request(scope, body)
            response = self.get_response(request) if request is not None else refused
            assert response is not None
            try:
                return response.status_code, _headers(response), _content(response)
            finally:
                if isinstance(response, Drip):  # it is closed when it is at its end
                    close_old_connections()
                else:
                    response.close()  # sends request_finished too, which hands the connection back


def _measured(scope: Scope, body: SpooledTemporaryFile[bytes]) -> Scope:
    """The scope with the length of what came in chunks: Django believes Content-Length only. Rewinds the body."""
    size = body.tell()
    body.seek(0)
    if all(name != b"transfer-encoding" for name, _ in scope["headers"]):
        return scope
    headers = [pair for pair in scope["headers"] if pair[0] != b"transfer-encoding"]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % size)]}


def _headers(response: HttpResponseBase) -> Headers:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = response.cookies.values()
    return headers + [(b"Set-Cookie", one.output(header="").strip().encode("ascii")) for one in cookies]


async def _drip(response: Drip, send: Send) -> None:
    """Send an answer while it is made. One that breaks off ends without its end, so that nobody takes it for whole."""
    loop = asyncio.get_running_loop()
    pieces = iter(response)
    try:
        while (piece := await loop.run_in_executor(_pool, _next, pieces)) is not None:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
    finally:
        await loop.run_in_executor(_pool, response.close)


def _next(pieces: Iterator[bytes]) -> bytes | None:
    try:
        return next(pieces, None)
    finally:
        close_old_connections()


def _content(response: HttpResponseBase) -> bytes | SpooledTemporaryFile[bytes] | Drip | None:
    """What to send; None is to break off after the headers."""
    if isinstance(response, Drip):
        return response
    if isinstance(response, Lost):
        return None
    if isinstance(response, StreamingHttpResponse):
        spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        for chunk in response:
            spool.write(chunk)
        spool.seek(0)
        return spool
    assert isinstance(response, HttpResponse)
    return response.content
