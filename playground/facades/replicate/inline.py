"""Files inside of an answer, as `data:` addresses, for Replicate's own clients where they speak to us without TLS.

Their `run` makes a file of what it is given only where the address begins with `https:` or `data:`; a plain `http:` one
stays text, and the program that reads the file fails.
"""

from __future__ import annotations

import base64
from typing import Any

from marketplace.ids import parse
from playground import assets
from playground.facades.dialect import Scope, origin_of
from playground.facades.replicate import clients
from playground.facades.replicate.show import named_media
from playground.models import Asset

MOST_BYTES = 4 * 2**20  # of all files of one answer


def is_needed(scope: Scope) -> bool:
    """Whether the caller is such a client, on such a connection."""
    return origin_of(scope).startswith("http:") and clients.is_one(scope)


def inlined(output: Any) -> Any:
    """The output with its files in it, if they are small enough to be sent along and still there. Blocks."""
    name, made = named_media(output)
    media = [one for one in made if one is not None]
    if not media or sum(one["size"] for one in media) > MOST_BYTES:
        return output
    numbers = {one["id"]: parse(one["id"], "a") for one in media}
    found = {row.uid: row for row in Asset.objects.live().filter(public_id__in=list(numbers.values()))}
    try:
        shown = [{**one, "url": _data(found[one["id"]])} for one in media]
    except (KeyError, OSError):  # deleted since
        return output
    return {name: shown}


def _data(asset: Asset) -> str:
    return f"data:{asset.media_type};base64,{base64.b64encode(assets.read(asset)).decode()}"
