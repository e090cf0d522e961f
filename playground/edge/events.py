"""Server-sent events of one prediction, until its end."""

from __future__ import annotations

import asyncio
import re
from uuid import UUID

import redis

from playground import predictions
from playground.api import rates
from playground.api.problems import Problem
from playground.edge.answers import ID_HEADER, answer, rate_headers
from playground.edge.callers import Caller
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, Watcher, hub
from playground.edge.present import Present
from playground.edge.protocol import Receive, Scope, Send, header, while_here

HEARTBEAT_SECONDS = 15.0
MAX_PER_WORKSPACE = 2_000
FULL_SECONDS = 10  # after which to come again
_crowd = Crowd(MAX_PER_WORKSPACE)
_NUMBER = re.compile(r"[0-9]{1,18}")
FIRST_SECONDS = 10.0  # in which Redis or the database must have told the present state


async def stream(public_id: UUID, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `GET` or `HEAD /api/v1/predictions/<id>/events`. Raises Problem before anything is sent.

    The present state comes at once, the end last. An EventSource that comes back after the end gets 204, which tells
    it to stay away.
    """
    try:
        with _crowd.place(caller.workspace):
            rate = await _counted(caller)
            await _follow(public_id, caller, rate, scope, receive, send)
    except Full:
        detail = f"The workspace has {MAX_PER_WORKSPACE:,} streams open here, the most it may."
        raise Problem("throttled", detail, headers={"Retry-After": str(FULL_SECONDS)}) from None


async def _counted(caller: Caller) -> rates.Rate | None:
    """Count the request where the API counts. Raises Problem for one too many; without Redis none is."""
    if not rates.limit():
        return None
    try:
        rate = rates.rate(await hub().reads.count(rates.counter(caller.counted_as)))
    except (redis.RedisError, OSError):
        return None
    if rate.is_over:
        raise rates.throttled(rate)
    return rate


async def _follow(
    public_id: UUID, caller: Caller, rate: rates.Rate | None, scope: Scope, receive: Receive, send: Send
) -> None:
    async with hub().watch(public_id) as watcher:
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await anext(watcher)
        except predictions.NotFound:
            raise _missing() from None
        except (TimeoutError, Gone):
            raise Problem(
                "unavailable", "The state cannot be read now.", headers={"Retry-After": "2"}
            ) from None
        if not caller.sees(first.state["workspace"], first.state.get("key")):
            raise _missing()
        last = header(scope, b"last-event-id")
        if first.is_end and _NUMBER.fullmatch(last) and int(last) >= first.seq:
            seen = [(b"cache-control", b"no-store"), (ID_HEADER, header(scope, ID_HEADER).encode())]
            await answer(send, 204, [*seen, *rate_headers(rate)])
            return
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (ID_HEADER, header(scope, ID_HEADER).encode()),
            *rate_headers(rate),
        ]
        if scope["method"] == "HEAD":
            await answer(send, 200, headers, is_head=True)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await while_here(receive, _send_all(watcher, first, send))


def _missing() -> Problem:
    return Problem("not_found", "There is no such prediction in this workspace.")


async def _send_all(watcher: Watcher, first: Present, send: Send) -> None:
    await send(_frame(first, None))
    before = first
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                present = await anext(watcher)
        except TimeoutError:
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        except (StopAsyncIteration, Gone):
            break
        else:
            await send(_frame(present, before))
            before = present
    await send({"type": "http.response.body"})


def _frame(present: Present, before: Present | None) -> dict[str, object]:
    body = b"id: %d\ndata: %s\n\n" % (present.seq, present.event(before))
    return {"type": "http.response.body", "body": body, "more_body": True}
