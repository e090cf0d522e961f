"""Websockets by which programs ask for runs: the edge's side of them. What is said by them is the protocol's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import close_old_connections

from playground import predictions
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, hub
from playground.edge.protocol import Receive, Scope, Send
from playground.edge.threads import in_thread
from playground.facades.dialect import Crowded, Document, Ending, Talk
from playground.models import Prediction

MAX_PER_WORKSPACE = 32  # in one process
THREADS = 4  # submits of a few milliseconds each

T = TypeVar("T")

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="talk")
_crowd = Crowd(MAX_PER_WORKSPACE)


async def hold(talk: Talk, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one until either side ends it."""
    await receive()
    await send({"type": "websocket.accept"})
    await talk.hold(scope, _Floor(receive, send))


class _Floor:
    """What is lent to one talk."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def hear(self) -> bytes | str | None:
        frame = await self._receive()
        if frame["type"] == "websocket.disconnect":
            return None
        data: bytes | None = frame.get("bytes")
        return data if data is not None else str(frame.get("text") or "")

    async def say(self, message: bytes | str) -> None:
        named = "bytes" if isinstance(message, bytes) else "text"
        await self._send({"type": "websocket.send", named: message})

    async def close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})

    @contextmanager
    def seat(self, workspace: int) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(_crowd.place(workspace))
            except Full:
                raise Crowded(_crowd.limit) from None
            yield

    async def do(self, function: Callable[..., T], *args: Any) -> T:
        return await in_thread(function, *args)

    async def make(self, function: Callable[..., Prediction], *args: Any) -> Prediction:
        work = _in_pool(function, *args)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # A run that comes to be while its client leaves must not go on for nobody.
            with suppress(Exception):
                await _in_pool(_cancel_all, [(await work).public_id])
            raise

    async def end(self, run: UUID) -> tuple[Document, Mapping[str, Any]] | None:
        try:
            async with hub().watch(run, only_end=True) as watcher:
                async for _ in watcher:
                    pass
            found = await hub().documents.get(run)
        except Gone:
            raise Ending from None
        except predictions.NotFound:
            return None
        return (cast("Document", found.shown), found.asked) if found is not None else None

    async def drop(self, runs: Sequence[UUID]) -> None:
        await asyncio.shield(_in_pool(_cancel_all, list(runs)))


def _cancel_all(public_ids: list[UUID]) -> None:
    for row in Prediction.objects.kept().open().filter(public_id__in=public_ids):
        predictions.cancel(row)


def _in_pool(function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
    def call() -> T:
        try:
            return function(*args)
        finally:
            close_old_connections()

    return asyncio.get_running_loop().run_in_executor(_pool, call)
