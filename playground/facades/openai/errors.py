"""Errors as the OpenAI API tells them: `{"error": {"message", "type", "param", "code"}}`, and whether to try again."""

from __future__ import annotations

from typing import Any, TypedDict

from playground.api.codes import CODES
from playground.api.problems import Problem
from playground.facades.sentences import bare, sentences

# Programs that were written for OpenAI decide by these; all others of our codes keep their name and status.
_NAMES: dict[str, tuple[int, str, str]] = {  # our code → status, type, code
    "not_authenticated": (401, "invalid_request_error", "invalid_api_key"),
    "invalid_key": (401, "invalid_request_error", "invalid_api_key"),
    "missing_scope": (403, "invalid_request_error", "insufficient_permissions"),
    "insufficient_credit": (429, "insufficient_quota", "insufficient_quota"),
    "limit_reached": (429, "insufficient_quota", "billing_hard_limit_reached"),
    "throttled": (429, "requests", "rate_limit_exceeded"),
    "too_many_runs": (429, "requests", "rate_limit_exceeded"),
    "malformed_request": (400, "invalid_request_error", "invalid_request"),
    "unsupported_media_type": (400, "invalid_request_error", "unsupported_content_type"),
    "invalid_input": (400, "invalid_request_error", "invalid_value"),
    "unusable_file": (400, "invalid_request_error", "invalid_file"),
    "url_not_fetched": (400, "invalid_request_error", "invalid_file"),
}
_FIELDS = {"required": "missing_required_parameter", "unknown": "unknown_parameter", "type": "invalid_type"}
# What the clients send again by themselves unless they are told not to, and what the same request may get past.
_REPEATED = {408, 409, 429}
_PASSING = {"internal_error", "request_timeout", "upload_stalled"}


class Absent(Problem):
    """What OpenAI has and this house has not: asking again helps nobody."""

    def __init__(self, detail: str) -> None:
        super().__init__("not_found", detail)


class ErrorJson(TypedDict):
    """What is in `error`."""

    message: str
    type: str
    param: str | None
    code: str | None


def error_of(problem: Problem) -> tuple[int, ErrorJson]:
    """The status and the error that tell of `problem`."""
    if isinstance(problem, Absent):
        return 501, _error(problem.detail, "invalid_request_error", None, "not_implemented")
    kind = CODES[problem.code]
    if problem.code == "not_found" and problem.members.get("param") == "model":
        return kind.status, _error(problem.detail, "invalid_request_error", "model", "model_not_found")
    otherwise = "server_error" if kind.status >= 500 else "invalid_request_error"
    status, type_, code = _NAMES.get(problem.code, (kind.status, otherwise, problem.code))
    code = problem.members.get("code", code)
    if not problem.errors:
        return status, _error(problem.detail, type_, problem.members.get("param"), code)
    first = problem.errors[0]
    param, code = bare(first.field), _FIELDS.get(first.code, code)
    return status, _error(sentences(problem.errors), type_, param, code)


def headers_of(problem: Problem, status: int) -> dict[str, str]:
    """The headers that go with it. What the same request could not change is not to be sent again."""
    headers = dict(problem.headers)
    if status in _REPEATED or status >= 500:
        may_help = "Retry-After" in headers or problem.code in _PASSING
        headers["x-should-retry"] = "true" if may_help else "false"
    return headers


def _error(message: str, type_: str, param: Any, code: str | None) -> ErrorJson:
    return {"message": message, "type": type_, "param": param, "code": code}
