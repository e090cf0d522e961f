"""How many connections one owner may hold open in this process, so that none can take all of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Full(Exception):
    """The owner has as many open as they may."""


class Crowd:
    """Counts what is open, by owner."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: Counter[int] = Counter()

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
