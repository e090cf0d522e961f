"""What a websocket says to an application that listens: kept until it is looked at, and no more read while that is
much."""

from __future__ import annotations

import asyncio
from typing import Any


class Heard(asyncio.Queue[Any]):
    """Messages of one socket. `transport` is what they come from."""

    def __init__(self, transport: Any, limit: int) -> None:
        super().__init__()
        self._transport = transport
        self._limit = limit
        self._bytes = 0
        self._is_held = False

    def put_nowait(self, message: Any) -> None:
        super().put_nowait(message)
        self._bytes += _size(message)
        if self._bytes > self._limit and not self._is_held and self._transport is not None:
            self._is_held = True
            self._transport.pauseProducing()

    async def get(self) -> Any:
        message = await super().get()
        self._bytes -= _size(message)
        if self._is_held and self._bytes <= self._limit // 2:
            self._is_held = False
            self._transport.resumeProducing()
        return message


def _size(message: Any) -> int:
    """About what it takes in memory; an empty message is something, too."""
    return len(message.get("bytes") or message.get("text") or "") + 1024
