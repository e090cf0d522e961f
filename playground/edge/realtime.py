"""Realtime connections as fal's clients open them: each message asks for one run, and is answered with what it made.

A message becomes a prediction like any other: runs of many connections share their batches, and each is paid, limited
and listed. Answers come in the order of the messages. What is not answered yet when the client leaves is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs
from uuid import UUID

from django.db import close_old_connections

from marketplace import keys
from marketplace.models import ApiKey
from marketplace.schema import FieldError
from playground import predictions
from playground.api import rates
from playground.api.problems import Problem, invalid, problem_of
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, hub
from playground.edge.protocol import Receive, Scope, Send, header
from playground.edge.threads import in_thread
from playground.facades import asking
from playground.facades.dialect import Document
from playground.facades.fal import errors, inlined, letters, limits, realtime, show, tokens
from playground.facades.fal.hosts import addressed
from playground.facades.fal.realtime import Buffer, Malformed, Message
from playground.facades.fal.words import SYNC_MODE
from playground.models import Prediction
from playground.predictions import Caller

OK, REFUSED, RESTARTING, TOO_MANY = 1000, 1008, 1012, 1013
WRITE = "predictions:write"
THREADS = 4  # submits of a few milliseconds each

T = TypeVar("T")

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="realtime")
_crowd = Crowd(limits.CONNECTIONS)
log = logging.getLogger(__name__)


class _Over(Exception):
    """The connection is closed by us: with a last word, and a code."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code, self.text = code, text


def is_realtime(scope: Scope) -> bool:
    """Whether this address is that of a realtime connection."""
    return realtime.app_at(addressed(header(scope, b"host"), scope["path"])) is not None


async def connect(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection until either side ends it."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        app = realtime.app_at(addressed(header(scope, b"host"), scope["path"]))
        assert app is not None  # else it would not have come here
        query = parse_qs(scope["query_string"].decode("latin-1"))
        session = await _let_in(scope, query, app)
        with _crowd.place(session.key.workspace_id):
            await _Connection(session, receive, send).run()
    except _Over as over:
        if over.text:
            await send({"type": "websocket.send", "text": over.text})
        await send({"type": "websocket.close", "code": over.code})
    except Full:
        reason = f"{limits.CONNECTIONS} connections of this workspace are open. Close one."
        await send({"type": "websocket.send", "text": realtime.error("TOO_MANY_CONNECTIONS", reason)})
        await send({"type": "websocket.close", "code": TOO_MANY})


class _Session:
    """Who is connected to which app, and how to ask again whether they still may."""

    def __init__(self, app: str, key: ApiKey, newest: int | None) -> None:
        self.app, self.key, self.newest = app, key, newest

    def caller(self) -> Caller:
        """Raises keys.InvalidKey once the key is over, or may not do this any more."""
        key = keys.standing(self.key.public_id, rotations=self.key.rotations)
        if WRITE not in key.scopes:
            raise keys.InvalidKey(f"This API key has no scope {WRITE} any more.")
        return Caller(workspace=key.workspace, key=key)


async def _let_in(scope: Scope, query: dict[str, list[str]], app: str) -> _Session:
    """Raises _Over."""
    origin, token = header(scope, b"origin"), query.get("fal_jwt_token", [""])[0]
    try:
        if token:
            opened = await in_thread(tokens.opened, tokens.Purpose.REALTIME, token)
            key = opened.key
            if not opened.opens(app):
                reason = f"This token is for {', '.join(opened.apps)[:200]}, not for {app}."
                raise _Over(REFUSED, realtime.error("FORBIDDEN", reason))
        else:
            credential = keys.from_headers(header(scope, b"authorization"), header(scope, b"x-api-key"))
            if credential is None:
                raise keys.InvalidKey("Send a token or an API key.")
            key = await in_thread(keys.resolve, credential, origin=origin)
    except keys.InvalidKey:
        raise _Over(REFUSED, realtime.UNAUTHORIZED) from None
    if key.is_publishable or WRITE not in key.scopes:
        reason = f"A realtime connection needs a secret key with the scope {WRITE}."
        raise _Over(REFUSED, realtime.error("FORBIDDEN", reason))
    try:
        newest = realtime.buffering(query.get("max_buffering", [None])[0])
    except Malformed as error:
        raise _Over(REFUSED, realtime.error("BAD_REQUEST", str(error))) from None
    return _Session(app, key, newest)


class _Connection:
    """One connection: a reader, a line of runs in order, and whoever tells their results."""

    def __init__(self, session: _Session, receive: Receive, send: Send) -> None:
        self._session, self._receive, self._send = session, receive, send
        self._buffer = Buffer(session.newest)
        self._changed = asyncio.Event()
        at_once = limits.AT_ONCE if session.newest is None else 1
        self._line: asyncio.Queue[tuple[Message, asyncio.Task[list[bytes | str]]]] = asyncio.Queue(at_once)
        self._places = asyncio.Semaphore(at_once)
        self._turn = asyncio.Lock()  # runs are taken in in the order of their messages
        self._open: set[UUID] = set()
        self._under_way = 0
        self._heard_at = time.monotonic()

    async def run(self) -> None:
        """Raises _Over where we end it; returns when the client has."""
        tasks = [
            asyncio.ensure_future(work()) for work in (self._read, self._start, self._tell, self._watch_idle)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while not self._line.empty():
                self._line.get_nowait()[1].cancel()
            if self._open:
                await _in_pool(_cancel_all, list(self._open))

    async def _read(self) -> None:
        while True:
            while self._buffer.is_full:
                self._changed.clear()
                await self._changed.wait()
            frame = await self._receive()
            if frame["type"] == "websocket.disconnect":
                return
            self._heard_at = time.monotonic()
            data = frame.get("bytes")
            try:
                message = realtime.read(data if data is not None else frame.get("text") or "")
            except Malformed as error:
                await self._say(realtime.error("BAD_REQUEST", str(error)))
                continue
            replaced = self._buffer.put(message)
            self._changed.set()
            for one in replaced:
                await self._say(realtime.left_out(one))

    async def _start(self) -> None:
        """Take what waits, in order, as there is a place for it."""
        while True:
            await self._places.acquire()
            while not self._buffer:
                self._changed.clear()
                await self._changed.wait()
            message = self._buffer.take()
            self._changed.set()
            self._under_way += 1
            await self._line.put((message, asyncio.ensure_future(self._answer(message))))

    async def _tell(self) -> None:
        while True:
            _, task = await self._line.get()
            try:
                for frame in await task:
                    await self._say(frame)
            finally:
                self._places.release()
                self._under_way -= 1
                self._heard_at = time.monotonic()

    async def _watch_idle(self) -> None:
        while True:
            is_busy = bool(self._under_way or self._buffer)
            left = self._heard_at + limits.IDLE_SECONDS - time.monotonic()
            if not is_busy and left <= 0:
                reason = f"Nothing came for {limits.IDLE_SECONDS:g} s."
                raise _Over(OK, realtime.error("TIMEOUT", reason))
            await asyncio.sleep(limits.IDLE_SECONDS if is_busy else max(0.01, left))

    async def _answer(self, message: Message) -> list[bytes | str]:
        """The frames that answer a message. Raises _Over."""
        began = time.monotonic()
        try:
            async with self._turn:
                row = await _in_pool(_submit, self._session, message)
        except keys.InvalidKey:
            raise _Over(REFUSED, realtime.UNAUTHORIZED) from None
        except Exception as error:
            return [_told(error, message, self._session.app)]
        self._open.add(row.public_id)
        try:
            async with hub().watch(row.public_id, only_end=True) as watcher:
                async for _ in watcher:
                    pass
            document = await hub().documents.get(row.public_id)
        except Gone:
            raise _Over(RESTARTING) from None
        except predictions.NotFound:
            document = None
        self._open.discard(row.public_id)
        if document is None:
            return [realtime.error("NOT_FOUND", "The run was deleted before its end.", message)]
        run = cast("Document", document.shown)
        status, _, body = show.result(run, document.asked)
        if status != 200:
            kind = str(body.get("error_type", "internal_error")).upper()
            return [realtime.error(kind, str(body["message"]), message, status=status)]
        took = show.metrics(run)["inference_time"] or time.monotonic() - began
        names = [str(one["field"]) for one in document.asked.get("ignored", ())]
        notes = [realtime.ignored(names, message)] if names else []
        if document.asked.get(SYNC_MODE):
            await in_thread(inlined.fill, run, body)
        return [*notes, realtime.result(body, message), realtime.timings(took)]

    async def _say(self, frame: bytes | str) -> None:
        named = "bytes" if isinstance(frame, bytes) else "text"
        await self._send({"type": "websocket.send", named: frame})


def _submit(session: _Session, message: Message) -> Prediction:
    """One run for one message. Raises keys.InvalidKey, Problem, and what `predictions.submit` raises."""
    caller = session.caller()
    rate = rates.take(f"key:{session.key.pk}")
    if rate is not None and rate.is_over:
        raise rates.throttled(rate)
    given = dict(message.input)
    sync_mode = given.pop(SYNC_MODE, False)
    if not isinstance(sync_mode, bool):
        raise invalid([FieldError(f"input.{SYNC_MODE}", "type", "must be true or false", [True, False])])
    call = asking.Call(
        dialect=letters.DIALECT, model=session.app, input=given, keep={SYNC_MODE: True} if sync_mode else {}
    )
    return asking.submit(caller, call)


def _cancel_all(public_ids: list[UUID]) -> None:
    """Nobody is there any more to be told of these."""
    for row in Prediction.objects.kept().open().filter(public_id__in=public_ids):
        predictions.cancel(row)


def _told(error: Exception, message: Message, app: str) -> str:
    problem: Problem = problem_of(error)
    if problem.code == "internal_error":
        log.error("a message to %s failed", app, exc_info=error)
    body = errors.body(problem, request_id="")
    kind = str(body["error_type"]).upper()
    return realtime.error(
        kind, problem.detail, message, detail=body["detail"], status=errors.status_of(problem)
    )


async def _in_pool(function: Callable[..., T], *args: Any) -> T:
    def call() -> T:
        try:
            return function(*args)
        finally:
            close_old_connections()

    work = asyncio.get_running_loop().run_in_executor(_pool, call)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # A run that comes to be while its client leaves must not go on for nobody.
        with suppress(Exception):
            made = await work
            if isinstance(made, Prediction):
                await asyncio.get_running_loop().run_in_executor(_pool, _cancel_all, [made.public_id])
        raise
