"""Our own API, as one more of the protocols that the edge waits, polls and answers errors for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from marketplace.ids import parse
from playground.api import problems
from playground.api.problems import Problem
from playground.edge.protocol import header
from playground.facades.dialect import Answer, Basic, Document, Scope, status_of
from playground.facades.words import Table
from playground.middleware import request_id_of

PREDICTIONS = "/api/v1/predictions"
MAX_SECONDS = 60
_ONE = re.compile(PREDICTIONS + r"/([^/]{1,64})(/events)?")
_FILES = re.compile(r"/api/v1/assets|/api/v1/assets/uploads/[^/]+/(?:parts/[0-9]+|complete)")
_PREFERRED = re.compile(r"(?:^|[,;])\s*wait\s*(?:=\s*\"?([0-9]{1,6})\"?)?\s*(?=$|[,;])", re.IGNORECASE)


class Own(Basic):
    """`/api/v1`."""

    name = "api"
    prefix = "/api/"
    words = Table({})

    def waits(self, scope: Scope) -> float | None:
        if scope["method"] == "POST":
            return preferred(scope) if scope["path"] == PREDICTIONS else None
        return queried(scope) if _run_of(scope) else None

    def polled(self, scope: Scope) -> UUID | None:
        one = _run_of(scope)
        return parse(one, "p") if one and not scope["query_string"] else None

    def uploads(self, scope: Scope) -> bool:
        return scope["method"] in {"POST", "PUT"} and _FILES.fullmatch(scope["path"]) is not None

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        headers, seconds = (
            {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
            self.waits(scope),
        )
        if seconds is not None:
            headers["Preference-Applied"] = f"wait={seconds:g}"
        return Answer.of_json(document, 201 if scope["method"] == "POST" else 200).plus(headers)

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        body = problems.body(problem, request_id=request_id_of(header(scope, b"x-request-id")))
        return Answer.of_json(body, status_of(problem), Content_Type=problems.CONTENT_TYPE)


OWN = Own()


def followed(scope: Scope) -> str | None:
    """The id in an address of events; None if it is none."""
    one = _ONE.fullmatch(scope["path"]) if scope["method"] in {"GET", "HEAD"} else None
    return one[1] if one is not None and one[2] else None


def _run_of(scope: Scope) -> str | None:
    one = _ONE.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    return one[1] if one is not None and not one[2] else None


def preferred(scope: Scope) -> int | None:
    """The seconds that `Prefer: wait` asks for, 1 to 60, 60 without a number; None without the preference."""
    found = _PREFERRED.search(header(scope, b"prefer"))
    if found is None:
        return None
    return max(1, min(MAX_SECONDS, int(found[1] or MAX_SECONDS)))


def queried(scope: Scope) -> int | None:
    """The seconds that `?wait=N` asks for; None if it asks for nothing sensible."""
    values = parse_qs(scope["query_string"].decode("latin-1")).get("wait")
    if not values or re.fullmatch(r"[0-9]{1,6}", values[0]) is None or int(values[0]) == 0:
        return None
    return min(MAX_SECONDS, int(values[0]))
