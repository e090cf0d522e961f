"""Events: the state of a request as it changes, and what is seen of a run until it has made something."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from playground import predictions
from playground.facades.dialect import Document, Moment, Scope
from playground.facades.fal import show
from playground.facades.fal.dialect import queue_at
from playground.models import Prediction
from playground.predictions.present import moved


@dataclass(slots=True)
class States:
    """The events of `/status/stream`. A log is added up by who listens: each event has the lines that are new."""

    document: Document
    asked: Mapping[str, Any]
    at: str
    with_logs: bool
    untold: list[str] = field(default_factory=list)  # lines, while it waits: a state in the queue has no log

    @classmethod
    def of(cls, row: Prediction, scope: Scope, *, with_logs: bool) -> States:
        return cls(_document(row), row.asked or {}, queue_at(scope, row.model), with_logs)

    def frame(self, moment: Moment) -> bytes:
        self.untold += moment.logs
        document = _at(self.document, moment, self.untold)
        if document["status"] != Prediction.Status.QUEUED:
            self.untold = []
        return _event(show.status(document, self.asked, self.at, with_logs=self.with_logs))


@dataclass(slots=True)
class Pictures:
    """The events of `/stream`: previews as they come, each whole like a result, and last the result or the error."""

    document: Document
    asked: Mapping[str, Any]
    last: str | None = None

    @classmethod
    def of(cls, row: Prediction) -> Pictures:
        return cls(_document(row), row.asked or {})

    def frame(self, moment: Moment) -> bytes:
        if moment.is_end:
            status, _, body = show.result(_at(self.document, moment, ()), self.asked)
            return _event(
                body if status == 200 else {"type": "error", "error": {"status": status, "body": body}}
            )
        state, preview = moment.state, moment.state["preview"]
        if preview is None or preview == self.last:
            return b""
        self.last = preview
        picture = {"url": preview, "content_type": preview.partition(";")[0].removeprefix("data:")}
        progress = {"step": state["step"], "steps": state["steps"]}
        return _event({"images": [picture], "progress": progress, "is_preview": True})


def _document(row: Prediction) -> Document:
    return cast("Document", predictions.as_json(row))


def _at(document: Document, moment: Moment, lines: Sequence[str]) -> Document:
    """The document as it is at this moment, with these lines for its log."""
    then = moved(document, moment.state)
    return {**then, "logs": "\n".join(lines), "queue_position": moment.position}


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: %s\n\n" % json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
