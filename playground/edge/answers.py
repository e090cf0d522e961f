"""What the edge says itself: whole answers, and problem+json as the API says it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from playground.api import rates
from playground.api.codes import CODES
from playground.api.problems import Problem
from playground.edge.own import OWN
from playground.edge.protocol import Headers, Scope, Send, header
from playground.edge.speakers import speaker
from playground.facades.dialect import problem_of
from playground.middleware import request_id_of
from playground.pages import errors

ID_HEADER = b"x-request-id"
PAGE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"


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


async def answer_problem(send: Send, problem: Problem, request_id: str, scope: Scope) -> None:
    """Send an error, as whoever asked reads it."""
    as_page = is_for_people(scope["path"], scope["headers"])
    status, headers, body = problem_parts(problem, request_id, scope, as_page=as_page)
    await answer(send, status, headers, body)


def is_for_people(path: str, headers: Headers) -> bool:
    """Whether an error at this address is looked at in a browser. Names of headers in lower case."""
    return errors.is_page(path) and b"text/html" in dict(headers).get(b"accept", b"")


def problem_parts(
    problem: Problem, request_id: str, scope: Scope, *, as_page: bool = False
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error: a page, or as the protocol at this address tells it, ours by default."""
    named = {"Cache-Control": "no-store", "X-Request-Id": request_id}
    if as_page:
        page = errors.plain_page(problem.code, request_id=request_id).encode()
        kind = {"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        headers = {**kind, **named, "Content-Security-Policy": PAGE_POLICY, **problem.headers}
        return CODES[problem.code].status, encoded(headers), page
    told = problem_of(speaker(scope["path"]) or OWN, problem, scope).plus(named)
    return told.status, encoded(told.headers), told.body


def encoded(headers: Mapping[str, str]) -> Headers:
    """Headers as ASGI takes them."""
    return [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
