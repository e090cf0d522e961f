"""What the edge needs to know of fal: which requests are its, how long they wait, and what they are answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from playground import webhooks
from playground.api.problems import Problem
from playground.facades.dialect import Answer, Document, Scope, Talk, header_of, origin_of, status_of
from playground.facades.fal import connection, errors, headers, inlined, letters, proxy, show, sponsors
from playground.facades.fal.bearer import TOKEN
from playground.facades.fal.hosts import PART, PREFIX, addressed, face_at
from playground.facades.fal.words import SYNC_MODE, TABLE, Asked, asked_about

_FILES = re.compile(
    PART.pattern + r"|/fal/cdn/files/upload|/fal/rest/storage/put/[^/]+(?:/(?:[0-9]+|complete))?"
)
# A run is waited for by clients without a limit of their own; what carries them, Node's fetch, gives up after 300 s.
RUN_SECONDS = 280.0


class Fal:
    """fal's protocol: below `/fal`, and at fal's host names."""

    name = letters.DIALECT
    words = TABLE

    def place(self, path: str, host: str) -> str | None:
        """By one of fal's host names, or by prefix."""
        found = addressed(host, path)
        return found.inside if found is not None else None

    def lead(self, scope: Scope) -> None:
        """What is asked of the proxy is asked of where that leads."""
        proxy.lead(scope)

    def waits(self, scope: Scope) -> float | None:
        """A run is answered at its end."""
        return RUN_SECONDS if scope["path"].startswith(f"{PREFIX}/run/") else None

    def polled(self, scope: Scope) -> UUID | None:
        """The request whose status or result is asked for."""
        about = _about(scope)
        is_poll = about is not None and scope["method"] == "GET" and about.what in {"status", "result"}
        return about.id if about is not None and is_poll else None

    def reader(self, scope: Scope) -> str:
        """All are shown the same."""
        return ""

    def uploads(self, scope: Scope) -> bool:
        """A file, or a part of one, or that all its parts are there."""
        return scope["method"] in {"POST", "PUT"} and _FILES.fullmatch(scope["path"]) is not None

    def talk(self, scope: Scope) -> Talk | None:
        """A realtime connection."""
        return connection.talk_at(scope)

    def forms(self, scope: Scope) -> bool:
        """None: files are put to addresses of their own."""
        return False

    def sponsor(self, scope: Scope) -> int | None:
        """Whose address it is that a file is put to, or whose token comes with it."""
        token = _query(scope).get(TOKEN, "")
        return sponsors.sponsor(scope["path"], header_of(scope, "authorization"), token)

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        """A submit, a poll, or a run that was waited for."""
        about = _about(scope)
        if about is not None and (about.app.namespace or about.app.model != document["model"]):
            return self.problem(no_request(), scope)
        at = queue_at(scope, document["model"])
        named = {errors.ID_HEADER: show.request_id(document)}
        is_open = document["status"] in show.OPEN
        is_submit = about is None and scope["path"].startswith(f"{PREFIX}/queue/")
        if is_submit or (about is not None and about.what in {"status", "stream"}):
            with_logs = headers.with_logs(_query(scope))
            body = show.status(document, asked, at, with_logs=with_logs)
            return _answer(202 if is_open and not is_submit else 200, named, body)
        if not is_open:
            status, sent, body = show.result(document, asked)
            if status == 200 and asked.get(SYNC_MODE):
                inlined.fill(document, body)
            return _answer(status, sent, body)
        if about is not None:
            return _answer(*show.still_open(document))
        if is_due:
            return _answer(*show.overdue(document, at))
        return _answer(202, named, show.status(document, asked, at))  # what is held until it ends

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        """An error; on the platform's face in its envelope."""
        named = header_of(scope, "x-request-id")
        sent = errors.headers(problem, request_id=named)
        if scope["path"].startswith(f"{PREFIX}/v1/"):
            body = errors.platform_body(problem, request_id=named)
            return _answer(errors.platform_status(problem), sent, body)
        return _answer(status_of(problem), sent, errors.body(problem, request_id=named))


def no_request() -> Problem:
    """The error of a request that is not there, or is another app's."""
    return Problem("not_found", "There is no such request of this app.", members={"status": "NOT_FOUND"})


def queue_at(scope: Scope, base: str) -> str:
    """Where an app is on the queue for this caller; `base` is `owner/alias`."""
    scheme, _, host = origin_of(scope).partition("://")
    return f"{face_at(scheme, host, 'queue')}/{base}"


def _about(scope: Scope) -> Asked | None:
    """The request of the queue that an address on the map is about."""
    below = f"{PREFIX}/queue"
    path: str = scope["path"]
    return asked_about(path[len(below) :]) if path.startswith(f"{below}/") else None


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _answer(status: int, sent: Mapping[str, str], body: Mapping[str, Any]) -> Answer:
    return Answer.of_json(body, status).plus(sent)


DIALECT = Fal()
webhooks.teach(DIALECT.name, letters.Letters())
