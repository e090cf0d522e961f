"""What is let in: no body beyond the limit, none for an address that does not exist, none of unknown length."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from django.conf import settings
from django.urls import Resolver404, resolve

from playground.api.problems import Problem
from playground.edge.protocol import Message, Receive, Scope

CHUNK_BYTES = 64 * 1024
IN_MEMORY_BYTES = 1024 * 1024
FILES = re.compile(r"/api/v1/assets(?:/uploads/[^/]+/parts/[0-9]+)?")
MULTIPART_ROOM = 80 * 1024  # for what stands around a file


def limit(method: str = "", path: str = "") -> int:
    """The most bytes that a body may have; more where it is a file."""
    if is_file(method, path):
        return int(settings.MAX_UPLOAD_BYTES) + MULTIPART_ROOM
    return int(settings.MAX_BODY_BYTES)


def is_file(method: str, path: str) -> bool:
    """Whether the body is a file, which is received as it comes and not kept back until it is whole."""
    return method in {"POST", "PUT"} and FILES.fullmatch(path) is not None


def refusal(path: str, headers: Iterable[tuple[bytes, bytes]], method: str = "") -> Problem | None:
    """Why a request with a body is turned away before that is read; None if it may come in. Names in lower case."""
    if is_file(method, path) and any(name == b"transfer-encoding" for name, _ in headers):
        return Problem("length_required", "Send the file with a Content-Length, not in chunks.")
    lengths = [value for name, value in headers if name == b"content-length"]
    is_chunked = any(name == b"transfer-encoding" for name, _ in headers)
    if lengths and not (len(lengths) == 1 and lengths[0].isdigit()):
        return Problem("malformed_request", "Content-Length must be one number.")
    length = int(lengths[0]) if lengths and len(lengths[0]) < 20 else 2**63 if lengths else 0
    if not length and not is_chunked:
        return None
    if length > limit(method, path):
        return too_large(limit(method, path))
    try:
        resolve(path)
    except Resolver404:
        return Problem("not_found", f"There is nothing at {path[:200]}.")
    return None


def too_large(most: int) -> Problem:
    """The error of a body beyond the limit."""
    detail = f"The body may have at most {most:,} bytes."
    return Problem("body_too_large", detail, members={"max_bytes": most})


@asynccontextmanager
async def admitted(scope: Scope, receive: Receive) -> AsyncIterator[Receive]:
    """A `receive` that never yields more than the limit. Raises Problem, at once or from the `receive` itself.

    A chunked body is read whole, as Django believes Content-Length only and would see nothing of it.
    """
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as spool:
            yield await _measured(scope, receive, spool)
        return
    seen, most = 0, limit(scope["method"], scope["path"])

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise too_large(most)
        return message

    yield counting


async def _measured(scope: Scope, receive: Receive, spool: tempfile.SpooledTemporaryFile[bytes]) -> Receive:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return _always(message)
        size += len(message.get("body", b""))
        if size > limit():
            raise too_large(limit())
        spool.write(message.get("body", b""))
        more = message.get("more_body", False)
    spool.seek(0)
    dropped = {b"transfer-encoding", b"content-length"}
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in dropped]
    scope["headers"].append((b"content-length", str(size).encode()))

    async def replay() -> Message:
        if spool.closed:
            return await receive()
        chunk = spool.read(CHUNK_BYTES)
        is_last = spool.tell() >= size
        if is_last:
            spool.close()
        return {"type": "http.request", "body": chunk, "more_body": not is_last}

    return replay


def _always(message: Message) -> Receive:
    async def again() -> Message:
        return message

    return again
