"""Requests that bring a file: Django says what is allowed, here it is received and examined, Django keeps it.

The body goes to the disk as it comes, a slice at a time, and nothing of it is read before the first half has said that
it may come. Fetching and examining have a few threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import unquote

from django.db import close_old_connections

from playground import examiner
from playground.api import errands
from playground.api.errands import Errand
from playground.api.problems import Problem, problem_of
from playground.assets import Arrival, growing, uploads
from playground.edge.crowd import Crowd, Full
from playground.edge.gate import WHOLE
from playground.edge.multipart import OneFile, boundary_of
from playground.edge.protocol import Application, Headers, Message, Receive, Scope, Send, header
from playground.edge.threads import in_thread

SLICE_BYTES = 2**20
AT_ONCE = 6  # of a workspace in this process
MAX_WAITING = 64  # for one of these places, where it is waited for
TURN_SECONDS = 60.0
JSON_BYTES = 64 * 1024
FETCH_SECONDS = 30.0

T = TypeVar("T")

_disk = ThreadPoolExecutor(4, thread_name_prefix="upload-disk")
_looks = ThreadPoolExecutor(4, thread_name_prefix="upload-look")
_fetches = ThreadPoolExecutor(4, thread_name_prefix="upload-fetch")
_crowd = Crowd(AT_ONCE)


class _Gone(Exception):
    """The client has left."""


async def serve(inner: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request that brings a file. Raises Problem."""
    errand = Errand(
        length=int(header(scope, b"content-length") or 0),
        content_type=header(scope, b"content-type").partition(";")[0].strip().lower(),
        filename=unquote(header(scope, b"x-filename")[:1000]),
    )
    # A part is a file whatever it calls itself.
    is_json = errand.content_type == "application/json" and scope["method"] == "POST"
    body = await _small(receive) if is_json or scope["path"].endswith(WHOLE) else b""
    first = await _half(inner, scope, errand, body)
    if errand.work is None:
        await first.release(send)
        return
    lose = not isinstance(errand.work, errands.Join)  # its parts may still become something
    try:
        await _do(errand, scope, receive)
        answer = await _half(inner, scope, errand, b"")
        lose = answer.status >= 300 and (lose or answer.status == 422)
    except _Gone:
        return
    except Problem:
        raise
    except Exception as error:
        lose = lose or isinstance(error, examiner.Refusal)
        raise problem_of(error) from error
    finally:
        await _tidy(errand, lose=lose)
    await answer.release(send)


async def _do(errand: Errand, scope: Scope, receive: Receive) -> None:
    """What lies between the halves."""
    work = errand.work
    try:
        if isinstance(work, errands.Receive):
            errand.upload = work.upload
            async with _placed(work):
                errand.arrival = await _in(_disk, Arrival)
                await _received(errand, scope, receive)
                if work.part is None:
                    errand.found = await _in(_looks, examiner.examine, errand.arrival.file)
        elif isinstance(work, errands.Join):
            errand.upload = work.upload
            with _crowd.place(work.upload.workspace_id):
                try:
                    errand.arrival = await _in(_looks, uploads.join, work.upload, work.parts)
                except uploads.Incomplete:
                    if not await in_thread(uploads.is_complete, work.upload):
                        raise
                    return  # the same request, a moment earlier, has made the asset: Django shows it
                errand.found = await _in(_looks, examiner.examine, errand.arrival.file)
        elif isinstance(work, errands.Fetch):
            with _crowd.place(work.caller.workspace.pk):
                await _in(_fetches, _fetched, errand, work)
    except Full:
        detail = f"{AT_ONCE} uploads of this workspace are under way. Try again when one is done."
        raise Problem("too_many_uploads", detail, headers={"Retry-After": "5"}) from None


@asynccontextmanager
async def _placed(work: errands.Receive) -> AsyncIterator[None]:
    """One of the places of a workspace. Raises Full."""
    owner = work.upload.workspace_id
    if work.waits:
        async with _crowd.turn(owner, seconds=TURN_SECONDS, most=MAX_WAITING):
            yield
    else:
        with _crowd.place(owner):
            yield


async def _received(errand: Errand, scope: Scope, receive: Receive) -> None:
    """Write the body to the arrival. Raises Problem, _Gone, and OSError when the disk is full."""
    arrival, upload = errand.arrival, errand.upload
    assert arrival is not None
    assert upload is not None
    name = errand.work.name if isinstance(errand.work, errands.Receive) else ""
    form = (
        OneFile(boundary_of(header(scope, b"content-type")), name=name)
        if errand.content_type == "multipart/form-data" and scope["method"] == "POST"
        else None
    )
    pending, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk, more = message.get("body", b""), message.get("more_body", False)
        pending += form.feed(chunk) if form is not None else chunk
        if len(pending) >= SLICE_BYTES or (pending and not more):
            await _in(_disk, arrival.write, bytes(pending))
            pending.clear()
    if form is not None:
        form.end()
        errand.fields = form.fields
        # What was announced was the whole body, of which the file is the most.
        upload.size = arrival.size
        upload.media_type = examiner.plain(form.content_type)[:100]
        upload.filename = upload.filename or uploads.clean_filename(form.filename)


def _fetched(errand: Errand, work: errands.Fetch) -> None:
    """Fetch, take a place in the quota, examine."""
    arrival = uploads.fetch(work.url, seconds=FETCH_SECONDS)
    errand.arrival = arrival
    name = work.filename or work.url.partition("?")[0].rpartition("/")[2]
    errand.upload = uploads.announce(
        work.caller.workspace, by=work.caller.user, size=arrival.size, filename=unquote(name)
    )
    errand.found = examiner.examine(arrival.file)


async def _tidy(errand: Errand, *, lose: bool) -> None:
    """Let go of the file that came; `lose` the place of an upload that cannot become anything any more."""
    if errand.arrival is not None:
        await _in(_disk, errand.arrival.close)
    if errand.upload is None or not lose:
        return
    work = errand.work
    if isinstance(work, errands.Receive) and errand.upload.is_growing:
        await in_thread(growing.release, errand.upload, work.taken)
    elif not isinstance(work, errands.Receive) or work.part is None:
        await in_thread(uploads.abandon, errand.upload)


async def _small(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > JSON_BYTES:
            detail = f"This body may have at most {JSON_BYTES:,} bytes."
            raise Problem("body_too_large", detail, members={"max_bytes": JSON_BYTES})
    return body


async def _in(pool: ThreadPoolExecutor, function: Callable[..., T], *args: object) -> T:
    def call() -> T:
        try:
            return function(*args)
        finally:
            close_old_connections()

    work = asyncio.get_running_loop().run_in_executor(pool, call)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])  # what it makes has to be cleared away
        raise


class _Half:
    """An answer of Django, kept back."""

    def __init__(self) -> None:
        self.status = 0
        self._messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self._messages.append(message)

    async def release(self, send: Send) -> None:
        for message in self._messages:
            await send(message)


async def _half(inner: Application, scope: Scope, errand: Errand, body: bytes) -> _Half:
    """Ask Django, with `body` as the whole body."""
    dropped = {b"content-length", b"content-type", b"transfer-encoding", b"expect"}
    headers: Headers = [pair for pair in scope["headers"] if pair[0] not in dropped]
    headers.append((b"content-length", b"%d" % len(body)))
    headers.append((b"content-type", b"application/json"))
    kept = _Half()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    await inner({**scope, "headers": headers, errands.SCOPE_KEY: errand}, receive, kept.send)
    return kept
