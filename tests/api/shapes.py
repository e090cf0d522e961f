"""What every error looks like."""

from __future__ import annotations

from playground.api.codes import CODES, FIELD_CODES

MEMBERS = ("type", "title", "status", "detail", "code", "errors", "request_id")


def assert_problem(answer, code: str, *, field: str | None = None) -> dict:
    """The answer is the problem `code`, whole and in shape; its body."""
    body = answer.json()
    assert body.get("code") == code, body
    kind = CODES[code]
    assert answer.status_code == body["status"] == kind.status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == body["request_id"]
    assert body["title"]
    assert body["type"].endswith(code)
    assert body["detail"]
    assert set(body) == {*MEMBERS, *kind.extras}
    for error in body["errors"]:
        assert set(error) == {"field", "code", "message", "allowed"}
        assert error["code"] in FIELD_CODES
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
    return body
