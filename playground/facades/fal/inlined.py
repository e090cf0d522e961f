"""`sync_mode`: the media of a result in the result itself, as `data:` addresses."""

from __future__ import annotations

import base64
import logging
from typing import Any

from marketplace.ids import parse
from playground import assets
from playground.facades.dialect import Document
from playground.facades.fal import show
from playground.models import Asset

log = logging.getLogger(__name__)

MOST_BYTES = 32 * 1024 * 1024  # of all media of one answer; larger ones keep their addresses


def fill(document: Document, body: dict[str, Any]) -> None:
    """Put the bytes of each medium into the result `body` of `document`, in the place of its address. Blocks.

    Where they are too many, or cannot be read, the addresses stay: they lead to the same files.
    """
    ids = [parse(one["id"], "a") for one in show.media_of(document)]
    rows = list(Asset.objects.live().filter(public_id__in=[one for one in ids if one is not None]))
    if sum(row.size for row in rows) > MOST_BYTES:
        return
    try:
        data = {row.uid: _address(row.media_type, assets.read(row)) for row in rows}
    except OSError as error:
        log.warning("the media of %s cannot be read: %s", document["id"], error)
        return
    for value in body.values():
        for file in value if isinstance(value, list) else [value]:
            name = str(file.get("file_name", "")).partition(".")[0] if isinstance(file, dict) else ""
            if name in data:
                file["url"] = data[name]


def _address(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
