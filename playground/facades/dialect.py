"""What the edge and the base view need of a protocol: who it is for, what waits, and how things are shown in it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NotRequired, Protocol, TypeVar
from uuid import UUID

from django.conf import settings

from playground.api.codes import CODES
from playground.api.problems import Problem
from playground.facades.words import Table
from playground.live import State
from playground.models import Prediction
from playground.predictions.present import PredictionJson

T = TypeVar("T")
Scope = MutableMapping[str, Any]
ORIGINAL_PATH = (
    "vitrine.path"  # in a scope: the path that was asked for, where Host decided the address on the map
)


class Document(PredictionJson):
    """A run as `/api/v1` shows it, and, while it waits, how many are ahead of it; None where that is not known."""

    queue_position: NotRequired[int | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Names of headers as people write them; `Content-Type` is one of them."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, document: Any, status: int = 200, **headers: str) -> Answer:
        """An answer in JSON; `headers` with `_` for `-`."""
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, body, {"Content-Type": "application/json"} | named)

    def plus(self, headers: Mapping[str, str]) -> Answer:
        """With more headers; its own win."""
        return replace(self, headers={**headers, **self.headers})


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a run that is followed: the newest state, and what is new in it for this viewer."""

    state: State
    seq: int
    logs: Sequence[str]  # lines that were not in an earlier moment
    is_end: bool
    position: int | None = None  # how many are ahead, while it waits
    reason: str | None = None  # why it waits


class Frames(Protocol):
    """What one viewer of a stream is sent. One object per stream, so it may remember what it has said."""

    def frame(self, moment: Moment) -> bytes:
        """The events of this moment, ready to be sent; empty for none. After the one of the end nothing follows."""
        ...


class Crowded(Exception):
    """The workspace has `most` talks open in this process, and no more may be."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} connections of this workspace are open. Close one.")
        self.most = most


class Ending(Exception):
    """The process ends, and whatever waits in it."""


class Floor(Protocol):
    """What the edge lends to one talk: the line, threads, and the ends of runs."""

    async def hear(self) -> bytes | str | None:
        """The next message; None once the other side has left."""
        ...

    async def say(self, message: bytes | str) -> None:
        """Send a message, when the other side has read enough of what was sent before."""
        ...

    async def close(self, code: int) -> None:
        """Nothing more is said. Codes are those of RFC 6455."""
        ...

    def seat(self, workspace: int) -> AbstractContextManager[None]:
        """Be one of the workspace's talks while inside. Raises Crowded."""
        ...

    async def do(self, function: Callable[..., T], *args: Any) -> T:
        """Something short that blocks."""
        ...

    async def make(self, function: Callable[..., Prediction], *args: Any) -> Prediction:
        """Have `function` take a run in. Whoever is cancelled meanwhile leaves no run behind."""
        ...

    async def end(self, run: UUID) -> tuple[Document, Mapping[str, Any]] | None:
        """Wait for the end of a run: what it then is, and what was asked with it; None if it was deleted. Raises
        Ending."""
        ...

    async def drop(self, runs: Sequence[UUID]) -> None:
        """Cancel the runs that are still open: nobody waits for them."""
        ...


@dataclass(frozen=True, slots=True)
class Talk:
    """One such websocket, before it is opened.

    A message has at most `message_bytes`; of what came and was not heard yet about `waiting_bytes` are kept, and no
    more is read then. `hold` has the whole talk, from the moment it is open, and closes it.
    """

    message_bytes: int
    waiting_bytes: int
    hold: Callable[[Scope, Floor], Awaitable[None]]


class Dialect(Protocol):
    """One protocol.

    `show` and `problem` depend on the address of the request (method, scheme, host, path, query), on what `reader` says
    of who asks, and on nothing else of the scope but `Prefer`: what is shown once is shown to everybody of whom that is
    the same and who may see the run.
    """

    name: str  # of its directory, and of Prediction.Via
    words: Table

    def place(self, path: str, host: str) -> str | None:
        """The address on the site's map of a request to `path`; None if it is not for this protocol.

        `host` is in lower case and without a port.
        """
        ...

    def lead(self, scope: Scope) -> None:
        """Have a request that only stands for another one be that, before anything else is done with it."""
        ...

    def waits(self, scope: Scope) -> float | None:
        """Seconds that this request may be held for the end of the run it makes or asks for; None: answer at once."""
        ...

    def polled(self, scope: Scope) -> UUID | None:
        """The run that this request polls, if the answer depends on nothing but the document."""
        ...

    def reader(self, scope: Scope) -> str:
        """What kind of client this is, where what it is shown of a run depends on that."""
        ...

    def uploads(self, scope: Scope) -> bool:
        """Whether the body is a file, or the request is about one that the edge has to fetch or to join.

        Its view answers in two halves, see `playground.api.errands`.
        """
        ...

    def talk(self, scope: Scope) -> Talk | None:
        """The websocket at this address by which programs ask for runs. Its path is the one that was asked for."""
        ...

    def forms(self, scope: Scope) -> bool:
        """Whether the body is a form with the files of a run, which are larger than words; its view reads it whole."""
        ...

    def sponsor(self, scope: Scope) -> int | None:
        """The workspace that answers for the body where no key does, as by an address that allows whoever has it.

        None for nobody. Looks at the database. Raises Problem where nothing can be sent to.
        """
        ...

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        """A run, as this request wants it shown; `is_due`: the time that was to be waited is over."""
        ...

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        """An error. Its own headers (Retry-After …) are added to whatever the answer has."""
        ...


class Basic:
    """What most protocols have in common, to be inherited: an address prefix, nothing that waits, polls or uploads."""

    name: str
    prefix: str  # like `/v1/`

    def place(self, path: str, host: str) -> str | None:
        return path if path.startswith(self.prefix) else None

    def lead(self, scope: Scope) -> None:
        return

    def waits(self, scope: Scope) -> float | None:
        return None

    def polled(self, scope: Scope) -> UUID | None:
        return None

    def reader(self, scope: Scope) -> str:
        return ""

    def uploads(self, scope: Scope) -> bool:
        return False

    def talk(self, scope: Scope) -> Talk | None:
        return None

    def forms(self, scope: Scope) -> bool:
        return False

    def sponsor(self, scope: Scope) -> int | None:
        return None


def problem_of(dialect: Dialect, problem: Problem, scope: Scope) -> Answer:
    """The answer that tells of an error, with the headers that go with it."""
    return dialect.problem(problem, scope).plus(problem.headers)


def status_of(problem: Problem) -> int:
    """The status that `/api/v1` answers with."""
    return CODES[problem.code].status


def header_of(scope: Scope, name: str) -> str:
    """The value of a request header, several joined; empty if there is none."""
    wanted = name.lower().encode()
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == wanted)


def host_of(scope: Scope) -> str:
    """The Host of a request in lower case, without its port; empty without one."""
    host = header_of(scope, "host").strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def origin_of(scope: Scope) -> str:
    """Scheme and host as the caller used them: what addresses in answers begin with."""
    host = header_of(scope, "host")
    if not host:
        return str(settings.PUBLIC_URL)
    scheme = "https" if scope.get("scheme") in {"https", "wss"} else "http"
    named = settings.SECURE_PROXY_SSL_HEADER
    if named is not None:  # there is a proxy in front, which speaks to the caller
        said = header_of(scope, named[0].removeprefix("HTTP_").replace("_", "-"))
        if said:
            scheme = "https" if said.partition(",")[0].strip() == named[1] else "http"
    return f"{scheme}://{host}"


def address(scope: Scope, path: str) -> str:
    """The absolute address of `path` (on the site's map), as this caller has to call it.

    Who came by a Host that stands for a prefix gets the address without that prefix.
    """
    original = scope.get(ORIGINAL_PATH)
    if original is not None:
        prefix = scope["path"].removesuffix(original)
        path = path.removeprefix(prefix) if path.startswith(prefix) else path
    return origin_of(scope) + path
