"""Live states from Redis, many at a time: what is asked for while one round trip is under way shares the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import redis.asyncio
from django.conf import settings

from playground import live
from playground.live import State

T = TypeVar("T")


def client(*, timeout: float | None) -> redis.asyncio.Redis:
    """An asyncio client of its own; `timeout` in seconds is that of one answer, None waits for ever."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout,
        socket_connect_timeout=5,
        health_check_interval=15,
        max_connections=20,
    )


COUNTER_SECONDS = 120


class Reads:
    """Batched reading of live states. Bound to the loop it is first used on.

    Everything here raises redis.RedisError or OSError when Redis does not answer.
    """

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._states: dict[UUID, asyncio.Future[State | None]] = {}
        self._seqs: dict[UUID, asyncio.Future[int | None]] = {}
        self._counts: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.counted: dict[str, int] = {}  # what the counters of the last trip stand at

    async def state(self, public_id: UUID) -> State | None:
        """The newest published state, or None."""
        return await self._answer(self._states, public_id)

    async def seq(self, public_id: UUID, *, counter: str | None) -> int | None:
        """The number of the newest published state, or None.

        `counter` names a counter in Redis that this call adds one to, on the same trip; see `counted`.
        """
        if counter is not None:
            self._counts[counter] += 1
        return await self._answer(self._seqs, public_id)

    async def count(self, counter: str) -> int:
        """Add one to a counter; what it stands at then."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.incr(counter)
        pipe.expire(counter, COUNTER_SECONDS)
        return int((await pipe.execute())[0])

    async def note(self, key: str, seconds: int, *, is_new: bool = False) -> None:
        """Set a mark that lasts so long; with `is_new`, one that is there already ends when it would have."""
        await self._redis.set(key, 1, ex=seconds, nx=is_new)

    async def states(self, public_ids: Sequence[UUID]) -> list[State | None]:
        """`state` of several, in one round trip of their own."""
        pipe = self._redis.pipeline(transaction=False)
        for public_id in public_ids:
            pipe.hmget(live.key_of(public_id), "seq", "json")
        answers: list[Any] = await pipe.execute()
        return [live.unpack(seq, body) for seq, body in answers]

    async def _answer(self, wanted: dict[UUID, asyncio.Future[T]], public_id: UUID) -> T:
        future = wanted.get(public_id)
        if future is None:
            future = wanted[public_id] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._states or self._seqs:
                states, seqs, counts = dict(self._states), dict(self._seqs), dict(self._counts)
                for taken in (self._states, self._seqs, self._counts):
                    taken.clear()
                try:
                    await self._trip(states, seqs, counts)
                except Exception as error:  # whatever it is, those who wait must hear of it
                    _refuse(states.values(), error)
                    _refuse(seqs.values(), error)
        finally:
            self._task = None

    async def _trip(
        self,
        states: dict[UUID, asyncio.Future[State | None]],
        seqs: dict[UUID, asyncio.Future[int | None]],
        counts: dict[str, int],
    ) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for public_id in states:
            pipe.hmget(live.key_of(public_id), "seq", "json")
        for public_id in seqs:
            pipe.hget(live.key_of(public_id), "seq")
        for name, count in counts.items():
            pipe.incrby(name, count)
            pipe.expire(name, COUNTER_SECONDS)
        answers = iter(await pipe.execute())
        for state in states.values():
            state.set_result(live.unpack(*next(answers)))
        for seq in seqs.values():
            said = next(answers)
            seq.set_result(int(said) if said is not None else None)
        self.counted = dict(zip(counts, list(answers)[::2], strict=True))


def _refuse(futures: Iterable[asyncio.Future[T]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more
