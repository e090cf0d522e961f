"""What fal's callers call things: the words of an input, ids of apps, and what is asked about a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from marketplace.ids import parse
from playground.facades.vocabulary import FORMAT, SHARED
from playground.facades.words import Alias, Handled, Only, Table

SYNC_MODE = "sync_mode"  # the media come in the answer, as data: addresses
_FASTEST = "every run is as fast as its engine makes it"
TABLE = Table(
    {
        **SHARED,
        # What fal's own pages copy into a program with every default: the answer says what kind a file is.
        "output_format": Alias(FORMAT, values={"jpg": "jpeg"}),
        "acceleration": Only(neutral=("none",), ignores=_FASTEST),
        SYNC_MODE: Handled(),
    }
)
NAMESPACES = ("workflows", "comfy")
_LEGACY = re.compile(r"([0-9]+)-([a-zA-Z0-9-]+)")  # ids from before owners had a part of their own
_ASKED = re.compile(
    r"/(?P<app>.+?)/requests/(?P<id>[^/]+)(?P<what>/status/stream|/status|/cancel|/response)?/?"
)


@dataclass(frozen=True, slots=True)
class App:
    """`owner/alias`, in a namespace or in none, and the path below it."""

    owner: str
    alias: str
    path: str = ""
    namespace: str = ""

    @property
    def model(self) -> str:
        """The id of the model on the shelf."""
        return f"{self.owner}/{self.alias}"

    @property
    def base(self) -> str:
        """What the queue's addresses are below, whatever path was submitted to."""
        return f"{self.namespace}/{self.model}" if self.namespace else self.model


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the queue that is asked about. `what` is status, stream, cancel or result."""

    app: App
    id: UUID | None
    what: str


def app_of(text: str) -> App | None:
    """The app that an id names: `owner/alias/path`, `workflows/owner/alias/path` or `123-name`; None if it is none."""
    parts = [part for part in text.split("/") if part]
    if parts and (found := _LEGACY.fullmatch(parts[0])) and len(parts) == 1:
        parts = [found[1], found[2]]
    namespace = parts.pop(0) if parts and parts[0] in NAMESPACES else ""
    if len(parts) < 2:
        return None
    return App(parts[0], parts[1], "/".join(parts[2:]), namespace)


def asked_about(path: str) -> Asked | None:
    """What a path on the queue asks about: `/owner/alias/requests/<id>/status` and the like, below the app or below the
    full id; None if it is no such path."""
    found = _ASKED.fullmatch(path)
    app = app_of(found["app"]) if found is not None else None
    if found is None or app is None:
        return None
    what = {"/status": "status", "/status/stream": "stream", "/cancel": "cancel"}.get(
        found["what"] or "", "result"
    )
    return Asked(app, parse(found["id"], "p"), what)
