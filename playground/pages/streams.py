"""Answers that are sent while they are made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from django.http import StreamingHttpResponse


class Drip(StreamingHttpResponse):
    """A file for the reader to keep, made piece by piece as it is read. What its first piece raises is raised here.

    The edge sends it as it comes; any other streamed answer is complete before its first byte is sent.
    """

    def __init__(self, pieces: Iterator[bytes], *, content_type: str, filename: str) -> None:
        first = next(pieces, b"")
        super().__init__(chain([first], pieces), content_type=content_type)
        self.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
