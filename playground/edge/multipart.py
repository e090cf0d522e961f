"""The one file of a `multipart/form-data` body, as it streams past."""

from __future__ import annotations

from django.utils.http import parse_header_parameters

from playground.api.problems import Problem

MAX_BOUNDARY = 70  # RFC 2046
MAX_HEAD = 8 * 1024  # the headers of a part
MAX_OTHER = 64 * 1024  # what is not the file, all together


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names. Raises Problem."""
    boundary = parse_header_parameters(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise Problem("malformed_request", "The Content-Type multipart/form-data names no boundary.")
    return boundary.encode()


class OneFile:
    """Feed it the body; it gives back the bytes of the file, and knows what the part says of itself.

    With a `name` the file is the part of that name, and what all others hold is kept in `fields`, files or not.
    """

    def __init__(self, boundary: bytes, *, name: str = "") -> None:
        self.filename = ""
        self.content_type = ""
        self.fields: dict[str, bytes] = {}
        self._name = name
        self._field = ""  # the part that is being read, if it is kept
        self._delimiter = b"\r\n--" + boundary
        self._left = bytearray(b"\r\n")  # the first delimiter stands at the beginning of the body
        self._state = "other"
        self._seen_file = False
        self._other = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes of the file in it. Raises Problem for a body that is not in order."""
        self._left += data
        out = bytearray()
        while self._step(out):
            pass
        return bytes(out)

    def end(self) -> None:
        """The body is over. Raises Problem unless there was a file, and it was whole."""
        if self._state != "end":
            raise Problem("malformed_request", "The multipart body ends before its last boundary.")
        if not self._seen_file:
            raise Problem("malformed_request", "The multipart body holds no file: a part with a filename.")

    def _step(self, out: bytearray) -> bool:
        """Take what can be told from what is there; whether there may be more."""
        if self._state == "end":
            self._left.clear()
            return False
        if self._state in {"other", "file"}:
            return self._content(out)
        if self._state == "between":
            if len(self._left) < 2:
                return False
            if self._left[:2] == b"--":
                self._state = "end"
                return True
            if self._left[:2] != b"\r\n":
                raise Problem("malformed_request", "The multipart body has something behind a boundary.")
            self._state = "head"
        return self._head()

    def _content(self, out: bytearray) -> bool:
        at = self._left.find(self._delimiter)
        sure = at if at >= 0 else max(0, len(self._left) - len(self._delimiter) + 1)
        if self._state == "file":
            out += self._left[:sure]
        else:
            self._pass_over(sure)
            if self._field:
                self.fields[self._field] += self._left[:sure]
        del self._left[:sure]
        if at < 0:
            return False
        del self._left[: len(self._delimiter)]
        self._state = "between"
        return True

    def _pass_over(self, size: int) -> None:
        """Count what is not the file. Heads count too: a body of nothing but empty parts would be read for minutes."""
        self._other += size
        if self._other > MAX_OTHER:
            raise Problem("malformed_request", "The multipart body holds too much beside its file.")

    def _head(self) -> bool:
        at = self._left.find(b"\r\n\r\n")
        if at < 0 or at > MAX_HEAD:
            if len(self._left) > MAX_HEAD:
                raise Problem("malformed_request", "A part of the multipart body has too long a head.")
            return False
        self._pass_over(at + 4)
        lines = bytes(self._left[:at]).decode("utf-8", "replace").split("\r\n")
        del self._left[: at + 4]
        said = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        kind, parameters = parse_header_parameters(said.get("content-disposition", ""))
        named = parameters.get("name", "") if kind == "form-data" else ""
        is_file = kind == "form-data" and "filename" in parameters and self._name in {"", named}
        self._field = named if self._name and not is_file else ""
        if not is_file:
            self._state = "other"
            if self._field:
                self.fields[self._field] = b""
            return True
        if self._seen_file:
            raise Problem("malformed_request", "Send one file a request.")
        self._seen_file, self._state = True, "file"
        self.filename, self.content_type = parameters["filename"], said.get("content-type", "")
        return True
