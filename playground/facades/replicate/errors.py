"""From a problem of ours to the bodies that Replicate's clients read: `title`, `detail`, `status`, and for a wrong
input `invalid_fields`.

The members of our own API stay beside them, so that nobody who needs a code or a figure has to parse a sentence.
"""

from __future__ import annotations

from typing import Any

from marketplace.schema import FieldError
from playground.api.codes import CODES, Code
from playground.api.problems import CONTENT_TYPE, Problem

Members = dict[str, Any]
_ABSENT = Code("not_implemented", 501, "Not implemented", "There is no such thing in this house.")


class Absent(Problem):
    """What Replicate has and this house has not: asking again helps nobody."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_found", detail)


_TITLES = {
    "not_authenticated": "Unauthenticated",
    "invalid_key": "Unauthenticated",
    "not_found": "Not found",
    "insufficient_credit": "Insufficient credit",
    "invalid_input": "Input validation failed",
    "throttled": "Too many requests",
}
# What is wrong with a field, in the words of the validator that Replicate uses.
_TYPES = {
    "required": "required",
    "unknown": "additional_property_not_allowed",
    "type": "invalid_type",
    "not_allowed": "enum",
    "too_small": "number_gte",
    "too_large": "number_lte",
    "multiple_of": "multiple_of",
    "too_short": "string_gte",
    "too_long": "string_lte",
    "too_few": "array_min_items",
    "too_many": "array_max_items",
    "pattern": "pattern",
    "repeated": "unique",
}


def body(problem: Problem, *, request_id: str) -> Members:
    """The members of the answer. `problem.errors` name fields as the caller spelled them."""
    kind = kind_of(problem)
    fields = [field(error) for error in problem.errors]
    detail = problem.detail
    if problem.code == "invalid_input" and fields:
        detail = "".join(f"- {_at(one)}{one['description']}\n" for one in fields)
    shown: Members = {
        "type": f"urn:vitrine:problem:{kind.code}",
        "title": _TITLES.get(kind.code, kind.title),
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
        **problem.members,
        "request_id": request_id,
    }
    if fields:
        shown["invalid_fields"] = fields
    return shown


def kind_of(problem: Problem) -> Code:
    """Its code, status and title."""
    return _ABSENT if isinstance(problem, Absent) else CODES[problem.code]


def field(error: FieldError) -> Members:
    """One wrong field. One that is missing, or too many, is said of what it is missing in."""
    outer, _, name = error.field.rpartition(".")
    if error.code == "required":
        return _field("required", outer, f"{name} is required", error)
    if error.code == "unknown":
        return _field(_TYPES["unknown"], outer, f"Additional property {name} is not allowed", error)
    return _field(_TYPES.get(error.code, error.code), error.field, f"{name} {error.message}", error)


def headers(problem: Problem) -> dict[str, str]:
    """What goes with the body. A refusal that stays one is not worth a second try, whatever its status."""
    again = {"throttled", "unavailable", "too_many_runs", "too_many_uploads", "idempotency_in_flight"}
    is_last = problem.code not in again and kind_of(problem).status != 500
    lasting = {"x-should-retry": "false"} if is_last else {}
    return {"Content-Type": CONTENT_TYPE, **lasting, **problem.headers}


def _field(kind: str, at: str, description: str, error: FieldError) -> Members:
    return {"type": kind, "field": at, "description": description, "allowed": error.allowed}


def _at(one: Members) -> str:
    return f"{one['field']}: " if one["field"] else ""
