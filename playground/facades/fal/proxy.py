"""Where a request to the proxy address is meant to go.

It is answered here, as if it had been asked at the address that `x-fal-target-url` names: no request ever leaves this
server. The caller's own key counts; nobody's is lent to them.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from playground.facades.dialect import Scope, header_of
from playground.facades.fal.hosts import FACES, Addressed, addressed

TARGET_HEADER = "x-fal-target-url"
PATHS = ("/api/fal/proxy", "/fal/proxy")
METHODS = ("GET", "POST", "PUT")
MAX_LENGTH = 2048


def lead(scope: Scope) -> None:
    """Have a request to the proxy be one to its target. One that leads nowhere stays what it is, and is refused."""
    if scope["path"] not in PATHS:
        return
    found = target(scope["method"], scope["path"], header_of(scope, TARGET_HEADER))
    if found is not None:
        at, scope["query_string"] = found
        scope["path"], scope["raw_path"] = at.inside, at.inside.encode()


def target(method: str, path: str, wanted: str) -> tuple[Addressed, bytes] | None:
    """Where a request to the proxy is meant to go, and its query; None where it is none, or must not go there.

    `wanted` is the target as it was sent: hostile until it is found to be an address of one of fal's hosts.
    """
    if path not in PATHS or method not in METHODS or not 0 < len(wanted) <= MAX_LENGTH:
        return None
    if not wanted.isascii() or not wanted.isprintable() or "\\" in wanted or " " in wanted:
        return None
    try:
        parts = urlsplit(wanted)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or "@" in parts.netloc or port not in {None, 443} or host not in FACES:
        return None
    asked = unquote(parts.path)
    if not asked.startswith("/") or any(part in {".", ".."} for part in asked.split("/")):
        return None
    found = addressed(host, asked)
    return (found, parts.query.encode()) if found is not None else None
