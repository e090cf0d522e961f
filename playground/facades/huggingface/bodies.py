"""Bodies of Hugging Face's inference endpoints: JSON with `inputs` and `parameters`, or the bare bytes of a file."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from marketplace.ids import parse
from marketplace.schema import FieldError
from playground import examiner
from playground.api.parsing import StrictJSONParser
from playground.api.problems import invalid
from playground.facades.view import AsSent

HEAD_BYTES = 1024
_PICTURE_START = 64  # characters of base64 that show what it is


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that is the body: all of it in `head`, or, where it is large, the `rest` still to be read."""

    head: bytes
    rest: IO[bytes] | None


class BytesParser(BaseParser):
    """A file, as it is."""

    media_type = "*/*"

    def parse(  # type: ignore[override]
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Sent:
        most = int(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)
        head: bytes = stream.read(most + 1)
        return Sent(head, stream if len(head) > most else None)


class JSONOrBytes(AsSent):
    """JSON where the request says so, else bytes: what they are is seen by them. See `read`."""

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser:  # type: ignore[override]
        given = request.content_type.partition(";")[0].strip().lower()
        wanted = StrictJSONParser if given == "application/json" else BytesParser
        return next(one for one in parsers if isinstance(one, wanted))


def read(request: Request, *, keep: Callable[[Sent], str]) -> tuple[str, dict[str, Any]]:
    """`inputs` and the parameters, those that are null left out; `inputs` is a text, or the `data:` address of a file,
    or what `keep` makes of a large one.

    Raises Problem.
    """
    data = request.data
    if isinstance(data, Sent) and data.rest is None and data.head[:HEAD_BYTES].lstrip().startswith(b"{"):
        # Written by hand, as the examples have it: no type, or that of a form. No file begins so.
        data = StrictJSONParser().parse(io.BytesIO(data.head))
    if isinstance(data, Sent):
        return data_address(data.head) if data.rest is None else keep(data), {}
    if not isinstance(data, Mapping):
        raise invalid([FieldError("body", "type", "must be an object with inputs and parameters", "object")])
    parameters = data.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise invalid([FieldError("parameters", "type", "must be an object of fields and values", "object")])
    beside = {name: value for name, value in data.items() if name not in {"inputs", "parameters", "options"}}
    given = {name: value for name, value in {**beside, **(parameters or {})}.items() if value is not None}
    inputs = data.get("inputs")
    if not isinstance(inputs, str) or not inputs:
        raise invalid([FieldError("inputs", "required", "is required, as text")])
    return inputs, given


def data_address(data: bytes) -> str:
    """The `data:` address of bytes whose type is what they say it is. Raises Problem."""
    try:
        kind = examiner.sniff(data[:HEAD_BYTES])
    except examiner.Refusal as error:
        raise invalid([FieldError("inputs", "file", f"cannot be used: {error}")]) from None
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def as_file(inputs: str) -> str | None:
    """What names the file that a text is: itself, if it is an address or an asset's id, or a `data:` address if it is
    base64."""
    if inputs.startswith(("data:", "https://", "http://")) or parse(inputs, "a") is not None:
        return inputs
    try:
        head = base64.b64decode(inputs[:_PICTURE_START], validate=True)
        examiner.sniff(head)
        return data_address(base64.b64decode(inputs, validate=True))
    except (binascii.Error, ValueError):  # a Refusal is a ValueError
        return None
