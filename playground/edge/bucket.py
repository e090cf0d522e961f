"""Media in a bucket: callers are led to it, but for those who would not get there, who are sent the file itself.

Some clients follow no redirect: version 1 of Replicate's for Python, which sends its key wherever it reads, and what
version 2 of it reads with. Others follow with their key, and a bucket refuses a signed address that comes with one.

What is sent lies here, most of it on the disk, until the last reader of it has it: so much at once, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from playground.api.problems import Problem
from playground.edge import gate
from playground.edge.answers import ID_HEADER, answer
from playground.edge.protocol import Headers, Scope, Send, address_of, header
from playground.edge.ranges import NotSatisfiable, Span, span_of
from playground.edge.room import Full, Place, Room
from playground.edge.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
STAYS = "python-httpx/"  # follows a redirect only where it was told to
THREADS = 4  # that wait for the bucket: apart from those of the edge, which have no time for that

AT_ONCE = 8  # files of the largest size that there is room for; an address has that of two
RETRY_SECONDS = 5

_room = Room()
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bucket")


async def serve(scope: Scope, send: Send, name: str, headers: Headers) -> None:
    """Answer for the stored file `name`. `headers` are what is said of it. Raises FileNotFoundError, and Problem where
    too much is on its way."""
    if header(scope, b"authorization") or header(scope, b"user-agent").startswith(STAYS):
        await _send(scope, send, name, headers)
    else:
        await _redirect(scope, send, name, headers)


async def _redirect(scope: Scope, send: Send, name: str, headers: Headers) -> None:
    """To the bucket's own signed address, with the same type and disposition."""
    said = dict(headers)
    parameters = {
        "ResponseContentType": said[b"content-type"].decode(),
        "ResponseContentDisposition": said[b"content-disposition"].decode(),
    }
    # S3Storage signs here; it asks nobody, but the first time it reads its configuration.
    url = await in_thread(default_storage.url, name, parameters)  # type: ignore[call-arg]
    kept = [
        pair for pair in headers if pair[0] in {ID_HEADER, b"referrer-policy", b"access-control-allow-origin"}
    ]
    location = [(b"location", url.encode()), (b"cache-control", b"private, max-age=60")]
    await answer(send, 302, [*kept, *location], is_head=scope["method"] == "HEAD")


async def _send(scope: Scope, send: Send, name: str, headers: Headers) -> None:
    """The file, or one range of it, a chunk at a time."""
    is_head = scope["method"] == "HEAD"
    most = AT_ONCE * int(settings.MAX_UPLOAD_BYTES)
    place = _room.place({"all": most, address_of(scope): most // gate.SHARES})
    file: File[Any] = await _waiting(default_storage.open, name)
    try:
        size = file.size
        condition = header(scope, b"if-range").strip()
        is_whole = is_head or condition not in {"", dict(headers)[b"etag"].decode()}
        try:
            part = None if is_whole else span_of(header(scope, b"range"), size)
        except NotSatisfiable:
            await answer(send, 416, [*headers, (b"content-range", b"bytes */%d" % size)])
            return
        span = part or Span(0, size)
        headers = [*headers, (b"content-length", b"%d" % span.length)]
        if part is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.end - 1, size)))
        start = {"type": "http.response.start", "status": 206 if part else 200, "headers": headers}
        left = 0 if is_head else span.length
        if left:
            _hold(place, size)  # all of it comes from the bucket, whatever the range
        chunk = await _waiting(_from, file, span.start, min(CHUNK_BYTES, left)) if left else b""
        await send(start)
        while chunk and len(chunk) < left:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            left -= len(chunk)
            chunk = await _waiting(file.read, min(CHUNK_BYTES, left))
        await send({"type": "http.response.body", "body": chunk})
    finally:
        try:
            await _waiting(file.close)
        finally:
            place.leave()


def _hold(place: Place, size: int) -> None:
    try:
        place.hold(size)
    except Full:
        detail = "Too many large files are on their way. Read this one again in a moment."
        raise Problem("unavailable", detail, headers={"Retry-After": str(RETRY_SECONDS)}) from None


def _from(file: File[Any], start: int, length: int) -> bytes:
    file.seek(start)
    read: bytes = file.read(length)
    return read


async def _waiting(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a call that asks the bucket."""

    def call() -> T:
        return function(*args, **kwargs)

    return await asyncio.get_running_loop().run_in_executor(_pool, call)
