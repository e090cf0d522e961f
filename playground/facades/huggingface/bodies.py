"""Bodies of Hugging Face's inference endpoints: JSON with `inputs` and `parameters`, or the bare bytes of a file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground import examiner
from playground.api.parsing import StrictJSONParser
from playground.api.problems import invalid
from playground.facades.view import AsSent

HEAD_BYTES = 1024
_PICTURE_START = 64  # characters of base64 that show what it is


class BytesParser(BaseParser):
    """A file, as it is."""

    media_type = "*/*"

    def parse(  # type: ignore[override]
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> bytes:
        limit = int(settings.MAX_BODY_BYTES)
        data: bytes = stream.read(limit + 1)
        if len(data) > limit:
            raise RequestDataTooBig
        return data


class JSONOrBytes(AsSent):
    """JSON where the request says so, else a file. What a client says of a file is not looked at."""

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser:  # type: ignore[override]
        given = request.content_type.partition(";")[0].strip().lower()
        wanted = StrictJSONParser if given == "application/json" else BytesParser
        return next(one for one in parsers if isinstance(one, wanted))


def read(request: Request) -> tuple[str, dict[str, Any]]:
    """`inputs` and the parameters, those that are null left out; `inputs` is a text, or the `data:` address of a file.

    Raises Problem.
    """
    data = request.data
    if isinstance(data, bytes):
        return data_address(data), {}
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
    """The address of a file that a text is: its own, or a `data:` address if it is the base64 of one."""
    if inputs.startswith(("data:", "https://", "http://")):
        return inputs
    try:
        head = base64.b64decode(inputs[:_PICTURE_START], validate=True)
        examiner.sniff(head)
        return data_address(base64.b64decode(inputs, validate=True))
    except (binascii.Error, ValueError):  # a Refusal is a ValueError
        return None
