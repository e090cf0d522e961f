"""Live states from Redis, many at a time: what is asked for while one round trip is under way shares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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


class Reads:
    """Batched reading of live states. Bound to the loop it is first used on."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._wanted: dict[UUID, asyncio.Future[State | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def state(self, public_id: UUID) -> State | None:
        """The newest published state, or None. Raises redis.RedisError or OSError when Redis does not answer."""
        future = self._wanted.get(public_id)
        if future is None:
            future = self._wanted[public_id] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(future)

    async def states(self, public_ids: Sequence[UUID]) -> list[State | None]:
        """`state` of several, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for public_id in public_ids:
            pipe.hmget(live.key_of(public_id), "seq", "json")
        found: list[list[Any]] = await pipe.execute()
        return [live.unpack(seq, body) for seq, body in found]

    async def _run(self) -> None:
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    found = await self.states(list(wanted))
                except (redis.RedisError, OSError) as error:
                    for future in wanted.values():
                        future.set_exception(error)
                        future.exception()  # nobody may be waiting any more
                else:
                    for future, state in zip(wanted.values(), found, strict=True):
                        future.set_result(state)
        finally:
            self._task = None
