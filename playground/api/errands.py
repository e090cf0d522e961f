"""Requests that bring a file, or fetch one: answered in two halves, with the edge's work between them.

The first half says who asks, what they may and what has to be done: it takes a place in the quota before a byte of
the body is read. The edge then receives, fetches and has the file examined, without a thread of Django's. The second
half, the same address and credentials again, makes the asset. An errand is what the three hand each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rest_framework.request import Request

from playground.api.problems import Problem
from playground.assets import Arrival
from playground.examiner import Found
from playground.models import Upload
from playground.predictions import Caller

SCOPE_KEY = "vitrine.errand"


@dataclass(frozen=True, slots=True)
class Receive:
    """The body is the file of `upload`, or, with a number, a part of it. Of a form with several parts the file is the
    one called `name`, and what the others hold comes with it.

    `waits`: where many are under way it is waited for a place, as clients send many at once and none of them again.
    `taken`: the bytes of the quota that a growing upload has for what comes, given back if it does not.
    """

    upload: Upload
    part: int | None = None
    name: str = ""
    waits: bool = False
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    """The parts of `upload` are the file: all of them, or those with these numbers."""

    upload: Upload
    parts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """The file is at an address."""

    url: str
    filename: str
    caller: Caller


@dataclass
class Errand:
    """What is known before, `work` from the first half, the rest from the edge for the second."""

    length: int = 0
    content_type: str = ""
    filename: str = ""
    work: Receive | Join | Fetch | None = None
    upload: Upload | None = None
    arrival: Arrival | None = None
    fields: dict[str, bytes] = field(default_factory=dict)
    found: Found | None = None


def errand_of(request: Request) -> Errand:
    """The errand that the edge has put beside the request. Raises Problem where there is no edge."""
    scope = getattr(request._request, "scope", {})
    errand = scope.get(SCOPE_KEY)
    if not isinstance(errand, Errand):
        raise Problem("unavailable", "Files are received by the web process alone.")
    return errand
