"""An asset as plain data."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings

from marketplace.ids import encode
from playground.assets.address import address, thumbnail_address
from playground.models import Asset


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
