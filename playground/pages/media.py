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
    link: str = ""  # an address that opens for longer than `url`, where there is one

    @property
    def is_listed(self) -> bool:
        """Whether it is a line of its own on a stage, and not a picture that fills one."""
        return self.kind not in {"image", "video"}

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.rpartition("/")[2]

    @property
    def icon(self) -> str:
        return icon_of(self.media_type)


def icon_of(media_type: str) -> str:
    """The icon of what a file is."""
    kind = media_type.partition("/")[0]
    return "cube" if kind == "model" else kind if kind in KINDS else "layers"


def picture_of(asset: Asset) -> str:
    """The address of a small picture of a medium; empty for one that has none, such as sound."""
    has_one = asset.thumbnail_name or asset.media_type.startswith("image/")
    return assets.thumbnail_address(asset) if has_one else ""


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


def _medium(value: dict[str, Any], link: str = "") -> Medium:
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
        link=link,
    )


def of_asset(asset: Asset, *, url: str = "", poster: str = "", link: str = "") -> Medium:
    """A stored medium, at addresses of its own where none are given."""
    thumbnail = assets.thumbnail_address(asset) if asset.thumbnail_name and not url else poster
    return _medium(
        {
            "url": url or assets.address(asset),
            "content_type": asset.media_type,
            "width": asset.width,
            "height": asset.height,
            "size": asset.size,
            "thumbnail_url": thumbnail,
            "id": asset.uid,
        },
        link,
    )
