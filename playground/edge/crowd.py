"""How many connections one owner may hold open in this process, so that none can take all of its files."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Full(Exception):
    """The owner has as many open as they may."""


class Crowd:
    """Counts what is open, by owner."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: Counter[int] = Counter()
        self._line: dict[int, deque[asyncio.Future[None]]] = {}

    @contextmanager
    def place(self, owner: int) -> Iterator[None]:
        """Take a place while inside. Raises Full."""
        if self._open[owner] >= self.limit:
            raise Full
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
            self._call_next(owner)

    @asynccontextmanager
    async def turn(self, owner: int, *, seconds: float, most: int) -> AsyncIterator[None]:
        """A place, waited for behind `most` others at most. Raises Full where there are more, and after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while self._open[owner] >= self.limit:
                    await self._wait(owner, most)
        except TimeoutError:
            raise Full from None
        with self.place(owner):
            yield

    async def _wait(self, owner: int, most: int) -> None:
        line = self._line.setdefault(owner, deque())
        if len(line) >= most:
            raise Full
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(called)
        try:
            await called
        except BaseException:
            if called in line:
                line.remove(called)
            elif self._open[owner] < self.limit:
                self._call_next(owner)  # whoever was called and does not come leaves the place to the next
            raise
        finally:
            if not line and self._line.get(owner) is line:
                del self._line[owner]

    def _call_next(self, owner: int) -> None:
        line = self._line.get(owner)
        while line:
            called = line.popleft()
            if not called.done():
                called.set_result(None)
                return
