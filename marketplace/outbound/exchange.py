"""One exchange: pinned to a checked address, ended at its deadline however slowly the other side drips."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import urljoin

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from marketplace.outbound.guard import Failed, Target, addresses_of, target_of

CHUNK_BYTES = 64 * 1024
REDIRECTS = {301, 302, 303, 307, 308}
AGENT = "Vitrine"
_OURS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
_NO_WAY = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
_BROKEN = (HTTPError, http.client.HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found. `file` is an unnamed file, at its start; whoever asked closes it."""

    url: str
    content_type: str  # as the server says, lower case, without parameters; empty if it says none
    size: int
    file: IO[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to a post. `body` is its beginning; `is_whole` says whether that is all."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


def get(
    url: str, *, max_bytes: int, seconds: float, redirects: int = 3, accept: Sequence[str] = ()
) -> Fetched:
    """Fetch one file of at most `max_bytes`, in at most `seconds` altogether. Raises Failed.

    `accept` names the media types that are wanted (`image/*` takes all of its kind); a server that declares another is
    not listened to, one that declares nothing definite is, so look at the bytes.
    """
    until = time.monotonic() + seconds
    for _ in range(redirects + 1):
        target = target_of(url)
        headers = {"Accept": ", ".join(accept) or "*/*"}
        with _asked(target, "GET", headers, None, until=until) as response:
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            if location is None:
                return _taken(target, response, max_bytes, accept, until=until)
        try:
            url = urljoin(target.url, location.strip())
        except ValueError:
            raise Failed("url", f"{target.host[:100]} leads on to something that is no address.") from None
    raise Failed("redirects", f"The address leads on more than {redirects} times.")


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, max_answer_bytes: int
) -> Answer:
    """Send `body`, and hear the answer: whatever its status, redirects included, which are not followed.

    Raises Failed when no status came within `seconds`. Of the body that follows it, as much is kept as came in time and
    is allowed.
    """
    until = time.monotonic() + seconds
    with _asked(target_of(url), "POST", headers, body, until=until) as response:
        heard = b""
        is_whole = False
        if response.headers.get("Content-Encoding", "identity").lower() == "identity":
            with contextlib.suppress(*_BROKEN):
                while len(heard) <= max_answer_bytes:
                    chunk = response.read(min(CHUNK_BYTES, max_answer_bytes + 1 - len(heard)))
                    if not chunk:
                        is_whole = True
                        break
                    heard += chunk
        return Answer(response.status, dict(response.headers), heard[:max_answer_bytes], is_whole)


def _taken(
    target: Target, response: HTTPResponse, max_bytes: int, accept: Sequence[str], *, until: float
) -> Fetched:
    if not 200 <= response.status < 300:
        raise Failed("status", f"{target.host[:100]} answered {response.status} instead of a file.")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if (
        accept
        and kind not in {"", "application/octet-stream", "binary/octet-stream"}
        and not _takes(accept, kind)
    ):
        raise Failed("media_type", f"{target.host[:100]} sent {kind[:60]}, not {' or '.join(accept)}.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise Failed("encoding", f"{target.host[:100]} sent a compressed answer, which was not asked for.")
    large = Failed("too_large", f"The file is larger than {max_bytes:,} bytes.")
    length = response.headers.get("Content-Length", "").strip()
    if length and not (length.isascii() and length.isdigit()):
        raise Failed("broken", f"{target.host[:100]} sent an answer that is no proper HTTP.")
    if length and (len(length) > 18 or int(length) > max_bytes):
        raise large
    file, size = tempfile.TemporaryFile(), 0  # noqa: SIM115 - handed on
    try:
        while chunk := response.read(CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise large
            file.write(chunk)
        if time.monotonic() >= until:  # what was cut off without a length looks whole
            raise _late(target)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Fetched(target.url, kind, size, file)


def _takes(accept: Sequence[str], kind: str) -> bool:
    return any(kind == one or (one.endswith("/*") and kind.startswith(one[:-1])) for one in accept)


@contextlib.contextmanager
def _asked(
    target: Target, method: str, headers: Mapping[str, str], body: bytes | None, *, until: float
) -> Iterator[HTTPResponse]:
    """The answer to one request, its body unread; what goes wrong inside the block comes out as Failed too."""
    addresses = addresses_of(target, until=until)
    deadline = _Deadline(until)
    connection: HTTPConnection | None = None
    response: HTTPResponse | None = None
    try:
        connection = _connection(target, addresses, deadline)
        connection.request(
            method,
            target.path,
            body=body,
            headers={
                "User-Agent": AGENT,
                **{name: value for name, value in headers.items() if name.lower() not in _OURS},
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            preload_content=False,
            decode_content=False,
            enforce_content_length=True,
        )
        response = connection.getresponse()
        yield response
    except Failed:
        raise
    except _BROKEN as error:
        raise _failed(target, error, is_late=deadline.is_over) from None
    finally:
        deadline.close()
        if response is not None:  # it holds the socket, too, until its body was read to the end
            response.close()
        if connection is not None:
            connection.close()


def _failed(target: Target, error: Exception, *, is_late: bool) -> Failed:
    """What to say of a fault of the connection: nothing of its insides, which tell of our own network."""
    host = target.host[:100]
    if is_late or isinstance(error, TimeoutError):
        return _late(target)
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return Failed(
            "tls", f"{host} could not be trusted: its certificate or its encryption is not in order."
        )
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return Failed("refused", f"{host} does not take connections on port {target.port}.")
    return Failed("broken", f"{host} ended the connection early, or sent an answer that is no proper HTTP.")


def _late(target: Target) -> Failed:
    return Failed("timeout", f"{target.host[:100]} did not answer in full in time.")


class _Deadline:
    """Cuts a connection off when the time is up, so that whoever reads or writes on it wakes."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.is_over = False
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._timer = threading.Timer(max(0.0, until - time.monotonic()), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def left(self) -> float:
        return max(0.001, self.until - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """`connection` is the one to cut, even when TLS has taken its handle over by then."""
        with self._lock:
            self._handle = connection.dup()
        if self.is_over:
            self._cut()

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _cut(self) -> None:
        self.is_over = True
        with self._lock:
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)


def _connection(target: Target, addresses: Sequence[str], deadline: _Deadline) -> HTTPConnection:
    """A connection that knows the host by its name and goes to one of the checked addresses. Raises OSError."""

    def open_socket() -> socket.socket:
        trouble: OSError = TimeoutError()
        for address in addresses:
            try:
                found = socket.create_connection((address, target.port), timeout=deadline.left())
            except OSError as error:
                trouble = error
                continue
            deadline.watch(found)
            return found
        raise trouble

    found: HTTPConnection
    if target.scheme == "https":
        found = HTTPSConnection(target.host, target.port, ssl_context=_trust(), timeout=deadline.left())
    else:
        found = HTTPConnection(target.host, target.port, timeout=deadline.left())
    found._new_conn = open_socket  # type: ignore[method-assign] # where urllib3 would resolve the name again
    return found


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificates; hosts must be who they say."""
    return ssl.create_default_context()
