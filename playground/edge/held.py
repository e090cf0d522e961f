"""Answers of Django's that show a run and are held: until it ends, without a thread, or to tell its moments instead.

Django decides who may ask and what is made; beside its answer it tells which run that shows, and for how long to hold
it (see `playground.api.shown`). A client that leaves ends the waiting, not the run; that it left is noted for a while,
so that the same request, sent again, is answered with the run that it has made. That it was answered is noted too: who
was not, and whose process here was killed, has left nothing else behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

import redis
from django.db import Error as DatabaseError

from marketplace.ids import parse
from playground import predictions
from playground.api import rates, shown
from playground.api.problems import Problem
from playground.edge import events
from playground.edge.answers import encoded
from playground.edge.crowd import Crowd, Full
from playground.edge.drawing import drawn
from playground.edge.hub import Gone, hub
from playground.edge.protocol import Application, Headers, Message, Receive, Scope, Send, while_here
from playground.facades.dialect import Dialect
from playground.live import MAX_LOG_LINES, State
from playground.models import Prediction
from playground.predictions import Document
from playground.predictions.present import moved
from playground.predictions.repeats import HELD, WINDOW, heard_key, left_key

MAX_PER_WORKSPACE = 2_000

_crowd = Crowd(MAX_PER_WORKSPACE)
log = logging.getLogger(__name__)


class _Held:
    """An answer of Django, kept back if it shows a run; any other goes on to the caller at once."""

    def __init__(self, told: shown.Shown, send: Send) -> None:
        self._told, self._send = told, send
        self.status = 0
        self.headers: Headers = []
        self.body = b""

    @property
    def is_replay(self) -> bool:
        return any(name.lower() == b"idempotent-replayed" for name, _ in self.headers)

    async def send(self, message: Message) -> None:
        if self._told.document is None:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    def say(self, status: int, headers: Headers, body: bytes) -> None:
        """Let it be another answer; what Django said beside stays."""
        said = {name for name, _ in headers}
        kept = [pair for pair in self.headers if pair[0].lower() not in said]
        self.status, self.headers, self.body = status, [*kept, *headers], body

    async def release(self) -> None:
        dropped = b"content-length"
        self.headers = [pair for pair in self.headers if pair[0].lower() != dropped]
        self.headers.append((dropped, str(len(self.body)).encode()))
        await self._send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await self._send({"type": "http.response.body", "body": self.body})


async def answer(
    inner: Application, dialect: Dialect, seconds: float | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let Django answer. If that shows an open run and is to wait, answer at its end instead, or after `seconds` as it
    is then; if it is to be followed, with its moments."""
    told, began = shown.Shown(seconds=seconds), time.monotonic()
    held, may_make = _Held(told, send), scope["method"] != "GET"
    if may_make:
        await hub().be_seen()
    await inner({**scope, shown.SCOPE_KEY: told}, receive, held.send)
    if told.document is None:
        return
    public_id = parse(told.document.shown["id"], "p")
    assert public_id is not None
    if told.frames is not None:
        if may_make:  # its first moment comes at once
            await _note_hearing(public_id, is_replay=held.is_replay)
        try:
            await events.follow(public_id, told.frames, held.headers, scope, receive, send)
        except Problem:  # comes before any moment
            if may_make:
                await _note_leaving(public_id)
            raise
        return

    async def work() -> None:
        if told.seconds is not None:
            await _wait(told, public_id, dialect, scope, held)
            held.headers = _aged(held.headers, time.monotonic() - began)
        await held.release()

    is_heard = False
    try:
        is_heard = await while_here(receive, work())
    finally:  # nor has it heard of the run where the answer is an error of ours
        if may_make and not is_heard:
            await _note_leaving(public_id)
    if may_make and is_heard:
        await _note_hearing(public_id, is_replay=held.is_replay)


async def _wait(told: shown.Shown, public_id: UUID, dialect: Dialect, scope: Scope, held: _Held) -> None:
    """Have `held` say how the run ended, or how it is when the time is over."""
    document = told.document
    assert document is not None
    assert told.seconds is not None
    is_open = document.shown["status"] in Prediction.OPEN
    if is_open:
        last: list[State] = []
        await _watch(public_id, told.seconds, last)
        document = await _later(document, public_id, last) or document
    is_due = document.shown["status"] in Prediction.OPEN
    answer = await drawn(dialect, document, scope, is_due=is_due)
    held.say(answer.status, encoded(answer.headers), answer.body)


def _aged(headers: Headers, seconds: float) -> Headers:
    """The figures of the rate limit as they are after so long: another minute may have begun."""
    said = {name.lower(): value for name, value in headers}
    if b"ratelimit-reset" not in said:
        return headers
    left = round(int(said[b"ratelimit-reset"]) - seconds)
    now = {
        b"ratelimit-reset": b"%d"
        % (left if left > 0 else left % rates.WINDOW_SECONDS or rates.WINDOW_SECONDS)
    }
    if left <= 0:
        now[b"ratelimit-remaining"] = said[b"ratelimit-limit"]
    return [(name, now.get(name.lower(), value)) for name, value in headers]


async def _watch(public_id: UUID, seconds: float, last: list[State]) -> None:
    """Return at the end of the prediction or of the time; what was seen last is then in `last`.

    A workspace with more waiters than it may have is not kept waiting: it is told the present.
    """
    try:
        async with asyncio.timeout(seconds), hub().watch(public_id, only_end=True) as watcher:
            last[:] = [(await anext(watcher)).state]
            with _crowd.place(last[0]["workspace"]):
                async for present in watcher:
                    last[:] = [present.state]
    except (TimeoutError, Gone, Full, StopAsyncIteration, predictions.NotFound):
        return


async def _later(document: Document, public_id: UUID, last: list[State]) -> Document | None:
    """What was shown, as it is now: by its last state where that says everything, else by its row."""
    if last and last[0]["status"] in Prediction.TERMINAL and len(last[0]["logs"]) < MAX_LOG_LINES:
        return document._replace(shown=moved(document.shown, last[0]))
    try:
        return await hub().documents.get(public_id)
    except DatabaseError as error:  # it was accepted, and an error would not say so
        log.warning("the end of a wait cannot be read: %s", error)
        return None


async def _note_leaving(public_id: UUID) -> None:
    """Remember that who asked for this run has not heard of it."""
    try:
        await hub().reads.note(left_key(public_id), round(WINDOW.total_seconds()))
    except (redis.RedisError, OSError) as error:
        log.warning("that a client has left cannot be noted: %s", error)


async def _note_hearing(public_id: UUID, *, is_replay: bool) -> None:
    """Remember that who asked for this run has heard of it; where that was for a repeat, that others may still come."""
    try:
        if is_replay:
            await hub().reads.note(left_key(public_id), round(WINDOW.total_seconds()), is_new=True)
        await hub().reads.note(heard_key(public_id), round(HELD.total_seconds()))
    except (redis.RedisError, OSError) as error:
        log.warning("that a client has heard cannot be noted: %s", error)
