"""An asset as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

from django.conf import settings

from marketplace.ids import encode, parse
from playground.assets.address import address, thumbnail_address
from playground.models import Asset

_UID = re.compile(r"a_[0-9a-z]{26}")


class AssetJson(TypedDict):
    """One asset in `/api/v1`. The addresses are capabilities: whoever has one can read the file until it ends."""

    id: str
    kind: str
    filename: str
    content_type: str
    size: int
    sha256: str
    width: int | None
    height: int | None
    duration_ms: int | None
    url: str
    thumbnail_url: str | None
    prediction: str | None
    created_at: str
    expires_at: str


def as_json(asset: Asset) -> AssetJson:
    """The API's view of an asset, selected with its prediction."""
    has_picture = asset.media_type.startswith("image/") or bool(asset.thumbnail_name)
    return {
        "id": asset.uid,
        "kind": asset.kind,
        "filename": asset.filename,
        "content_type": asset.media_type,
        "size": asset.size,
        "sha256": asset.sha256,
        "width": asset.width,
        "height": asset.height,
        "duration_ms": asset.duration_ms,
        "url": settings.PUBLIC_URL + address(asset),
        "thumbnail_url": settings.PUBLIC_URL + thumbnail_address(asset) if has_picture else None,
        "prediction": encode(asset.prediction.public_id, "p") if asset.prediction else None,
        "created_at": asset.created_at.isoformat(),
        "expires_at": asset.expires_at.isoformat(),
    }


def is_picture(cover: str) -> bool:
    """Whether what a listing has as its cover names an asset, and no static file."""
    return _UID.fullmatch(cover) is not None


def thumbnails(covers: Iterable[str]) -> dict[str, str]:
    """The addresses of those that name assets which are there, by their names; one statement at most."""
    numbers = {parse(cover, "a"): cover for cover in covers if is_picture(cover)}
    if not numbers:
        return {}
    rows = Asset.objects.live().filter(public_id__in=[number for number in numbers if number is not None])
    return {numbers[row.public_id]: thumbnail_address(row) for row in rows}
