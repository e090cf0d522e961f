"""What a resident model is worth: which one may go when another needs its memory.

GreedyDual-Size-Frequency (L. Cherkasova, HP Laboratories HPL-98-69R1, 1998, after GreedyDual-Size by P. Cao and
S. Irani, USITS 1997): worth = clock + uses x seconds to load again / bytes freed. The clock rises to the worth of
whoever went last, so that what was used often long ago goes before what is used now. It knows seconds and bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Standing:
    uses: int
    worth: float


class Worth:
    """The standing of everything resident, by key."""

    def __init__(self) -> None:
        self._clock = 0.0
        self._standings: dict[str, _Standing] = {}

    def used(self, key: str, *, reload_s: float, bytes: int) -> None:
        """Notes a use of `key`, which takes `reload_s` seconds to load again and frees `bytes` when it goes."""
        standing = self._standings.setdefault(key, _Standing(0, 0.0))
        standing.uses += 1
        standing.worth = self._clock + standing.uses * reload_s / max(bytes, 1)

    def of(self, key: str) -> float:
        """The worth of `key`, comparable only with that of others; 0.0 for what was never used."""
        standing = self._standings.get(key)
        return standing.worth if standing else 0.0

    def went(self, key: str) -> None:
        """`key` made room: it is forgotten, and what stays has aged by that."""
        standing = self._standings.pop(key, None)
        if standing is not None:
            self._clock = max(self._clock, standing.worth)
