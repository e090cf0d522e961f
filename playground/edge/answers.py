"""What the edge says itself: whole answers, and problem+json as the API says it."""

from __future__ import annotations

import json
from typing import Any

from playground.api import problems, rates
from playground.api.codes import CODES
from playground.api.problems import Problem
from playground.edge.protocol import Headers, Scope, Send, header
from playground.middleware import request_id_of
from playground.pages import errors

ID_HEADER = b"x-request-id"
PAGE_POLICY = b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def dump(document: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def name_request(scope: Scope) -> str:
    """The request's id: the caller's if it is sane, else a new one, which Django then sees as the caller's."""
    request_id = request_id_of(header(scope, ID_HEADER))
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != ID_HEADER]
    scope["headers"].append((ID_HEADER, request_id.encode()))
    return request_id


def rate_headers(rate: rates.Rate | None) -> Headers:
    """Where the caller stands, as the API's own answers say it."""
    return [(name.lower().encode(), value.encode()) for name, value in rates.headers(rate).items()]


async def answer(
    send: Send, status: int, headers: Headers, body: bytes = b"", *, is_head: bool = False
) -> None:
    """Send one whole answer; to HEAD without its body."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})


async def answer_problem(send: Send, problem: Problem, request_id: str, *, as_page: bool = False) -> None:
    """Send an error."""
    status, headers, body = problem_parts(problem, request_id, as_page=as_page)
    await answer(send, status, headers, body)


def is_for_people(path: str, headers: Headers) -> bool:
    """Whether an error at this address is looked at in a browser. Names of headers in lower case."""
    return errors.is_page(path) and b"text/html" in dict(headers).get(b"accept", b"")


def problem_parts(problem: Problem, request_id: str, *, as_page: bool = False) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error, as a page or as problem+json."""
    kind = b"text/html; charset=utf-8" if as_page else problems.CONTENT_TYPE.encode()
    headers = [
        (b"content-type", kind),
        (b"cache-control", b"no-store"),
        (ID_HEADER, request_id.encode()),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    if as_page:
        headers += [(b"content-security-policy", PAGE_POLICY), (b"x-content-type-options", b"nosniff")]
        body = errors.plain_page(problem.code, request_id=request_id).encode()
    else:
        body = dump(problems.body(problem, request_id=request_id))
    return CODES[problem.code].status, headers, body
