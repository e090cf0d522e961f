"""Messages of a realtime connection: what they say, how they are answered, and which of them wait.

Inputs and results are msgpack in binary frames; an input may come as JSON in a text frame, too. What is not a result
(errors, timings) is JSON in a text frame. A client puts a `request_id` into its message and finds it in the answer.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from rest_framework.exceptions import ParseError

from playground.api.parsing import MAX_DEPTH, MAX_VALUES, StrictJSONParser, walk
from playground.examiner import Refusal
from playground.examiner.sniffing import sniff
from playground.facades.fal import limits
from playground.facades.fal.hosts import Addressed
from playground.facades.fal.words import app_of

UNAUTHORIZED = json.dumps({"status": "error", "error": "Unauthorized"}, separators=(",", ":"))
PATH = "realtime"
MAX_NAME = 200  # of a request_id


class Malformed(ValueError):
    """A message that asks for nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: an input, the name that its sender has for it, and how many bytes it came in."""

    input: dict[str, Any]
    request_id: str | int | None = None
    size: int = 0


def app_at(found: Addressed | None) -> str | None:
    """The app whose realtime connection is at this address; None where there is none."""
    if found is None or found.face != "run":
        return None
    app = app_of(found.path)
    return app.model if app is not None and not app.namespace and app.path == PATH else None


def buffering(text: str | None) -> int | None:
    """How many messages may wait, the newest ones, where the client said it. Raises Malformed."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Malformed("max_buffering must be a number.")
    if not limits.BUFFER_LEAST <= int(text) <= limits.BUFFER_MOST:
        raise Malformed(f"max_buffering must be from {limits.BUFFER_LEAST} to {limits.BUFFER_MOST}.")
    return int(text)


def read(frame: bytes | str) -> Message:
    """What a frame says. Raises Malformed."""
    try:
        if isinstance(frame, str):
            value = StrictJSONParser().parse(io.BytesIO(frame.encode("utf-8", "surrogatepass")))
        else:
            value = _plain(_unpacked(frame), 0)
            walk(value)
    except ParseError as error:
        raise Malformed(str(error.detail)) from None
    except Malformed:
        raise
    except Exception as error:  # msgpack raises what it likes for bytes that are none of it
        raise Malformed(f"The message is no msgpack: {type(error).__name__}.") from None
    if not isinstance(value, dict):
        raise Malformed("A message is an object with the fields of the input.")
    named = value.pop("request_id", None)
    if isinstance(named, bool) or not isinstance(named, str | int | None) or len(str(named)) > MAX_NAME:
        raise Malformed(f"request_id must be a text of at most {MAX_NAME} characters.")
    return Message(value, named, len(frame))


def result(body: Mapping[str, Any], message: Message) -> bytes:
    """The answer to a message: what its run made."""
    named = {} if message.request_id is None else {"request_id": message.request_id}
    packed: bytes = msgpack.packb({**body, **named}, use_bin_type=True)
    return packed


def timings(seconds: float) -> str:
    """How long the run took, after its result."""
    return _text({"type": "x-fal-message", "action": "timings", "timing": round(seconds, 6)})


def left_out(message: Message) -> str:
    """A message that waited and was replaced by newer ones."""
    told = {"type": "x-fal-message", "action": "dropped", "request_id": message.request_id}
    return _text(told)


def ignored(fields: Sequence[str], message: Message) -> str:
    """What of a message's input means nothing to the model; its run was made all the same."""
    return _text(
        {"type": "x-fal-message", "action": "ignored", "fields": fields, "request_id": message.request_id}
    )


def error(kind: str, reason: str, message: Message | None = None, **members: Any) -> str:
    """What is wrong with a message, or with the connection."""
    named = (
        {"request_id": message.request_id} if message is not None and message.request_id is not None else {}
    )
    return _text({"type": "x-fal-error", "error": kind, "reason": reason, **members, **named})


class Buffer:
    """Messages that wait, in order. With `newest`, only so many: a further one takes the place of the oldest."""

    def __init__(self, newest: int | None) -> None:
        self._newest = newest
        self._waiting: deque[Message] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be read until something was taken out."""
        is_much = len(self._waiting) >= limits.BUFFER_USUAL or self._bytes >= limits.BUFFER_BYTES
        return self._newest is None and is_much

    def put(self, message: Message) -> list[Message]:
        """Have a message wait; those that it replaces, the oldest first."""
        self._waiting.append(message)
        self._bytes += message.size
        replaced: list[Message] = []
        while self._newest is not None and len(self._waiting) > 1 and self._is_beyond(self._newest):
            replaced.append(self.take())
        return replaced

    def take(self) -> Message:
        taken = self._waiting.popleft()
        self._bytes -= taken.size
        return taken

    def _is_beyond(self, newest: int) -> bool:
        return len(self._waiting) > newest or self._bytes > limits.BUFFER_BYTES


def _unpacked(frame: bytes) -> Any:
    """What the bytes hold. Counted while it comes to be: of one byte each, empty lists fill a memory. Raises Malformed,
    and whatever msgpack raises."""
    seen = 0

    def count(values: Any) -> Any:
        nonlocal seen
        seen += 1 + len(values)
        if seen > MAX_VALUES:
            raise Malformed(f"The message has more than {MAX_VALUES:,} values.")
        return values

    return msgpack.unpackb(
        frame,
        raw=False,
        list_hook=count,
        object_hook=count,
        max_array_len=MAX_VALUES,
        max_map_len=MAX_VALUES,
    )


def _plain(value: Any, depth: int) -> Any:
    """The value as JSON could have it: bytes are a file, and become its `data:` address."""
    if depth > MAX_DEPTH:
        raise Malformed(f"The message is nested deeper than {MAX_DEPTH}.")
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise Malformed("Names of fields are texts.")
        return {name: _plain(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, bytes):
        return _file(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed("A number of the message is not finite.")
    if value is None or isinstance(value, str | int | float):
        return value
    raise Malformed("The message holds something that is neither text, number, list, object nor bytes.")


def _file(data: bytes) -> str:
    try:
        kind = sniff(data[:4096])
    except Refusal as refusal:
        raise Malformed(f"The bytes of a field cannot be used: {refusal}.") from None
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
