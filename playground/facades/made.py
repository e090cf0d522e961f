"""What a run made, for protocols whose answers hold the media themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marketplace.ids import parse
from playground import assets
from playground.models import Asset


class Gone(LookupError):
    """The file was deleted or has expired since the run ended."""


def media(output: Any) -> Iterator[Mapping[str, Any]]:
    """What the API says of each medium of an output that is still there, in order."""
    if isinstance(output, Mapping):
        if "url" in output and "content_type" in output:
            yield output
            return
        output = list(output.values())
    if isinstance(output, list):
        for one in output:
            yield from media(one)


def asset(said: Mapping[str, Any]) -> Asset:
    """The stored file of a medium that the caller was shown. Raises Gone."""
    public_id = parse(str(said["id"]), "a")
    found = Asset.objects.live().filter(public_id=public_id).first() if public_id else None
    if found is None:
        raise Gone("The file was deleted, or its time is over.")
    return found


def contents(said: Mapping[str, Any]) -> bytes:
    """The bytes of a medium that the caller was shown. Blocks. Raises Gone."""
    found = asset(said)
    try:
        return assets.read(found)
    except FileNotFoundError:
        raise Gone("The file was deleted, or its time is over.") from None
