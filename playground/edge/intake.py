"""Bodies on their way in: whose they are, how many there is room for, and how slowly they may come.

Nothing of a body is read before it is known who answers for it. Of strangers come small ones only, and none at all
where the API would refuse them anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings

from playground.api.authentication import HasWorkspace
from playground.api.problems import RETRY_SECONDS, Problem
from playground.api.view import UNREAD_KEY
from playground.edge import gate
from playground.edge.callers import Caller, by_key, by_session, credential_of, session_of
from playground.edge.own import OWN
from playground.edge.protocol import Headers, Message, Receive, Scope, address_of, header
from playground.edge.room import Full, Place, Room
from playground.edge.speakers import speaker
from playground.edge.threads import in_thread

PACE_BYTES = 8 * 1024  # a second, on the whole: what a telephone of twenty years ago sends
GRACE_SECONDS = 20.0  # besides
STALL_SECONDS = 60.0  # of a file, without a byte: it may come over the worst of lines

ALL, STRANGERS = "all", "strangers"
_room = Room()


class Unread(Exception):
    """Who sends the body may not be here, and gets the answer to their request without it."""


@asynccontextmanager
async def taken_in(scope: Scope, receive: Receive) -> AsyncIterator[Receive]:
    """Let a body in: a `receive` that keeps to what is said here, for a request that has one.

    Raises Unread or Problem before a byte is read; Problem too from the `receive` itself.
    """
    method, length = scope["method"], gate.length_of(scope)
    is_file = gate.is_file(method, scope["path"])
    most, owners = await _terms(scope, length)
    if length is not None and length > most:
        raise gate.too_large(most)
    place = _room.place({} if is_file else owners)  # files go to a place of their own, with a quota
    body = _Body(receive, most, place, is_file=is_file)
    try:
        body.hold(length or 0)
        if method in gate.WITHOUT_BODY:
            await body.pass_by()
            scope["headers"] = _without_body(scope)
        yield body.receive
    finally:
        place.leave()


def unread(scope: Scope) -> dict[str, Any]:
    """What differs in the scope of a request that is answered without its body."""
    return {"headers": _without_body(scope), UNREAD_KEY: True}


def nothing() -> Receive:
    """The `receive` of a request without a body, whose client does not leave."""
    said = asyncio.Event()

    async def receive() -> Message:
        if said.is_set():
            await asyncio.Event().wait()
        said.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _without_body(scope: Scope) -> Headers:
    dropped = {b"content-length", b"transfer-encoding", b"expect"}
    return [pair for pair in scope["headers"] if pair[0] not in dropped]


async def _terms(scope: Scope, length: int | None) -> tuple[int, Mapping[str, int]]:
    """How many bytes the body may have, and what it counts as. Raises Unread."""
    total, small = int(settings.BODY_ROOM_BYTES), gate.stranger_limit()
    share = gate.share()  # all strangers together have one, of which an address gets one again
    of_address = max(share // gate.SHARES, small)
    strangers = {ALL: total, STRANGERS: share, f"address:{address_of(scope)}": of_address}
    if scope["method"] in gate.WITHOUT_BODY:
        return small, strangers
    is_small = length is not None and length <= small
    caller = await _caller(scope, is_small=is_small)
    if caller is not None:
        return gate.limit(scope["method"], scope["path"]), {ALL: total, caller.counted_as: share}
    may_be_somebody = is_small and session_of(scope) is not None and not _bears_key(scope)
    if _is_for_callers(scope["path"]) and not may_be_somebody:
        raise Unread
    return small, strangers


async def _caller(scope: Scope, *, is_small: bool) -> Caller | None:
    """Who answers for the body. What a session is worth is not asked for a small one: Django looks at it anyway."""
    if _bears_key(scope):
        credential = credential_of(scope)
        try:
            return await by_key(credential, origin=header(scope, b"origin")) if credential else None
        except Problem:  # Django says which
            return await _sponsored(scope)
    return await _sponsored(scope) or (None if is_small else await by_session(scope))


async def _sponsored(scope: Scope) -> Caller | None:
    """Who answers for it by a protocol's own means. Raises Problem."""
    dialect = speaker(scope["path"])
    workspace = await in_thread(dialect.sponsor, scope) if dialect not in {None, OWN} else None
    return Caller(workspace) if workspace is not None else None


def _bears_key(scope: Scope) -> bool:
    """Whether the request asks to be judged by a key, valid or not."""
    sent = header(scope, b"authorization").strip() or header(scope, b"x-api-key").strip()
    return speaker(scope["path"]) is not None and bool(sent)


def _is_for_callers(path: str) -> bool:
    """Whether everybody else is refused here, whatever the body says."""
    view = getattr(gate.view_at(path), "cls", None)
    return HasWorkspace in getattr(view, "permission_classes", ())


class _Body:
    """A body that is read: counted, measured, and waited for with some patience."""

    def __init__(self, receive: Receive, most: int, place: Place, *, is_file: bool) -> None:
        self._receive = receive
        self._most = most
        self._place = place
        self._is_file = is_file
        self._patience = STALL_SECONDS if is_file else GRACE_SECONDS
        self._came = 0
        self._waited = 0.0  # for the sender: what we are busy for ourselves is not counted
        self._end: Message | None = None
        self._is_passed = False

    def hold(self, size: int) -> None:
        """Have room for so much. Raises Problem."""
        try:
            self._place.hold(size)
        except Full as full:
            retry = {"Retry-After": str(RETRY_SECONDS)}
            if full.owner in {ALL, STRANGERS}:
                detail = "The server has its hands full of large requests. Try again in a moment."
                raise Problem("unavailable", detail, headers=retry) from None
            detail = "The bodies of your requests under way are as large together as they may be. Send fewer at once."
            raise Problem("throttled", detail, headers=retry) from None

    async def pass_by(self) -> None:
        """Take the body in and forget it: who reads it then finds an empty one."""
        while self._end is None:
            await self.receive()
        self._is_passed = True

    async def receive(self) -> Message:
        """The next piece. Raises Problem."""
        if self._is_passed and self._end is not None and self._end["type"] != "http.disconnect":
            self._is_passed = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._end is not None:
            # Who asks on after the end is done with the body, and waits for the client to leave.
            self._place.leave()
            return self._end if self._end["type"] == "http.disconnect" else await self._receive()
        message = await self._next()
        self._came += len(message.get("body", b""))
        if self._came > self._most:
            raise gate.too_large(self._most)
        self.hold(self._came)
        if not message.get("more_body", False):
            self._end = message
        return message

    async def _next(self) -> Message:
        before = time.monotonic()
        left = self._patience + self._came / PACE_BYTES - self._waited
        try:
            async with asyncio.timeout(min(self._patience, left)):
                return await self._receive()
        except TimeoutError:
            raise self._too_slow(is_stalled=left > self._patience) from None
        finally:
            self._waited += time.monotonic() - before

    def _too_slow(self, *, is_stalled: bool) -> Problem:
        why = (
            f"Nothing came for {self._patience:g} s."
            if is_stalled
            else f"The body came slower than {PACE_BYTES:,} bytes a second."
        )
        if self._is_file:
            return Problem("upload_stalled", f"{why} Send the file again.")
        return Problem("request_timeout", f"{why} Send the request again.")
