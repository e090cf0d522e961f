"""The site as one ASGI application: what waits, streams or is large is answered here, all else by Django."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import redis
from django.db import Error as DatabaseError

from marketplace.ids import parse
from playground.api.problems import Problem
from playground.edge import cors, events, gate, intake, media, uploads, waits
from playground.edge.answers import answer_problem, is_for_people, name_request
from playground.edge.callers import caller_of
from playground.edge.hub import hub
from playground.edge.inner import Inner
from playground.edge.polls import Polls
from playground.edge.protocol import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

PREDICTIONS = "/api/v1/predictions"
# Asked by our own pages, which hold a thread while they wait: with threads of its own it always gets to answer them.
STRIPE = re.compile(r"/-/stripe/v[12]/")
STRIPE_THREADS = 4
_ONE = re.compile(PREDICTIONS + r"/([^/]{1,64})(/events)?")


class Site:
    """HTTP in front of Django."""

    def __init__(self) -> None:
        self._inner = Inner()
        self._stripe = Inner(ThreadPoolExecutor(STRIPE_THREADS, thread_name_prefix="stripe"))
        self._polls = Polls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = dict(scope)
        request_id = name_request(scope)
        if cors.is_api(scope):
            if cors.is_preflight(scope):
                await cors.answer_preflight(send, request_id)
                return
            cors.forget_strangers_cookies(scope)
            send = cors.open_to_all(send)
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._route(scope, receive, watched)
        except Exception as error:
            if has_started:
                raise
            as_page = is_for_people(scope["path"], scope["headers"])
            await answer_problem(send, _problem_of(error, scope["path"]), request_id, as_page=as_page)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        refused = gate.refusal(path, scope["headers"], scope["method"])
        if refused is not None:
            raise refused
        if not gate.has_body(scope):
            await self._answer(path, scope, receive, send)
            return
        try:
            async with intake.taken_in(scope, receive) as taken:
                await self._answer(path, scope, taken, send)
        except intake.Unread:
            await self._inner({**scope, **intake.unread(scope)}, intake.nothing(), send)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path.startswith(media.PREFIX):
            await media.serve(scope, receive, send)
        elif uploads.is_errand(scope):
            await uploads.serve(self._inner, scope, receive, send)
        elif STRIPE.match(path):
            await self._stripe(scope, receive, send)
        elif path.startswith(PREDICTIONS):
            await self._predictions(path, scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    async def _predictions(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        one, method = _ONE.fullmatch(path), scope["method"]
        if one is not None and one[2] and method in {"GET", "HEAD"}:
            caller = await caller_of(scope)
            caller.need("predictions:read")
            public_id = parse(one[1], "p")
            if public_id is None:
                raise Problem("not_found", "There is no such prediction in this workspace.")
            await events.stream(public_id, caller, scope, receive, send)
            return
        seconds = None
        if method == "POST" and path == PREDICTIONS:
            seconds = waits.preferred(scope)
        elif method == "GET" and one is not None and not one[2]:
            seconds = waits.queried(scope)
        if seconds is not None:
            await waits.answer_at_end(self._inner, seconds, scope, receive, send)
            return
        is_plain = one is not None and not one[2] and method == "GET" and not scope["query_string"]
        polled = parse(one[1], "p") if one is not None and is_plain else None
        if polled is None or not await self._polls.answer_now(polled, scope, send):
            await self._inner(scope, receive, send)


def _problem_of(error: Exception, path: str) -> Problem:
    """What to tell of an error of the edge's own, as the API tells it."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (DatabaseError, redis.RedisError, OSError)):
        log.warning("%s cannot be answered now: %s", path, error)
        detail = "The server is not fully up. Try again in a moment."
        return Problem("unavailable", detail, headers={"Retry-After": "2"})
    log.error("%s failed", path, exc_info=error)
    return Problem("internal_error", "Something went wrong on our side. Nothing was charged.")


async def close() -> None:
    """Let everybody who waits go: the process ends."""
    await hub().close()


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and end, for servers that announce them."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
