"""`GET /api/v1/predictions/<id>` with a key, answered from Redis: one shared round trip, no thread, no database.

What never changes of a prediction is kept from its row, what changes comes from the live state. The row is looked at
again when the state has not moved for a while, so that a lost announcement delays an answer by seconds and no more.
Whatever is out of the ordinary is left to Django, which then says what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from uuid import UUID

import redis
from django.db import Error as DatabaseError

from playground.api import rates
from playground.api.problems import Problem
from playground.edge.answers import ID_HEADER, answer, dump, rate_headers
from playground.edge.callers import Caller, by_key, credential_of
from playground.edge.hub import hub
from playground.edge.protocol import Scope, Send, header
from playground.edge.threads import in_thread
from playground.live import State
from playground.models import Prediction
from playground.predictions.present import PredictionJson, moved

log = logging.getLogger(__name__)

STILL_SECONDS = 3.0  # without a move, after which the row is asked
END_SECONDS = 60.0  # for which the answer to a closed one is kept
MAX_KEPT = 5000


@dataclass(slots=True)
class _Kept:
    """The answer that was last given for one prediction."""

    workspace: int
    key: int | None  # that made it
    document: PredictionJson
    seq: int
    body: bytes
    read_at: float  # when its row was

    @property
    def is_end(self) -> bool:
        return self.document["status"] in Prediction.TERMINAL


class Polls:
    """The answers that are kept, and the rows that are looked at: many in one statement."""

    def __init__(self) -> None:
        self._kept: dict[UUID, _Kept] = {}
        self._still: set[UUID] = set()
        self._checking: asyncio.Task[None] | None = None

    async def answer_now(self, public_id: UUID, scope: Scope, send: Send) -> bool:
        """Answer, if that takes nothing but Redis, now or a moment ago; False leaves it to Django."""
        credential = credential_of(scope)
        if credential is None:
            return False
        try:
            caller = await by_key(credential, origin=header(scope, b"origin"))
            caller.need("predictions:read")
            counter = rates.counter(caller.counted_as) if rates.limit() else None
            body = await self._body(public_id, caller, counter)
        except (Problem, redis.RedisError, DatabaseError, OSError):
            return False
        if body is None:
            return False
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (ID_HEADER, header(scope, ID_HEADER).encode()),
        ]
        if counter is not None:
            headers += rate_headers(rates.rate(hub().reads.counted.get(counter, 1)))
        await answer(send, 200, headers, body)
        return True

    async def _body(self, public_id: UUID, caller: Caller, counter: str | None) -> bytes | None:
        reads = hub().reads
        seq = await reads.seq(public_id, counter=counter)
        if counter is not None and reads.counted.get(counter, 0) > rates.limit():
            return None
        kept = self._kept.get(public_id)
        if kept is not None and kept.seq == seq:
            if not caller.sees(kept.workspace, kept.key):
                return None
            age = time.monotonic() - kept.read_at
            if not kept.is_end and age > STILL_SECONDS:
                self._check(public_id)
            if age < END_SECONDS:
                return kept.body
        state = await reads.state(public_id) if seq is not None else None
        if state is None or not caller.sees(state["workspace"], state.get("key")):
            return None
        return await self._renewed(public_id, state)

    async def _renewed(self, public_id: UUID, state: State) -> bytes | None:
        """The answer to a state that moved."""
        kept = self._kept.pop(public_id, None)
        if (
            kept is not None
            and not kept.is_end
            and kept.seq != state["seq"]
            and state["status"] in Prediction.OPEN
        ):
            document, read_at = kept.document, kept.read_at
        else:
            found, read_at = await hub().documents.get(public_id), time.monotonic()
            if found is None:
                return None
            document = found
        if document["status"] in Prediction.OPEN and document["attempt"] <= state["attempt"]:
            document = moved(document, state)
        while len(self._kept) >= MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        body = dump(document)
        workspace, key = state["workspace"], state.get("key")
        self._kept[public_id] = _Kept(workspace, key, document, state["seq"], body, read_at)
        return body

    def _check(self, public_id: UUID) -> None:
        """Have the row looked at, soon; if it is ahead, the next poll reads it."""
        self._kept[public_id].read_at = time.monotonic()
        self._still.add(public_id)
        if self._checking is None:
            self._checking = asyncio.ensure_future(self._check_all())

    async def _check_all(self) -> None:
        try:
            while self._still:
                still, self._still = self._still, set()
                rows = await in_thread(_standings, list(still))
                for public_id in still:
                    kept = self._kept.get(public_id)
                    if kept is None or rows.get(public_id) == (
                        kept.document["status"],
                        kept.document["attempt"],
                    ):
                        continue
                    del self._kept[public_id]
        except DatabaseError as error:
            log.warning("polled rows cannot be read: %s", error)
        finally:
            self._checking = None


def _standings(public_ids: list[UUID]) -> dict[UUID, tuple[str, int]]:
    kept = Prediction.objects.kept().filter(public_id__in=public_ids)
    rows = kept.values_list("public_id", "status", "attempt")
    return {public_id: (status, attempt) for public_id, status, attempt in rows}
