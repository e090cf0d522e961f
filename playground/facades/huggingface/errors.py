"""Errors as Hugging Face's inference endpoints tell them: `{"error": "a sentence"}`."""

from __future__ import annotations

from playground.api.problems import Problem
from playground.facades import dialect
from playground.facades.sentences import sentences

# The JavaScript client sends a request again at once, and without end, as long as it is answered with 503.
NEVER, INSTEAD = 503, 502


def status_of(problem: Problem) -> int:
    status = dialect.status_of(problem)
    return INSTEAD if status == NEVER else status


def error_of(problem: Problem) -> dict[str, str]:
    """The body. `error_type` is our own code of it."""
    return {"error": sentences(problem.errors) or problem.detail, "error_type": problem.code}
