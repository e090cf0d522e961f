"""Server-sent events of one prediction, until its end: our own, and those of other protocols."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import redis

from marketplace.ids import parse
from playground import predictions
from playground.api import rates
from playground.api.problems import Problem
from playground.edge.answers import ID_HEADER, answer, rate_headers
from playground.edge.callers import Caller, caller_of
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, Watcher, hub
from playground.edge.present import Present
from playground.edge.protocol import Headers, Receive, Scope, Send, header, while_here
from playground.edge.threads import in_thread
from playground.facades.dialect import Frames, Moment

HEARTBEAT_SECONDS = 10.0  # there are clients that give up after 15 without a byte
HEARTBEAT = b":\n\n"  # a comment, which no client takes for an event
STREAMED: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
MAX_PER_WORKSPACE = 2_000
FULL_SECONDS = 10  # after which to come again
_crowd = Crowd(MAX_PER_WORKSPACE)
_NUMBER = re.compile(r"[0-9]{1,18}")
Frame = Callable[[Present, Present | None], bytes]
FIRST_SECONDS = 10.0  # in which Redis or the database must have told the present state


async def serve(prediction_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `GET` or `HEAD /api/v1/predictions/<id>/events`. Raises Problem before anything is sent."""
    caller = await caller_of(scope)
    caller.need("predictions:read")
    public_id = parse(prediction_id, "p")
    if public_id is None:
        raise _missing()
    await stream(public_id, caller, scope, receive, send)


async def follow(
    public_id: UUID, frames: Frames, said: Headers, scope: Scope, receive: Receive, send: Send
) -> None:
    """Tell the moments of a run in another protocol's events, from the present one to the end.

    Django has let the caller in; of what it `said`, the headers that are not about its body go along. Raises Problem
    before anything is sent.
    """
    dropped = {b"content-type", b"content-length", b"cache-control"}
    kept = [pair for pair in said if pair[0].lower() not in dropped]
    async with _first_of(public_id) as (watcher, first):
        try:
            with _crowd.place(first.state["workspace"]):
                if scope["method"] == "HEAD":
                    await answer(send, 200, [*kept, *STREAMED], is_head=True)
                    return
                start = {"type": "http.response.start", "status": 200, "headers": [*kept, *STREAMED]}
                await send(start)
                await while_here(receive, _send_all(watcher, first, send, _Spoken(frames).frame))
        except Full:
            raise _too_many() from None


async def stream(public_id: UUID, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
    """Send our own events of one run to a caller. Raises Problem before anything is sent.

    The present state comes at once, the end last. An EventSource that comes back after the end gets 204, which tells
    it to stay away.
    """
    try:
        with _crowd.place(caller.workspace):
            rate = await _counted(caller)
            await _follow(public_id, caller, rate, scope, receive, send)
    except Full:
        raise _too_many() from None


def _too_many() -> Problem:
    detail = f"The workspace has {MAX_PER_WORKSPACE:,} streams open here, the most it may."
    return Problem("throttled", detail, headers={"Retry-After": str(FULL_SECONDS)})


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
    async with _first_of(public_id) as (watcher, first):
        if not caller.sees(first.state["workspace"], first.state.get("key")):
            raise _missing()
        last = header(scope, b"last-event-id")
        if first.is_end and _NUMBER.fullmatch(last) and int(last) >= first.seq:
            seen = [(b"cache-control", b"no-store"), (ID_HEADER, header(scope, ID_HEADER).encode())]
            await answer(send, 204, [*seen, *rate_headers(rate)])
            return
        headers = [*STREAMED, (ID_HEADER, header(scope, ID_HEADER).encode()), *rate_headers(rate)]
        if scope["method"] == "HEAD":
            await answer(send, 200, headers, is_head=True)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await while_here(receive, _send_all(watcher, first, send, _frame))


@asynccontextmanager
async def _first_of(public_id: UUID) -> AsyncIterator[tuple[Watcher, Present]]:
    """A watcher and the present it begins with. Raises Problem."""
    async with hub().watch(public_id) as watcher:
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await anext(watcher)
        except predictions.NotFound:
            raise _missing() from None
        except (TimeoutError, Gone):
            detail = "The state cannot be read now."
            raise Problem("unavailable", detail, headers={"Retry-After": "2"}) from None
        yield watcher, first


def _missing() -> Problem:
    return Problem("not_found", "There is no such prediction in this workspace.")


async def _send_all(watcher: Watcher, first: Present, send: Send, frame: Frame) -> None:
    present, before = first, None
    while True:
        # The end may be told with the media themselves, which are read then.
        body = await in_thread(frame, present, before) if present.is_end else frame(present, before)
        if body:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        before = present
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        present = await anext(watcher)
                    break
                except TimeoutError:
                    await send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
        except (StopAsyncIteration, Gone):
            break
    await send({"type": "http.response.body"})


def _frame(present: Present, before: Present | None) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (present.seq, present.event(before))


class _Spoken:
    """Moments in the words of another protocol."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def frame(self, present: Present, before: Present | None) -> bytes:
        return self._frames.frame(
            Moment(
                present.state,
                present.seq,
                present.new_logs(before),
                present.is_end,
                present.position,
                present.reason,
            )
        )
