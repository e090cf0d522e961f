"""`GET /api/v1/predictions/<id>` with a key, answered from Redis: one shared round trip, no thread, no database.

What never changes of a prediction is kept from its row, what changes comes from the live state. The row is looked at
again when the state has not moved for a while, so that a lost announcement delays an answer by seconds and no more.
Whatever is out of the ordinary is left to Django, which then says what is wrong.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import redis
from django.conf import settings

from playground import predictions
from playground.api.authentication import WINDOW_SECONDS
from playground.api.problems import Problem
from playground.edge.answers import ID_HEADER, answer, dump
from playground.edge.callers import Caller, by_key, credential_of
from playground.edge.hub import hub
from playground.edge.protocol import Scope, Send, header
from playground.edge.threads import in_thread
from playground.live import State
from playground.models import Prediction
from playground.predictions.present import PredictionJson

STILL_SECONDS = 3.0  # without a move, after which the row is asked
END_SECONDS = 60.0  # for which the answer to a closed one is kept
MAX_KEPT = 5000


@dataclass(slots=True)
class _Kept:
    """The answer that was last given for one prediction."""

    document: PredictionJson
    seq: int
    body: bytes
    read_at: float

    @property
    def is_end(self) -> bool:
        return self.document["status"] in Prediction.TERMINAL


_kept: dict[UUID, _Kept] = {}


async def answer_now(public_id: UUID, scope: Scope, send: Send) -> bool:
    """Answer, if that takes nothing but Redis, now or a moment ago; False leaves it to Django."""
    credential = credential_of(scope)
    if credential is None:
        return False
    try:
        caller = await by_key(credential)
        caller.need("predictions:read")
        counter = _counter(caller)
        state = await hub().reads.state(public_id, counter=counter)
    except (Problem, redis.RedisError, OSError):
        return False
    if state is None or state["workspace"] != caller.workspace:
        return False
    if counter is not None and hub().reads.counted.get(counter, 0) > settings.API_REQUESTS_PER_MINUTE:
        return False
    body = await _body(public_id, state)
    if body is None:
        return False
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (ID_HEADER, header(scope, ID_HEADER).encode()),
    ]
    await answer(send, 200, headers, body)
    return True


def _counter(caller: Caller) -> str | None:
    """Where the API counts this key's requests of the minute; None without a limit."""
    if not settings.API_REQUESTS_PER_MINUTE:
        return None
    return f"throttle:key:{caller.key}:{int(time.time()) // WINDOW_SECONDS}"


async def _body(public_id: UUID, state: State) -> bytes | None:
    kept = _kept.get(public_id)
    seq, now = state["seq"], time.monotonic()
    if kept is not None and kept.seq == seq:
        if now - kept.read_at < (END_SECONDS if kept.is_end else STILL_SECONDS):
            return kept.body
        kept = None
    is_end = state["status"] in Prediction.TERMINAL
    if kept is None or is_end:
        document = await in_thread(_document, public_id)
        if document is None:
            return None
    else:
        document, now = kept.document, kept.read_at
    is_over = document["status"] in Prediction.TERMINAL
    if not is_over and document["attempt"] <= state["attempt"] and not is_end:
        document = _moved(document, state)
    _kept.pop(public_id, None)
    while len(_kept) >= MAX_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[public_id] = found = _Kept(document, seq, dump(document), now)
    return found.body


def _document(public_id: UUID) -> PredictionJson | None:
    row = Prediction.objects.with_model().filter(public_id=public_id).first()
    return predictions.as_json(row) if row is not None else None


def _moved(document: PredictionJson, state: State) -> PredictionJson:
    """The document of an open prediction, brought to what the live state says."""
    started = state["started_at"]
    return {
        **document,
        "status": state["status"],
        "attempt": state["attempt"],
        "step": state["step"],
        "steps": state["steps"],
        "logs": "\n".join(state["logs"]),
        "started_at": datetime.fromtimestamp(started, UTC).isoformat() if started is not None else None,
    }
