"""Browsers of any origin may call the API, with keys: cookies count on our own pages only.

Answers say `*` and never allow credentials, so no page of another site can read what a session may see. Besides, the
cookies of a request from another origin are not looked at at all.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.conf import settings

from playground.edge.answers import ID_HEADER, answer
from playground.edge.protocol import Headers, Message, Scope, Send, header

KEEP_SECONDS = 24 * 3600  # for which a browser need not ask again
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ASKED = (
    "Authorization, X-API-Key, Content-Type, Prefer, Idempotency-Key, Last-Event-ID, X-Request-Id, X-Filename"
)
_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(\s*,\s*[A-Za-z0-9-]{1,64}){0,63}")
SHOWN = (
    "X-Request-Id, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Idempotent-Replayed, Preference-Applied, WWW-Authenticate, Allow, Content-Disposition, "
    "X-Vitrine-Prediction, X-Vitrine-Ignored"
)
OPEN: Headers = [
    (b"access-control-allow-origin", b"*"),
    # The star is for the headers of other protocols; old browsers know the names.
    (b"access-control-expose-headers", f"*, {SHOWN}".encode()),
    # Pages of other sites may load what the API says, where they could not read more of it anyway.
    (b"cross-origin-resource-policy", b"cross-origin"),
]


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if it may ask."""
    return scope["method"] == "OPTIONS" and bool(header(scope, b"access-control-request-method"))


async def answer_preflight(scope: Scope, send: Send, request_id: str) -> None:
    """It may, with any headers: clients of every protocol have some of their own, and none of them means a cookie."""
    wanted = header(scope, b"access-control-request-headers").strip()
    asked = f"{ASKED}, {wanted}" if _NAMES.fullmatch(wanted) else ASKED
    headers = [
        *OPEN,
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-allow-headers", asked.encode()),
        (b"access-control-max-age", str(KEEP_SECONDS).encode()),
        (ID_HEADER, request_id.encode()),
    ]
    await answer(send, 204, headers)


def forget_strangers_cookies(scope: Scope) -> None:
    """Drop the cookies of a request that a page of another origin makes."""
    origin = header(scope, b"origin")
    if origin and not _is_ours(origin, scope):
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"cookie"]


def _is_ours(origin: str, scope: Scope) -> bool:
    if origin == settings.PUBLIC_URL:
        return True
    # Without an address of its own a server is called what people call it: the Host of the same request.
    try:
        return urlsplit(origin).netloc == header(scope, b"host")
    except ValueError:  # no origin that a browser would name, like one with half an IPv6 address
        return False


def open_to_all(send: Send) -> Send:
    """A `send` whose answers any page may read."""
    ours = {name for name, _ in OPEN}

    async def opened(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if pair[0].lower() not in ours]
            message = {**message, "headers": [*kept, *OPEN]}
        await send(message)

    return opened
