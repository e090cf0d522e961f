"""The site as one ASGI application: what waits, streams or is large is answered here, all else by Django."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import redis
from django.db import Error as DatabaseError

from playground.api.problems import Problem
from playground.edge import cors, events, gate, held, intake, media, own, speakers, uploads
from playground.edge.answers import answer_problem, name_request
from playground.edge.hub import hub
from playground.edge.inner import Inner
from playground.edge.own import OWN
from playground.edge.polls import Polls
from playground.edge.protocol import Message, Receive, Scope, Send
from playground.facades.dialect import Dialect

log = logging.getLogger(__name__)

# Asked by our own pages, which hold a thread while they wait: with threads of its own it always gets to answer them.
STRIPE = re.compile(r"/-/stripe/v[12]/")
STRIPE_THREADS = 4


class Site:
    """HTTP in front of Django."""

    def __init__(self) -> None:
        self._inner = Inner()
        self._stripe = Inner(ThreadPoolExecutor(STRIPE_THREADS, thread_name_prefix="stripe"))
        self._polls = Polls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = dict(scope)
        request_id = name_request(scope)
        dialect = speakers.placed(scope)
        if dialect is not None:
            if cors.is_preflight(scope):
                await cors.answer_preflight(scope, send, request_id)
                return
            cors.forget_strangers_cookies(scope)
            send = cors.open_to_all(send)
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._route(dialect, scope, receive, watched)
        except Exception as error:
            if has_started:
                raise
            await answer_problem(send, _problem_of(error, scope["path"]), request_id, scope)

    async def _route(self, dialect: Dialect | None, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        refused = gate.refusal(path, scope["headers"], scope["method"])
        if refused is not None:
            raise refused
        if not gate.has_body(scope):
            await self._answer(dialect, scope, receive, send)
            return
        try:
            async with intake.taken_in(scope, receive) as taken:
                await self._answer(dialect, scope, taken, send)
        except intake.Unread:
            await self._inner({**scope, **intake.unread(scope)}, intake.nothing(), send)

    async def _answer(self, dialect: Dialect | None, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if dialect is not None:
            await self._spoken(dialect, scope, receive, send)
        elif path.startswith(media.PREFIX):
            await media.serve(scope, receive, send)
        elif STRIPE.match(path):
            await self._stripe(scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    async def _spoken(self, dialect: Dialect, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is asked in a protocol, our own or another."""
        if dialect is not OWN and gate.view_at(scope["path"]) is None:
            raise gate.nothing_at(scope["path"])
        if dialect.uploads(scope):
            await uploads.serve(self._inner, scope, receive, send)
            return
        if dialect is OWN and (followed := own.followed(scope)) is not None:
            await events.serve(followed, scope, receive, send)
            return
        seconds, polled = dialect.waits(scope), dialect.polled(scope)
        if polled is not None and await self._polls.answer_now(polled, dialect, scope, send):
            return
        if seconds is None and dialect is OWN:
            await self._inner(scope, receive, send)
        else:
            await held.answer(self._inner, dialect, seconds, scope, receive, send)


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
