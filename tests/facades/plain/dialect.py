"""What the edge asks it. It calls itself as one of the real ones does, because runs tell who made them."""

from __future__ import annotations

import re

from marketplace.ids import parse
from playground.facades.dialect import Answer, Basic, address, header_of, status_of
from playground.facades.vocabulary import SHARED
from playground.facades.words import Table

_ONE = re.compile(r"/plain/runs/([^/]+)")


class Plain(Basic):
    name = "replicate"
    prefix = "/plain/"
    words = Table(SHARED)

    def place(self, path, host):
        return f"/plain{path}" if host == "plain.test" else super().place(path, host)

    def waits(self, scope):
        asked = header_of(scope, "x-patience")
        return float(asked) if asked else None

    def polled(self, scope):
        one = _ONE.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        return parse(one[1], "p") if one else None

    def uploads(self, scope):
        return scope["path"] == "/plain/files"

    def show(self, document, asked, scope, *, is_due=False):
        shown = {
            "run": document["id"],
            "is": document["status"],
            "ahead": document.get("queue_position"),
            "late": is_due,
            "asked": dict(asked),
            "at": address(scope, f"/plain/runs/{document['id']}"),
        }
        return Answer.of_json(shown, 201 if scope["method"] == "POST" else 200, X_Plain="yes")

    def problem(self, problem, scope):
        fields = [error.field for error in problem.errors]
        return Answer.of_json({"wrong": problem.code, "fields": fields}, status_of(problem), X_Plain="yes")


DIALECT = Plain()


class Lines:
    """Its events: a line for each moment."""

    def __init__(self):
        self.seen = 0

    def frame(self, moment):
        self.seen += 1
        return f"{self.seen} {moment.state['status']} {moment.state['step']} {len(moment.logs)}\n".encode()
