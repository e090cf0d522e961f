"""Which bytes of a file a request is for (RFC 9110 §14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to, without, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class NotSatisfiable(Exception):
    """The range begins behind the end of the file."""


def span_of(wanted: str, size: int) -> Span | None:
    """The one range that a Range header asks for; None for the whole file, as for several ranges or a broken header.

    Raises NotSatisfiable.
    """
    match = _ONE.fullmatch(wanted.strip())
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
        if start >= size:
            raise NotSatisfiable
        return Span(start, end)
    if not last:
        return None
    if int(last) == 0 or size == 0:
        raise NotSatisfiable
    return Span(max(0, size - int(last)), size)


def names(listed: str, etag: str) -> bool:
    """Whether an If-None-Match names `etag`, by weak comparison."""
    if listed.strip() == "*":
        return True
    return any(one.strip().removeprefix("W/") == etag for one in listed.split(","))
