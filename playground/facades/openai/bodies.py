"""Bodies of the OpenAI API: JSON, or a form with files, whose texts are made what JSON would have them be."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import QueryDict
from rest_framework.request import Request

from marketplace.ids import encode, parse
from marketplace.schema import FieldError
from playground import examiner
from playground.api.problems import Problem, invalid

Keep = Callable[
    [str, "UploadedFile[Any]"], str
]  # of a field and its file: the id of the asset that this becomes

MOST_FILES = 16
HEAD_BYTES = 1024
FILE_PREFIX = "file-"
WHOLE = {"n", "partial_images", "output_compression", "frame_count", "frame_duration_ms"}
YES_NO = {"stream"}
NUMBERS = {"speed"}
_NAME = re.compile(r"([^\[\]]{1,64})(?:\[([^\[\]]{0,64})\])?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?")


def read(request: Request, *, files: Iterable[str] = (), keep: Keep | None = None) -> dict[str, Any]:
    """The fields of a body by their names, without those that are null. Values of the fields `files` are addresses that
    an input takes: of a part of a form a `data:` address with the type that its bytes have, or, where it is so large
    that it came by way of the disk, what `keep` makes of it.

    Raises Problem.
    """
    data = request.data
    if isinstance(data, QueryDict):
        found = _form(data)
    elif isinstance(data, Mapping):
        found = dict(data)
    else:
        raise invalid([FieldError("body", "type", "must be an object of fields and values", "object")])
    found = {name: value for name, value in found.items() if value is not None}
    for name, value in found.items():
        parts = value if isinstance(value, list) else [value]
        if name not in files and any(isinstance(one, UploadedFile) for one in parts):
            raise invalid([FieldError(name, "unknown", "is no file of this request", sorted(files))])
    return {name: _addresses(name, value, keep) if name in files else value for name, value in found.items()}


def _form(data: QueryDict) -> dict[str, Any]:
    """`image[]` and a name that comes more than once are lists, `svg[model]` is a member of an object."""
    found: dict[str, Any] = {}
    for name, values in data.lists():
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid([FieldError(name[:64], "unknown", "is no field of this request")])
        base, inner = match[1], match[2]
        cast = [_cast(base, value) for value in values]
        if inner is None:
            found[base] = cast[0] if len(cast) == 1 else cast
        elif inner == "" or inner.isdigit():
            before = found.get(base, [])
            found[base] = [*(before if isinstance(before, list) else [before]), *cast]
        elif isinstance(cast[-1], UploadedFile):
            raise invalid([FieldError(name, "unknown", "is no file of this request")])
        else:
            before = found.get(base)
            found[base] = {**(before if isinstance(before, dict) else {}), inner: cast[-1]}
    return found


def _cast(name: str, value: Any) -> Any:
    """A text as what it is meant as. What it cannot be is left, so that it is refused as what was sent."""
    if not isinstance(value, str):
        return value
    if name in WHOLE and _WHOLE.fullmatch(value):
        return int(value)
    if name in NUMBERS and _NUMBER.fullmatch(value):
        return float(value)
    if name in YES_NO and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return value


def _addresses(name: str, value: Any, keep: Keep | None) -> Any:
    if not isinstance(value, list):
        return _address(name, value, keep)
    if len(value) > MOST_FILES:
        raise invalid([FieldError(name, "too_many", f"takes at most {MOST_FILES} files", MOST_FILES)])
    found = [_address(name, one, keep) for one in value]
    return found[0] if len(found) == 1 else found


def _address(name: str, value: Any, keep: Keep | None) -> Any:
    """What names one file: a part of the form, a text, or `{"file_id"}`, `{"image_url"}` or, of a video, `{"id"}`."""
    if isinstance(value, TemporaryUploadedFile) and keep is not None:
        return keep(name, value)
    if isinstance(value, UploadedFile):
        return data_address(name, value.read())
    if isinstance(value, Mapping):
        given = value.get("file_id") or value.get("image_url") or value.get("id")
        value = given.get("url") if isinstance(given, Mapping) else given
    if not isinstance(value, str) or not value:
        raise invalid([FieldError(name, "file", "must be a file, a file_id or an image_url")])
    return asset_id(value) or value


def data_address(name: str, data: bytes) -> str:
    """The `data:` address of bytes whose type is what they say it is. Raises Problem."""
    try:
        kind = examiner.sniff(data[:HEAD_BYTES]) if data else ""
    except examiner.Refusal as error:
        raise invalid([FieldError(name, "file", f"cannot be used: {error}")]) from None
    if not kind:
        raise invalid([FieldError(name, "file", "cannot be used: the file is empty")])
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def asset_id(file_id: str) -> str | None:
    """The asset that a `file-…` names; None for what is no such id."""
    if not file_id.startswith(FILE_PREFIX):
        return None
    public_id = parse(file_id.removeprefix(FILE_PREFIX))
    if public_id is None:
        raise Problem("not_found", f"There is no file {file_id[:64]!r}.")
    return encode(public_id, "a")


def choice(values: Mapping[str, Any], name: str, allowed: Iterable[str], otherwise: str | None) -> str | None:
    """The value of a field that is one of a few. Raises Problem."""
    known = list(allowed)
    given: str | None = values.get(name, otherwise)
    if given is not None and given not in known:
        raise invalid([FieldError(name, "not_allowed", f"must be one of {', '.join(known)}", known)])
    return given


def whole(values: Mapping[str, Any], name: str, least: int, most: int, otherwise: int) -> int:
    """The value of a field that is a whole number between two. Raises Problem."""
    given = values.get(name, otherwise)
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        allowed = {"minimum": least, "maximum": most}
        raise invalid([FieldError(name, "type", f"must be a whole number from {least} to {most}", allowed)])
    return given


def yes_no(values: Mapping[str, Any], name: str) -> bool:
    """The value of a field that is true or false; false where it is not there. Raises Problem."""
    given = values.get(name, False)
    if not isinstance(given, bool):
        raise invalid([FieldError(name, "type", "must be true or false", [True, False])])
    return given


def text(values: Mapping[str, Any], name: str, *, most: int = 10_000) -> str:
    """The value of a field that must be there and have words. Raises Problem."""
    given = values.get(name)
    if given is None or given == "":
        raise invalid([FieldError(name, "required", "is required")])
    if not isinstance(given, str) or len(given) > most:
        raise invalid([FieldError(name, "type", f"must be text of at most {most:,} characters")])
    return given
