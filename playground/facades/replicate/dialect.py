"""What the edge needs to know of Replicate's protocol: what waits and how long, what polls, how a run is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marketplace.ids import parse
from playground import webhooks
from playground.api.problems import Problem
from playground.facades.dialect import Answer, Basic, Document, Scope, header_of, origin_of
from playground.facades.replicate import clients, errors, inline, show, telling
from playground.facades.replicate.words import TABLE

NAME = "replicate"
USUAL_SECONDS = 55.0  # of `Prefer: wait`: clients give up a little after a minute
WAITED = "waited"  # in what is kept of a request: it was one with `Prefer: wait`
_CREATES = re.compile(r"/v1/(?:predictions|models/[^/]+/[^/]+/predictions)")
_ONE = re.compile(r"/v1/predictions/([^/]{1,64})")
_PREFERRED = re.compile(r"(?:^|[,;])\s*wait\s*(?:=\s*\"?([0-9]{1,3})\"?)?\s*(?=$|[,;])", re.IGNORECASE)
_MOST = 60


class Replicate(Basic):
    """`/v1`."""

    name = NAME
    prefix = "/v1/"
    words = TABLE

    def lead(self, scope: Scope) -> None:
        """What a client asks for without `/v1`, or with two of them, is asked for below it."""
        clients.lead(scope)

    def waits(self, scope: Scope) -> float | None:
        """`Prefer: wait=N` on what makes a run. The answer is on its way before the client stops listening: version 1
        of the Python client does so half a second after the time that it asked for, version 2 says when."""
        found = _PREFERRED.search(header_of(scope, "prefer"))
        if scope["method"] != "POST" or found is None or _CREATES.fullmatch(scope["path"]) is None:
            return None
        seconds = USUAL_SECONDS
        if found[1] is not None:
            asked = min(max(int(found[1]), 1), _MOST)
            seconds = asked - min(1.0, asked / 4)
        limit = header_of(scope, "x-stainless-read-timeout")
        if re.fullmatch(r"[0-9]{1,6}", limit):
            seconds = min(seconds, max(1.0, int(limit) - 3.0))
        return seconds

    def polled(self, scope: Scope) -> UUID | None:
        """`GET /v1/predictions/<id>`."""
        one = _ONE.fullmatch(scope["path"])
        if one is None or scope["method"] != "GET" or scope["query_string"]:
            return None
        return parse(one[1], "p")

    def reader(self, scope: Scope) -> str:
        """Those who have to be sent the files themselves, where they waited for them."""
        return "inline" if inline.is_needed(scope) else ""

    def uploads(self, scope: Scope) -> bool:
        """`POST /v1/files`."""
        return bool(scope["method"] == "POST" and scope["path"] == "/v1/files")

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        """A run that was asked for is created, however it has ended; any other is there."""
        preferred = _PREFERRED.search(header_of(scope, "prefer"))
        is_made = scope["method"] == "POST" and _CREATES.fullmatch(scope["path"]) is not None
        # Whoever waited in vain asks again, and is shown at last what the wait would have been answered with.
        has_waited = preferred if is_made else scope["method"] == "GET" and asked.get(WAITED)
        if has_waited and document["output"] is not None and inline.is_needed(scope):
            document = {**document, "output": inline.inlined(document["output"])}
        shown = show.prediction(document, asked, origin_of(scope), is_due=is_due)
        if not is_made:
            return Answer.of_json(shown)
        applied = {"Preference_Applied": preferred[0].strip(" ,;")} if preferred else {}
        return Answer.of_json(shown, 201, Location=shown["urls"]["get"], **applied)

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        body = errors.body(problem, request_id=header_of(scope, "x-request-id"))
        answer = Answer.of_json(body, body["status"])
        return Answer(answer.status, answer.body, errors.headers(problem))


DIALECT = Replicate()
webhooks.teach(DIALECT.name, telling.Telling())
