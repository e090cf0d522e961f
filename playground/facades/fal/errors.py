"""From a problem of ours, or the end of a run, to the error bodies that fal's clients read.

Three kinds: what a model finds wrong (one entry per field, as pydantic writes them), everything else on the run, queue
and rest hosts (`detail` and `error_type`), and the platform API's own envelope. The first two carry a `message`, which
the JavaScript client shows instead of the bare status. Every answer names its request in `x-fal-request-id`, without
which the Python client takes a 5xx for a proxy's and tries again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from marketplace.schema import FieldError
from playground.api.codes import CODES
from playground.api.problems import Problem

ID_HEADER = "x-fal-request-id"
TYPE_HEADER = "X-Fal-Error-Type"
TIMEOUT_HEADER = "X-Fal-Request-Timeout-Type"
RETRY_HEADER = "X-Fal-Retryable"
UNITS_HEADER = "X-Fal-Billable-Units"
Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """What an unsuccessful end of a run is called here. `is_of_model`: told as a model tells what is wrong."""

    status: int
    type: str
    is_of_model: bool = False
    is_retryable: bool = False


# By the code of the run's error. What is found wrong only while it runs is the caller's to mend, as before the run.
_ENDS = {
    "invalid_input": End(422, "value_error", is_of_model=True),
    "unusable_input": End(422, "file_download_error", is_of_model=True),
    "unusable_output": End(422, "no_media_generated", is_of_model=True, is_retryable=True),
    "bad_weights": End(500, "internal_server_error", is_of_model=True),
    "engine_failed": End(500, "internal_server_error", is_of_model=True, is_retryable=True),
    "out_of_memory": End(500, "internal_server_error", is_of_model=True, is_retryable=True),
    "timeout": End(504, "generation_timeout", is_of_model=True),
    "hung": End(504, "generation_timeout", is_of_model=True),
    "start_deadline": End(504, "startup_timeout", is_retryable=True),
    "worker_lost": End(503, "runner_disconnected", is_retryable=True),
    "not_started": End(503, "runner_scheduling_failure", is_retryable=True),
    "not_stored": End(500, "internal_error", is_retryable=True),
    "ended_by_operator": End(500, "internal_error"),
}
_UNKNOWN = End(500, "internal_server_error", is_of_model=True)
_CANCELED = End(499, "client_cancelled")
_USERS_DEADLINE = End(504, "request_timeout")


def end_of(status: str, code: str, *, has_deadline: bool) -> End:
    """What to call the end of a run that did not succeed; `has_deadline`: its caller said when it had to start."""
    if status == "canceled":
        return _CANCELED
    if code == "start_deadline" and has_deadline:
        return _USERS_DEADLINE
    return _ENDS.get(code, _UNKNOWN)


def end_body(end: End, message: str, *, request_id: str) -> Members:
    """The body of the result of a run that did not succeed."""
    detail: Any = message
    if end.is_of_model:
        detail = [{"loc": ["body"], "msg": message, "type": end.type}]
    return {"detail": detail, "message": message, "error_type": end.type, "request_id": request_id}


def end_headers(end: End) -> dict[str, str]:
    """What goes with it."""
    headers = {TYPE_HEADER: end.type, RETRY_HEADER: "true" if end.is_retryable else "false"}
    if end is _USERS_DEADLINE:
        headers[TIMEOUT_HEADER] = "user"  # so that no client tries again what its user gave up
    return headers


def status_of(problem: Problem) -> int:
    """The HTTP status of a problem, as everywhere."""
    return CODES[problem.code].status


def body(problem: Problem, *, request_id: str) -> Members:
    """The body of an error on the run, queue and rest hosts."""
    detail: Any = problem.detail
    if problem.code == "invalid_input" and problem.errors:
        detail = [field_of(error) for error in problem.errors]
    return {
        "detail": detail,
        "message": problem.detail,
        "error_type": type_of(problem),
        "code": problem.code,
        **problem.members,
        "request_id": request_id,
    }


def headers(problem: Problem, *, request_id: str) -> dict[str, str]:
    """What goes with the body: which request it was, and what kind of error."""
    is_retryable = status_of(problem) in _RETRYABLE
    return {
        **problem.headers,
        ID_HEADER: request_id,
        TYPE_HEADER: type_of(problem),
        RETRY_HEADER: "true" if is_retryable else "false",
    }


_RETRYABLE = {429, 503, 504}  # by another time it may be otherwise
_TYPES = {
    "malformed_request": "bad_request",
    "internal_error": "internal_error",
    "unavailable": "runner_connection_error",
    "model_unavailable": "runner_scheduling_failure",
    "throttled": "rate_limited",
    "not_authenticated": "unauthorized",
    "invalid_key": "unauthorized",
}


def type_of(problem: Problem) -> str:
    """The kind of error in fal's own words where it has one, else in ours."""
    return str(problem.members.get("error_type") or _TYPES.get(problem.code, problem.code))


# How pydantic and fal call what our schemas find.
_FIELD_TYPES = {
    "required": "missing",
    "unknown": "extra_forbidden",
    "type": "type_error",
    "too_long": "string_too_long",
    "too_short": "string_too_short",
    "too_many": "sequence_too_long",
    "too_few": "sequence_too_short",
    "too_large": "less_than_equal",
    "too_small": "greater_than_equal",
    "pattern": "string_pattern_mismatch",
    "not_allowed": "one_of",
}


# A span as our schemas say it, in the words of a pydantic error's context.
_CONTEXT = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}
_PART = re.compile(r"[^.\[\]]+")


def field_of(error: FieldError) -> Members:
    """One wrong field, as a model's 422 lists it."""
    name = error.field.removeprefix("input.")
    where = "header" if name.lower().startswith("x-fal-") else "query" if name.startswith("fal_") else "body"
    parts = [int(part) if part.isdecimal() else part for part in _PART.findall(name)]
    kind = _FIELD_TYPES.get(error.code, error.code)
    shown: Members = {"loc": [where, *parts], "msg": error.message, "type": kind}
    if isinstance(error.allowed, dict):
        shown["ctx"] = {_CONTEXT.get(word, word): value for word, value in error.allowed.items()}
        shown["type"] = {
            ("less_than_equal", "lt"): "less_than",
            ("greater_than_equal", "gt"): "greater_than",
        }.get((kind, next((word for word in ("lt", "gt") if word in shown["ctx"]), "")), kind)
    elif error.allowed is not None:
        shown["ctx"] = {"expected": error.allowed}
    return shown


def platform_status(problem: Problem) -> int:
    """The status on the platform API, which knows no 422."""
    status = status_of(problem)
    return 400 if status == 422 else status


def platform_body(problem: Problem, *, request_id: str) -> Members:
    """The body of an error of the platform API, `api.fal.ai/v1`: its message says which fields are wrong, and `errors`
    besides what they may be."""
    told: Members = {
        "type": _PLATFORM.get(status_of(problem), "server_error"),
        "message": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.code == "invalid_input" and problem.errors:
        names = [(error.field.removeprefix("input."), error) for error in problem.errors]
        told["message"] = "; ".join(f"{name} {error.message}" for name, error in names)[:1000]
        told["errors"] = [
            {"field": name, "message": error.message, "allowed": error.allowed} for name, error in names
        ]
    return {"error": told}


_PLATFORM = {
    400: "validation_error",
    401: "authorization_error",
    402: "authorization_error",
    403: "authorization_error",
    404: "not_found",
    405: "not_found",
    409: "validation_error",
    413: "validation_error",
    415: "validation_error",
    422: "validation_error",
    429: "rate_limited",
}
