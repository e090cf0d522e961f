"""Errors as Hugging Face's inference endpoints tell them: `{"error": "a sentence"}`."""

from __future__ import annotations

from playground.api.codes import CODES
from playground.api.problems import Problem

MOST_NAMED = 5  # of the fields that are wrong
# The JavaScript client sends a request again at once, and without end, as long as it is answered with 503.
NEVER, INSTEAD = 503, 502


def status_of(problem: Problem) -> int:
    status = CODES[problem.code].status
    return INSTEAD if status == NEVER else status


def error_of(problem: Problem) -> dict[str, str]:
    """The body. `error_type` is our own code of it."""
    sentences = [
        f"'{error.field.removeprefix('input.')}' {error.message.rstrip('.')}."
        for error in problem.errors[:MOST_NAMED]
    ]
    return {"error": " ".join(sentences) or problem.detail, "error_type": problem.code}
