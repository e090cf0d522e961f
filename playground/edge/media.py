"""Media by capability: `/media/<token>/<name>`, whole or one range, a chunk at a time."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from urllib.parse import parse_qs

from django.core.files.storage import default_storage

from playground import assets
from playground.api.problems import Problem
from playground.assets.intake import THUMBNAIL_TYPE
from playground.edge import bucket
from playground.edge.answers import ID_HEADER, answer
from playground.edge.protocol import Headers, Receive, Scope, Send, header
from playground.edge.ranges import NotSatisfiable, Span, names, span_of
from playground.edge.threads import in_thread
from playground.examiner import extension_of
from playground.models import Asset

PREFIX = "/media/"
CHUNK_BYTES = 256 * 1024
KEEP_SECONDS = 1.0  # for which a deleted asset may still be served: long enough for the ranges of one film
MAX_KEPT = 4096
INLINE = {
    *("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"),
    *("audio/wav", "audio/mpeg", "audio/mp4", "audio/webm", "video/mp4", "video/webm"),
}
_SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    (b"referrer-policy", b"no-referrer"),
    # The address is all that it takes and no cookie counts: pages of other sites may show what they have one of.
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
]


@dataclass(frozen=True, slots=True)
class _Medium:
    """What is known of one file, and never changes."""

    storage_name: str
    media_type: str
    etag: str
    filename: str


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open file and the first chunk of what is wanted of it; `handle` is None when that is all."""

    handle: int | None
    size: int
    span: Span
    is_part: bool
    first: bytes


_known: dict[tuple[object, bool, bool], tuple[float, _Medium]] = {}


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request for a medium. Raises Problem."""
    if scope["method"] not in {"GET", "HEAD"}:
        raise Problem("method_not_allowed", "Media can be read only.", headers={"Allow": "GET, HEAD"})
    token, _, name = scope["path"].removeprefix(PREFIX).partition("/")
    allowed = assets.open_address(token) if token.isascii() and 0 < len(name) <= 200 else None
    medium = await _find(allowed) if allowed is not None else None
    if allowed is None or medium is None:
        raise _missing()
    headers = _headers(scope, medium, seconds_left=allowed.expires_at - int(time.time()))
    if names(header(scope, b"if-none-match"), medium.etag):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body"})
        return
    try:
        path = default_storage.path(medium.storage_name)
    except NotImplementedError:
        try:
            await bucket.serve(scope, send, medium.storage_name, headers)
        except FileNotFoundError:
            raise _missing() from None
        return
    await _send(scope, send, path, medium, headers)


async def _find(allowed: assets.Capability) -> _Medium | None:
    key = (allowed.asset, allowed.is_thumbnail, allowed.is_upload)
    until, medium = _known.get(key, (0.0, None))
    if medium is not None and until > time.monotonic():
        return medium
    _known.pop(key, None)
    medium = await in_thread(_look_up, allowed)
    if medium is not None:
        while len(_known) >= MAX_KEPT:
            _known.pop(next(iter(_known)))
        _known[key] = (time.monotonic() + KEEP_SECONDS, medium)
    return medium


def _look_up(allowed: assets.Capability) -> _Medium | None:
    row = Asset.objects.live().filter(allowed.names).first()
    if row is None:
        return None
    if allowed.is_thumbnail:
        name = row.thumbnail_name
        return (
            _Medium(name, THUMBNAIL_TYPE, f'"{row.sha256}-small"', f"{row.uid}-small.webp") if name else None
        )
    extension = extension_of(row.media_type)
    return _Medium(row.storage_name, row.media_type, f'"{row.sha256}"', f"{row.uid}.{extension}")


def _headers(scope: Scope, medium: _Medium, *, seconds_left: int) -> Headers:
    is_download = "download" in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    is_inline = medium.media_type in INLINE and not is_download
    disposition = f'{"inline" if is_inline else "attachment"}; filename="{medium.filename}"'
    return [
        (b"content-type", medium.media_type.encode()),
        (b"content-disposition", disposition.encode()),
        (b"etag", medium.etag.encode()),
        (b"cache-control", b"private, max-age=%d, immutable" % max(0, seconds_left)),
        (b"accept-ranges", b"bytes"),
        (ID_HEADER, header(scope, ID_HEADER).encode()),
        *_SAFE,
    ]


async def _send(scope: Scope, send: Send, path: str, medium: _Medium, headers: Headers) -> None:
    is_head = scope["method"] == "HEAD"
    wanted = header(scope, b"range") if not is_head else ""
    condition = header(scope, b"if-range").strip()
    if condition and condition != medium.etag:
        wanted = ""
    try:
        opened = await in_thread(_open, path, wanted, is_head=is_head)
    except FileNotFoundError:
        raise _missing() from None
    except NotSatisfiable as error:
        await answer(send, 416, [*headers, (b"content-range", b"bytes */%d" % error.args[0])])
        return
    try:
        span = opened.span
        headers = [*headers, (b"content-length", b"%d" % span.length)]
        if opened.is_part:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, span.end - 1, opened.size)))
        status = 206 if opened.is_part else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        at, chunk = span.start, opened.first
        while opened.handle is not None and chunk and at + len(chunk) < span.end:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            at += len(chunk)
            chunk = await in_thread(os.pread, opened.handle, min(CHUNK_BYTES, span.end - at), at)
        await send({"type": "http.response.body", "body": chunk})
    finally:
        if opened.handle is not None:
            os.close(opened.handle)


def _open(path: str, wanted: str, *, is_head: bool) -> _Opened:
    """Open and read the first chunk in one go: most media are no longer than that."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    keep = False
    try:
        size = os.fstat(handle).st_size
        try:
            part = span_of(wanted, size)
        except NotSatisfiable:
            raise NotSatisfiable(size) from None
        span = part or Span(0, size)
        first = b"" if is_head else os.pread(handle, min(CHUNK_BYTES, span.length), span.start)
        keep = not is_head and len(first) < span.length
        return _Opened(handle if keep else None, size, span, part is not None, first)
    finally:
        if not keep:
            os.close(handle)


def _missing() -> Problem:
    return Problem("not_found", "There is nothing at this address, or its time is over.")
