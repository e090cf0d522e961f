"""File fields: strings with `x-media`, which carry a whole small file or name a stored one.

A value is a `data:` address with base64 of one of the types that the field takes, the http(s) address of a file, one of
our own media addresses, or the id of an asset. Whose asset it is, and whether it still exists, is for the room above to
say.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from marketplace.ids import parse

Schema = Mapping[str, Any]
Replace = Callable[[str, str, tuple[str, ...]], str]  # path, value, types that are taken → the new value

FILE_LIMIT = 10 * 2**20  # bytes of one file inside an input
ADDRESS_LIMIT = 2048
_ADDRESS = re.compile(r"https?://[^\s]|/media/", re.IGNORECASE)
_DATA = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+);base64,")


def types_of(one: Schema) -> tuple[str, ...]:
    """The media types that a field takes; `image/*` takes all of its kind."""
    return tuple(one.get("x-media", ()))


def takes(types: tuple[str, ...], media_type: str) -> bool:
    """Whether `media_type` is one of `types`; none named means any."""
    return not types or any(
        media_type == kind or (kind.endswith("/*") and media_type.startswith(kind[:-1])) for kind in types
    )


def trouble(one: Schema, value: str) -> tuple[str, str] | None:
    """What is wrong with a value of a file field: a code and a sentence; None if it is well-formed."""
    types = types_of(one)
    found = _DATA.match(value)
    if found is None:
        if parse(value, "a") is not None or (_ADDRESS.match(value) and len(value) <= ADDRESS_LIMIT):
            return None
        return "file", "must be a data: address in base64, an http(s) address, or the id of an asset"
    if not takes(types, found[1]):
        return "media_type", f"must be {' or '.join(types)}, not {found[1]}"
    if (len(value) - found.end()) * 3 // 4 > FILE_LIMIT:
        return "too_large", f"is a file of more than {FILE_LIMIT >> 20} MiB"
    try:
        data = base64.b64decode(value[found.end() :], validate=True)
    except binascii.Error:
        return "file", "is no complete base64"
    return None if data else ("file", "is an empty file")


def replace_files(schema: Schema, cleaned: Mapping[str, Any], act: Replace) -> dict[str, Any]:
    """`cleaned` with every value of a file field replaced by what `act` makes of it."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    return {
        name: _replaced(properties[name], value, name, act) if name in properties else value
        for name, value in cleaned.items()
    }


def _replaced(one: Schema, value: Any, path: str, act: Replace) -> Any:
    if isinstance(value, str) and "x-media" in one:
        return act(path, value, types_of(one))
    if isinstance(value, list) and "items" in one:
        return [_replaced(one["items"], item, f"{path}[{i}]", act) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and "properties" in one:
        inner: Mapping[str, Schema] = one["properties"]
        return {
            name: _replaced(inner[name], item, f"{path}.{name}", act) if name in inner else item
            for name, item in value.items()
        }
    return value
