"""Live states from Redis, many at a time: what is asked for while one round trip is under way shares the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import redis.asyncio
from django.conf import settings

from playground import live
from playground.live import State


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
    """Batched reading of live states. Bound to the loop it is first used on."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._wanted: dict[UUID, asyncio.Future[State | None]] = {}
        self._counts: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self.counted: dict[str, int] = {}  # what the counters of the last trip stand at

    async def state(self, public_id: UUID, *, counter: str | None = None) -> State | None:
        """The newest published state, or None. Raises redis.RedisError or OSError when Redis does not answer.

        `counter` names a counter in Redis that this call adds one to, on the same trip; see `counted`.
        """
        future = self._wanted.get(public_id)
        if future is None:
            future = self._wanted[public_id] = asyncio.get_running_loop().create_future()
        if counter is not None:
            self._counts[counter] += 1
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(future)

    async def states(
        self, public_ids: Sequence[UUID], counts: Mapping[str, int] | None = None
    ) -> list[State | None]:
        """`state` of several, in one round trip."""
        counts = counts or {}
        pipe = self._redis.pipeline(transaction=False)
        for public_id in public_ids:
            pipe.hmget(live.key_of(public_id), "seq", "json")
        for name, count in counts.items():
            pipe.incrby(name, count)
            pipe.expire(name, COUNTER_SECONDS)
        answers: list[Any] = await pipe.execute()
        if counts:
            self.counted = dict(zip(counts, answers[len(public_ids) :: 2], strict=True))
        return [live.unpack(seq, body) for seq, body in answers[: len(public_ids)]]

    async def _run(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                counts, self._counts = self._counts, Counter()
                try:
                    found = await self.states(list(wanted), counts)
                except (redis.RedisError, OSError) as error:
                    for future in wanted.values():
                        future.set_exception(error)
                        future.exception()  # nobody may be waiting any more
                else:
                    for future, state in zip(wanted.values(), found, strict=True):
                        future.set_result(state)
        finally:
            self._task = None
