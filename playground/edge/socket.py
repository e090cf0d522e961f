"""The live card over a websocket: `/ws/p/<id>`, from the page of the workspace that owns the prediction.

Close codes: 1000 after the last card, 1012 when the process ends (come again), 4401 not signed in, 4404 no such
prediction in this workspace, 4429 too many sockets.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from marketplace.ids import parse
from playground import predictions
from playground.edge.callers import by_session
from playground.edge.crowd import Crowd, Full
from playground.edge.hub import Gone, hub
from playground.edge.protocol import Receive, Scope, Send, header, while_here

MAX_PER_PERSON = 100
DONE, RESTARTING, SIGNED_OUT, MISSING, TOO_MANY = 1000, 1012, 4401, 4404, 4429
_PATH = re.compile(r"/ws/p/([0-9A-Za-z_-]{1,64})")

_crowd = Crowd(MAX_PER_PERSON)


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Show one prediction until its end. What the viewer says is not heard."""
    await receive()
    match = _PATH.fullmatch(scope["path"])
    if match is None or not _is_from_here(scope):
        await send({"type": "websocket.close"})  # before it was accepted: HTTP 403
        return
    await send({"type": "websocket.accept"})
    person = await by_session(scope)
    if person is None or person.user is None:
        await send({"type": "websocket.close", "code": SIGNED_OUT})
        return
    public_id = parse(match[1], "p")
    state = await hub().present(public_id) if public_id is not None else None
    if public_id is None or state is None or state["workspace"] != person.workspace:
        await send({"type": "websocket.close", "code": MISSING})
        return
    try:
        with _crowd.place(person.user):
            await while_here(receive, _show(public_id, send))
    except Full:
        await send({"type": "websocket.close", "code": TOO_MANY})


def _is_from_here(scope: Scope) -> bool:
    """Whether a page of this very host opened it: another port of the machine would get the cookie too."""
    origin = header(scope, b"origin")
    return urlsplit(origin).netloc == header(scope, b"host") or origin in settings.CSRF_TRUSTED_ORIGINS


async def _show(public_id: UUID, send: Send) -> None:
    code, shown = DONE, ""
    try:
        async with hub().watch(public_id) as watcher:
            async for present in watcher:
                html = await present.card()
                if html != shown:
                    await send({"type": "websocket.send", "text": html})
                    shown = html
    except Gone:
        code = RESTARTING
    except predictions.NotFound:
        code = MISSING
    await send({"type": "websocket.close", "code": code})
