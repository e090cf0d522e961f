"""Realtime connections as fal's clients open them: each message asks for one run, and is answered with what it made.

A message becomes a prediction like any other: runs of many connections share their batches, and each is paid, limited
and listed. Answers come in the order of the messages. What is not answered yet when the client leaves is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from urllib.parse import parse_qs
from uuid import UUID

from marketplace import keys
from marketplace.models import ApiKey
from marketplace.schema import FieldError
from playground.api import rates
from playground.api.problems import Problem, invalid, problem_of
from playground.facades import asking
from playground.facades.dialect import Crowded, Ending, Floor, Scope, Talk, header_of
from playground.facades.fal import errors, inlined, letters, limits, realtime, show, tokens
from playground.facades.fal.bearer import TOKEN
from playground.facades.fal.hosts import addressed
from playground.facades.fal.realtime import Buffer, Malformed, Message
from playground.facades.fal.words import SYNC_MODE
from playground.models import Prediction
from playground.predictions import Caller

OK, REFUSED, RESTARTING, TOO_MANY = 1000, 1008, 1012, 1013
WRITE = "predictions:write"
log = logging.getLogger(__name__)


class _Over(Exception):
    """The connection is closed by us: with a last word, and a code."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code, self.text = code, text


def talk_at(scope: Scope) -> Talk | None:
    """The realtime connection at an address, if it is that of one."""
    return Talk(limits.MESSAGE_BYTES, limits.WAITING_BYTES, hold) if _app_at(scope) is not None else None


async def hold(scope: Scope, floor: Floor) -> None:
    """Serve one connection until either side ends it."""
    app = _app_at(scope)
    assert app is not None  # else it would not have come here
    query = parse_qs(scope["query_string"].decode("latin-1"))
    try:
        session = await _let_in(scope, floor, query, app)
        with floor.seat(session.key.workspace_id):
            await _Connection(session, floor).run()
    except Crowded as crowded:
        await floor.say(realtime.error("TOO_MANY_CONNECTIONS", str(crowded)))
        await floor.close(TOO_MANY)
    except _Over as over:
        if over.text:
            await floor.say(over.text)
        await floor.close(over.code)


def _app_at(scope: Scope) -> str | None:
    return realtime.app_at(addressed(header_of(scope, "host"), scope["path"]))


@dataclass(frozen=True, slots=True)
class _Session:
    """Who is connected to which app, and how to ask again whether they still may."""

    app: str
    key: ApiKey
    newest: int | None

    def caller(self) -> Caller:
        """Raises keys.InvalidKey once the key is over, or may not do this any more."""
        key = keys.standing(self.key.public_id, rotations=self.key.rotations)
        if WRITE not in key.scopes:
            raise keys.InvalidKey(f"This API key has no scope {WRITE} any more.")
        return Caller(workspace=key.workspace, key=key)


async def _let_in(scope: Scope, floor: Floor, query: dict[str, list[str]], app: str) -> _Session:
    """Raises _Over."""
    token = query.get(TOKEN, [""])[0]
    try:
        if token:
            opened = await floor.do(tokens.opened, tokens.Purpose.REALTIME, token)
            key = opened.key
            if not opened.opens(app):
                reason = f"This token is for {', '.join(opened.apps)[:200]}, not for {app}."
                raise _Over(REFUSED, realtime.error("FORBIDDEN", reason))
        else:
            credential = keys.from_headers(header_of(scope, "authorization"), header_of(scope, "x-api-key"))
            if credential is None:
                raise keys.InvalidKey("Send a token or an API key.")
            key = await floor.do(_resolved, credential, header_of(scope, "origin"))
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


def _resolved(credential: str, origin: str) -> ApiKey:
    return keys.resolve(credential, origin=origin)


class _Connection:
    """One connection: a reader, a line of runs in order, and whoever tells their results."""

    def __init__(self, session: _Session, floor: Floor) -> None:
        self._session, self._floor = session, floor
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
                await self._floor.drop(list(self._open))

    async def _read(self) -> None:
        while True:
            while self._buffer.is_full:
                self._changed.clear()
                await self._changed.wait()
            said = await self._floor.hear()
            if said is None:
                return
            self._heard_at = time.monotonic()
            try:
                message = realtime.read(said)
            except Malformed as error:
                await self._floor.say(realtime.error("BAD_REQUEST", str(error)))
                continue
            replaced = self._buffer.put(message)
            self._changed.set()
            for one in replaced:
                await self._floor.say(realtime.left_out(one))

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
                    await self._floor.say(frame)
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
                row = await self._floor.make(_submit, self._session, message)
        except keys.InvalidKey:
            raise _Over(REFUSED, realtime.UNAUTHORIZED) from None
        except Exception as error:
            return [_told(error, message, self._session.app)]
        self._open.add(row.public_id)
        try:
            ended = await self._floor.end(row.public_id)
        except Ending:
            raise _Over(RESTARTING) from None
        self._open.discard(row.public_id)
        if ended is None:
            return [realtime.error("NOT_FOUND", "The run was deleted before its end.", message)]
        run, asked = ended
        status, _, body = show.result(run, asked)
        if status != 200:
            kind = str(body.get("error_type", "internal_error")).upper()
            return [realtime.error(kind, str(body["message"]), message, status=status)]
        took = show.metrics(run)["inference_time"] or time.monotonic() - began
        names = [str(one["field"]) for one in asked.get("ignored", ())]
        notes = [realtime.ignored(names, message)] if names else []
        if asked.get(SYNC_MODE):
            await self._floor.do(inlined.fill, run, body)
        return [*notes, realtime.result(body, message), realtime.timings(took)]


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


def _told(error: Exception, message: Message, app: str) -> str:
    problem: Problem = problem_of(error)
    if problem.code == "internal_error":
        log.error("a message to %s failed", app, exc_info=error)
    body = errors.body(problem, request_id="")
    kind = str(body["error_type"]).upper()
    return realtime.error(
        kind, problem.detail, message, detail=body["detail"], status=errors.status_of(problem)
    )
