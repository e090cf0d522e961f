"""How many bytes of bodies are here at once: in all, and of each who sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Full(Exception):
    """There is no room for more of `owner`."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


class Room:
    """Counts bytes under every name that they belong to."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def taken(self, owner: str) -> int:
        """The bytes that are here under this name."""
        return self._taken[owner]

    def place(self, most: Mapping[str, int]) -> Place:
        """A place without a byte yet, counted under each name of `most`, which says how many that may have."""
        return Place(self._taken, most)


class Place:
    """The bytes of one body."""

    def __init__(self, taken: Counter[str], most: Mapping[str, int]) -> None:
        self._taken = taken
        self._most = most
        self._size = 0
        self._is_left = False

    def hold(self, size: int) -> None:
        """Have room for `size` bytes; for fewer than before, nothing changes. Raises Full."""
        more = size - self._size
        if more <= 0 or self._is_left:
            return
        for owner, most in self._most.items():
            if self._taken[owner] + more > most:
                raise Full(owner)
        for owner in self._most:
            self._taken[owner] += more
        self._size = size

    def leave(self) -> None:
        """Make room for others, once."""
        if self._is_left:
            return
        self._is_left = True
        for owner in self._most:
            self._taken[owner] -= self._size
            if not self._taken[owner]:
                del self._taken[owner]
