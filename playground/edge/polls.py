"""Asking how a run stands, in any protocol, answered from Redis: one shared round trip, no thread, no database.

What never changes of a prediction is kept from its row, what changes comes from the live state, and what is shown of
the two is drawn once for everybody who asks at the same address. The row is looked at again when the state has not
moved for a while, so that a lost announcement delays an answer by seconds and no more. Whatever is out of the ordinary
is left to Django, which then says what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from uuid import UUID

import redis
from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error as DatabaseError

from playground import predictions
from playground.api import rates
from playground.api.problems import Problem
from playground.edge.answers import ID_HEADER, answer, encoded, rate_headers
from playground.edge.callers import Caller, by_key, credential_of
from playground.edge.hub import hub
from playground.edge.own import OWN
from playground.edge.protocol import Scope, Send, header
from playground.edge.threads import in_thread
from playground.facades.dialect import ORIGINAL_PATH, Answer, Dialect, origin_of
from playground.facades.dialect import Document as Shown
from playground.live import State
from playground.models import Prediction
from playground.predictions import Document
from playground.predictions.present import moved

log = logging.getLogger(__name__)

STILL_SECONDS = 3.0  # without a move, after which the row is asked
END_SECONDS = 60.0  # for which the answer to a closed one is kept
MAX_KEPT = 5000
MAX_ADDRESSES = 16  # of one run, at which it is asked for
PLACE_SECONDS = 1.0  # for which a place in the queue counts


Address = tuple[object, ...]


@dataclass(slots=True)
class _Kept:
    """What is known of one prediction, and the answers that were given for it, by address."""

    workspace: int
    key: int | None  # that made it
    document: Document
    seq: int
    read_at: float  # when its row was
    answers: dict[Address, Answer] = field(default_factory=dict)
    position: int | None = None
    placed_at: float = -PLACE_SECONDS  # when its place was looked at

    @property
    def is_end(self) -> bool:
        return self.document.shown["status"] in Prediction.TERMINAL

    @property
    def is_queued(self) -> bool:
        return self.document.shown["status"] == Prediction.Status.QUEUED


class Polls:
    """The answers that are kept, and the rows that are looked at: many in one statement."""

    def __init__(self) -> None:
        self._kept: dict[UUID, _Kept] = {}
        self._still: set[UUID] = set()
        self._checking: asyncio.Task[None] | None = None
        self._unplaced: set[UUID] = set()
        self._placing: asyncio.Task[None] | None = None

    async def answer_now(self, public_id: UUID, dialect: Dialect, scope: Scope, send: Send) -> bool:
        """Answer, if that takes nothing but Redis, now or a moment ago; False leaves it to Django."""
        credential = credential_of(scope)
        if credential is None:
            return False
        try:
            caller = await by_key(credential, origin=header(scope, b"origin"))
            caller.need("predictions:read")
            counter = rates.counter(caller.counted_as) if rates.limit() else None
            kept = await self._known(public_id, caller, counter)
            if kept is not None and kept.is_queued and dialect is not OWN:
                await self._place(public_id, kept)
        except (Problem, redis.RedisError, DatabaseError, OSError):
            return False
        if kept is None:
            return False
        try:
            shown = _answer(kept, dialect, scope)
        except SynchronousOnlyOperation:  # it takes rows or files to show it
            return False
        headers = encoded({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **shown.headers})
        headers.append((ID_HEADER, header(scope, ID_HEADER).encode()))
        if counter is not None:
            headers += rate_headers(rates.rate(hub().reads.counted.get(counter, 1)))
        await answer(send, shown.status, headers, shown.body)
        return True

    async def _known(self, public_id: UUID, caller: Caller, counter: str | None) -> _Kept | None:
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
                return kept
        state = await reads.state(public_id) if seq is not None else None
        if state is None or not caller.sees(state["workspace"], state.get("key")):
            return None
        return await self._renewed(public_id, state)

    async def _renewed(self, public_id: UUID, state: State) -> _Kept | None:
        """What is known of a prediction whose state has moved."""
        old = self._kept.pop(public_id, None)
        if (
            old is not None
            and not old.is_end
            and old.seq != state["seq"]
            and state["status"] in Prediction.OPEN
        ):
            document, read_at = old.document, old.read_at
        else:
            found, read_at = await hub().documents.get(public_id), time.monotonic()
            if found is None:
                return None
            document = found
        if document.shown["status"] in Prediction.OPEN and document.shown["attempt"] <= state["attempt"]:
            document = document._replace(shown=moved(document.shown, state))
        while len(self._kept) >= MAX_KEPT:
            self._kept.pop(next(iter(self._kept)))
        kept = _Kept(state["workspace"], state.get("key"), document, state["seq"], read_at)
        self._kept[public_id] = kept
        return kept

    async def _place(self, public_id: UUID, kept: _Kept) -> None:
        """Have its place looked at, once a second for all that wait; the first time that is waited for."""
        if time.monotonic() - kept.placed_at < PLACE_SECONDS:
            return
        is_first = kept.placed_at < 0
        self._unplaced.add(public_id)
        if self._placing is None:
            self._placing = asyncio.ensure_future(self._place_all())
        if is_first:
            await asyncio.shield(self._placing)

    async def _place_all(self) -> None:
        try:
            while self._unplaced:
                wanted, self._unplaced = self._unplaced, set()
                now = time.monotonic()
                places = await in_thread(predictions.queue_position, list(wanted))
                for public_id in wanted:
                    kept, place = self._kept.get(public_id), places.get(public_id)
                    if kept is None:
                        continue
                    kept.placed_at = now
                    if place is not None and place.ahead != kept.position:
                        kept.position = place.ahead
                        kept.answers.clear()
        except DatabaseError as error:
            log.warning("places in the queue cannot be read: %s", error)
        finally:
            self._placing = None

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
                        kept.document.shown["status"],
                        kept.document.shown["attempt"],
                    ):
                        continue
                    del self._kept[public_id]
        except DatabaseError as error:
            log.warning("polled rows cannot be read: %s", error)
        finally:
            self._checking = None


def _answer(kept: _Kept, dialect: Dialect, scope: Scope) -> Answer:
    """What is shown of it at this address, to such a reader."""
    asked = (scope.get(name) for name in ("path", ORIGINAL_PATH, "query_string"))
    address = (dialect.reader(scope), origin_of(scope), *asked)
    found = kept.answers.get(address)
    if found is None:
        if len(kept.answers) >= MAX_ADDRESSES:
            kept.answers.clear()
        shown: Shown = {**kept.document.shown}  # type: ignore[typeddict-item]
        if kept.is_queued and dialect is not OWN:
            shown["queue_position"] = kept.position
        found = kept.answers[address] = dialect.show(shown, kept.document.asked, scope)
    return found


def _standings(public_ids: list[UUID]) -> dict[UUID, tuple[str, int]]:
    kept = Prediction.objects.kept().filter(public_id__in=public_ids)
    rows = kept.values_list("public_id", "status", "attempt")
    return {public_id: (status, attempt) for public_id, status, attempt in rows}
