"""Media as pages show them, by the type that was sniffed: pictures, video, sound, and files to take home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from playground import assets
from playground.models import Asset

KINDS = ("image", "video", "audio")


@dataclass(frozen=True, slots=True)
class Medium:
    """One medium at an address of this site. `kind` is image, video, audio or file."""

    kind: str
    url: str
    media_type: str
    width: int | None
    height: int | None
    size: int | None
    poster: str
    id: str

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def icon(self) -> str:
        if self.media_type.startswith("model/"):
            return "cube"
        return self.kind if self.kind in KINDS else "layers"


def media_in(output: Any) -> tuple[Medium, ...]:
    """The media of an output, wherever they lie in it, in order, without those whose time is over."""
    return tuple(_found(output, datetime.now(UTC)))


def _found(value: Any, now: datetime) -> Iterator[Medium]:
    if isinstance(value, list):
        for one in value:
            yield from _found(one, now)
    elif isinstance(value, dict):
        if isinstance(value.get("url"), str) and "expires_at" in value:
            if datetime.fromisoformat(value["expires_at"]) > now:
                yield _medium(value)
        else:
            for one in value.values():
                yield from _found(one, now)


def _medium(value: dict[str, Any]) -> Medium:
    media_type = value.get("content_type") or "image/png"
    kind = media_type.partition("/")[0]
    return Medium(
        kind=kind if kind in KINDS else "file",
        url=value["url"].removeprefix(settings.PUBLIC_URL),
        media_type=media_type,
        width=value.get("width"),
        height=value.get("height"),
        size=value.get("size"),
        poster=str(value.get("thumbnail_url") or "").removeprefix(settings.PUBLIC_URL),
        id=value.get("id") or "",
    )


def of_asset(asset: Asset) -> Medium:
    """A stored medium."""
    return _medium(
        {
            "url": assets.address(asset),
            "content_type": asset.media_type,
            "width": asset.width,
            "height": asset.height,
            "size": asset.size,
            "thumbnail_url": assets.thumbnail_address(asset) if asset.thumbnail_name else "",
            "id": asset.uid,
        }
    )
