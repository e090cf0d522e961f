"""Masks of the OpenAI API are holes: where a picture is transparent it is drawn anew. Here white is drawn anew."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marketplace.ids import parse
from marketplace.models import Workspace
from marketplace.schema import FieldError, Schema
from playground import assets, examiner, predictions
from playground.api.problems import invalid
from playground.facades.openai.asks import Ask
from playground.facades.vocabulary import MASK

WAIT_SECONDS = 3.0


def field_of(described: Schema) -> str | None:
    """The field of an endpoint that takes a mask."""
    properties: Mapping[str, Any] = described.get("properties", {})
    return next((name for name in MASK if "x-media" in properties.get(name, {})), None)


def turned(ask: Ask, described: Schema, workspace: Workspace) -> Ask:
    """`ask` with its mask as the endpoint takes it. An endpoint that needs one gets the holes of the picture itself,
    where none is sent. Raises Problem."""
    needed = field_of(described)
    mask = ask.input.get("mask")
    if mask is None and needed in described.get("required", ()):
        image = ask.input.get("image")
        mask = image[0] if isinstance(image, list) else image
    if mask is None or needed is None:
        return ask  # a mask that no field takes is refused with all else that is not known
    data = _bytes(workspace, mask)
    try:
        made = examiner.holes(data, wait_seconds=WAIT_SECONDS)
    except examiner.Refusal as error:
        raise invalid([FieldError("mask", "file", f"cannot be used: {error}")]) from None
    return replace(ask, input={**ask.input, "mask": _address(made)})


def _bytes(workspace: Workspace, value: Any) -> bytes:
    if isinstance(value, str) and value.startswith("data:"):
        try:
            return base64.b64decode(value.partition(",")[2], validate=True)
        except ValueError:
            raise invalid([FieldError("mask", "file", "is no complete base64")]) from None
    asset = predictions.own_file(workspace, value) if isinstance(value, str) and parse(value, "a") else None
    if asset is None:
        message = "must be sent as a file, in base64, or as the id of a file of this workspace"
        raise invalid([FieldError("mask", "file", message)])
    return assets.read(asset)


def _address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
