"""A head that is turned away for its length: what still comes of it is thrown away, but for whether a browser asks.

The address comes before the headers, so that one that is too long is refused before anybody knows who looks at the
answer. Of a program that is known by the address already; of a page the rest of the head is waited for.
"""

from __future__ import annotations

from urllib.parse import unquote

REST_BYTES = 256 * 1024  # of a head; who sends more is answered without having been asked
LINE_BYTES = 1024  # of one header that are looked at
_NAME = b"accept:"


def path_of(line: bytes) -> str:
    """The path in the beginning of a request's first line, which may be cut anywhere."""
    _, _, address = line[:LINE_BYTES].partition(b" ")
    return unquote(address.split(b" ", 1)[0].split(b"?", 1)[0].decode("latin-1"))


class Rest:
    """The rest of a head as it comes."""

    def __init__(self) -> None:
        self._line = b""
        self._size = 0

    def asks_for_page(self, data: bytes) -> bool | None:
        """Whether a page is wanted, by the header that says so or the end of the head; None while neither has come."""
        self._size += len(data)
        *lines, last = data.split(b"\n")
        for line in lines:
            whole, self._line = (self._line + line[:LINE_BYTES]).rstrip(b"\r"), b""
            if not whole:
                return False
            if whole[: len(_NAME)].lower() == _NAME:
                return b"text/html" in whole
        self._line = (self._line + last[:LINE_BYTES])[:LINE_BYTES]
        return None if self._size <= REST_BYTES else False
