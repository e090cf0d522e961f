"""What is let in: no body beyond the limit, none for an address that does not exist, no file of unknown length."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve

from playground.api.problems import Problem
from playground.edge.protocol import Scope
from playground.edge.speakers import speaker

MULTIPART_ROOM = 80 * 1024  # for what stands around a file
WHOLE = "/complete"  # where the parts of a file are put together: no file comes with that
WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}  # what some clients send along all the same is not looked at
# Of whom nobody knows. The forms of visitors (sign-in, sign-up, a new password, a code) have some hundred bytes, and
# what fits into one read of the network costs nothing to keep.
STRANGER_BYTES = 64 * 1024
SHARES = 4  # of the room for bodies; a caller gets one


def limit(method: str = "", path: str = "") -> int:
    """The most bytes that a body may have, whoever sends it; more where it is a file."""
    if is_file(method, path):
        return int(settings.MAX_UPLOAD_BYTES) + MULTIPART_ROOM
    if method in WITHOUT_BODY:
        return stranger_limit()
    return share() if is_form(method, path) else int(settings.MAX_BODY_BYTES)


def stranger_limit() -> int:
    """The most bytes of a body that nobody answers for."""
    return min(STRANGER_BYTES, int(settings.MAX_BODY_BYTES))


def is_file(method: str, path: str) -> bool:
    """Whether the body is a file, which is received as it comes and not kept back until it is whole."""
    dialect = speaker(path)
    is_errand = dialect is not None and dialect.uploads({"method": method, "path": path})
    return is_errand and not path.endswith(WHOLE)


def is_form(method: str, path: str) -> bool:
    """Whether the body may hold the files of a run. It waits on the disk until it is whole, and counts in the room."""
    dialect = speaker(path)
    return dialect is not None and dialect.forms({"method": method, "path": path})


def share() -> int:
    """The bytes of bodies that a caller may have here at once, which is also the most of one that holds files."""
    return max(int(settings.BODY_ROOM_BYTES) // SHARES, int(settings.MAX_BODY_BYTES))


def has_body(scope: Scope) -> bool:
    """Whether the headers announce a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in scope["headers"]
    )


def length_of(scope: Scope) -> int | None:
    """The bytes that the headers announce; None where they do not say how many will come."""
    said = dict(scope["headers"])
    return None if b"transfer-encoding" in said else int(said.get(b"content-length", 0))


def refusal(path: str, headers: Iterable[tuple[bytes, bytes]], method: str = "") -> Problem | None:
    """Why a request with a body is turned away, whoever sends it, before that is read; None if it may come in.

    Names in lower case.
    """
    lengths = [value for name, value in headers if name == b"content-length"]
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and is_file(method, path):
        return Problem("length_required", "Send the file with a Content-Length, not in chunks.")
    if lengths and not (len(lengths) == 1 and lengths[0].isdigit()):
        return Problem("malformed_request", "Content-Length must be one number.")
    if encodings and (encodings != [b"chunked"] or lengths):
        # Of two who read this, each might see another end of it.
        return Problem(
            "malformed_request", "A body has a Content-Length, or comes in chunks and no other way."
        )
    length = int(lengths[0]) if lengths and len(lengths[0]) < 20 else 2**63 if lengths else 0
    if not length and not encodings:
        return None
    if length > limit(method, path):
        return too_large(limit(method, path))
    return nothing_at(path) if view_at(path) is None else None


def nothing_at(path: str) -> Problem:
    """The error of an address that does not exist."""
    return Problem("not_found", f"There is nothing at {path[:200]}.")


@lru_cache(maxsize=512)
def view_at(path: str) -> Any:
    """What Django answers with at this address; None if there is nothing."""
    try:
        return resolve(path).func
    except Resolver404:
        return None


def too_large(most: int) -> Problem:
    """The error of a body beyond the limit."""
    detail = f"The body may have at most {most:,} bytes."
    return Problem("body_too_large", detail, members={"max_bytes": most})


def upgrade_with_body() -> Problem:
    """The error of a request that wants another protocol before its body has come: where would that end?"""
    return Problem("malformed_request", "A request with an Upgrade header has no body.")
