"""Waiting for the end of a prediction inside its request, without a thread: `Prefer: wait=N` and `?wait=N`."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import cast
from urllib.parse import parse_qs
from uuid import UUID

from django.db import Error as DatabaseError

from marketplace.ids import parse
from playground import predictions
from playground.api import rates
from playground.edge.answers import dump
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, hub
from playground.edge.protocol import Application, Headers, Message, Receive, Scope, Send, header, while_here
from playground.live import MAX_LOG_LINES, State
from playground.models import Prediction
from playground.predictions.present import PredictionJson, moved

MAX_SECONDS = 60
MAX_PER_WORKSPACE = 2_000
_PREFERRED = re.compile(r"(?:^|[,;])\s*wait\s*(?:=\s*\"?([0-9]{1,6})\"?)?\s*(?=$|[,;])", re.IGNORECASE)

_crowd = Crowd(MAX_PER_WORKSPACE)
log = logging.getLogger(__name__)


def preferred(scope: Scope) -> int | None:
    """The seconds that `Prefer: wait` asks for, 1 to 60, 60 without a number; None without the preference."""
    found = _PREFERRED.search(header(scope, b"prefer"))
    if found is None:
        return None
    return max(1, min(MAX_SECONDS, int(found[1] or MAX_SECONDS)))


def queried(scope: Scope) -> int | None:
    """The seconds that `?wait=N` asks for; None if it asks for nothing sensible."""
    values = parse_qs(scope["query_string"].decode("latin-1")).get("wait")
    if not values or re.fullmatch(r"[0-9]{1,6}", values[0]) is None or int(values[0]) == 0:
        return None
    return min(MAX_SECONDS, int(values[0]))


class _Held:
    """An answer of Django, kept back."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    async def release(self, send: Send) -> None:
        dropped = b"content-length"
        self.headers = [pair for pair in self.headers if pair[0].lower() != dropped]
        self.headers.append((dropped, str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    def shown(self) -> PredictionJson | None:
        """The open prediction that the answer shows."""
        if self.status not in {200, 201}:
            return None
        try:
            document = json.loads(self.body)
        except ValueError:
            return None
        if not isinstance(document, dict) or document.get("status") not in Prediction.OPEN:
            return None
        return cast("PredictionJson", document)


async def answer_at_end(inner: Application, seconds: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Let Django answer; if that shows an open prediction, answer at its end instead, or after `seconds` as it is then.

    Who may ask was decided by Django. A client that leaves ends the waiting, not the prediction.
    """
    held, began = _Held(), time.monotonic()
    await inner(scope, receive, held.send)
    shown = held.shown()
    public_id = parse(shown["id"], "p") if shown is not None else None
    if shown is not None and public_id is not None:
        last: list[State] = []
        if not await while_here(receive, _watch(public_id, seconds, last)):
            return
        held.body = await _later(shown, public_id, last) or held.body
    if held.status in {200, 201}:
        held.headers.append((b"preference-applied", b"wait=%d" % seconds))
    held.headers = _aged(held.headers, time.monotonic() - began)
    await held.release(send)


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


async def _watch(public_id: UUID, seconds: int, last: list[State]) -> None:
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


async def _later(shown: PredictionJson, public_id: UUID, last: list[State]) -> bytes | None:
    """What was shown, as it is now: by its last state where that says everything, else by its row."""
    if last and last[0]["status"] in Prediction.TERMINAL and len(last[0]["logs"]) < MAX_LOG_LINES:
        return dump(moved(shown, last[0]))
    try:
        document = await hub().documents.get(public_id)
    except DatabaseError as error:  # it was accepted, and an error would not say so
        log.warning("the end of a wait cannot be read: %s", error)
        return None
    return dump(document) if document is not None else None
