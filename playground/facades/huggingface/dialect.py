"""What the edge and the views need of Hugging Face's inference endpoints: an answer is the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.api.problems import Problem
from playground.facades import made
from playground.facades.dialect import Answer, Basic, Document, Scope
from playground.facades.huggingface import errors
from playground.facades.huggingface.words import TABLE
from playground.models import Prediction

HELD_SECONDS = 290.0  # Node gives up on a server that is silent for 300; Python's client waits for ever
_FAILED = {"invalid_input": 422, "unusable_input": 422, "start_deadline": 504, "timeout": 504}


class HuggingFace(Basic):
    """One address a model, at `/hf/publisher/name`."""

    name = "huggingface"
    prefix = "/hf/"
    words = TABLE

    def waits(self, scope: Scope) -> float | None:
        return HELD_SECONDS if scope["method"] == "POST" else None

    def forms(self, scope: Scope) -> bool:
        return bool(scope["method"] == "POST")

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        status, error = document["status"], document["error"]
        if status not in Prediction.TERMINAL:
            sentence = f"The run {document['id']} is still {status}. Its result will be at {document['urls']['get']}."
            return _error(504, sentence, "timeout")
        if status != "succeeded":
            said = error or {"code": "canceled", "message": "The run was canceled."}
            http = 409 if status == "canceled" else _FAILED.get(said["code"], 500)
            return _error(http, said["message"], said["code"])
        try:
            for said_of in made.media(document["output"]):
                return Answer(200, made.contents(said_of), {"Content-Type": str(said_of["content_type"])})
        except made.Gone:
            pass
        return _error(404, "The file was deleted, or its time is over.", "not_found")

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        return Answer.of_json(errors.error_of(problem), errors.status_of(problem))


def _error(status: int, sentence: str, code: str) -> Answer:
    return Answer.of_json({"error": sentence, "error_type": code}, status)


DIALECT = HuggingFace()
