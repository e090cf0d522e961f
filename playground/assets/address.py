"""Capability addresses: whoever holds one may read one file until it ends, nobody else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.utils.functional import SimpleLazyObject

from playground.examiner import extension_of
from playground.models import Asset

LIFETIME_SECONDS = 24 * 3600
ROUND_SECONDS = 3600  # so that one page load after another names the same address, and caches can help
_TAG_BYTES = 16  # 128 bits of HMAC-SHA-256
_FULL, _THUMBNAIL = 0, 1

_key = SimpleLazyObject(lambda: hashlib.sha256(b"vitrine media " + settings.SECRET_KEY.encode()).digest())


@dataclass(frozen=True, slots=True)
class Capability:
    """What an address allows: one asset, or its thumbnail, until `expires_at` (Unix seconds)."""

    asset: UUID
    is_thumbnail: bool
    expires_at: int


def address(asset: Asset, *, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """The path under which the asset can be read for at least `lifetime_seconds`, never beyond its own end."""
    name = f"{asset.uid}.{extension_of(asset.media_type)}"
    return f"/media/{_seal(asset, _FULL, lifetime_seconds)}/{name}"


def thumbnail_address(asset: Asset, *, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """As `address`, for the small version; a picture that is small already is its own thumbnail."""
    if not asset.thumbnail_name:
        return address(asset, lifetime_seconds=lifetime_seconds)
    return f"/media/{_seal(asset, _THUMBNAIL, lifetime_seconds)}/{asset.uid}-small.webp"


def open_address(token: str) -> Capability | None:
    """What the token in a path allows now; None if it is forged, damaged or over."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if len(body) != 22 or not hmac.compare_digest(tag, _tag(body)):
        return None
    expires_at = int.from_bytes(body[17:22], "big")
    if expires_at <= time.time() or body[0] not in {_FULL, _THUMBNAIL}:
        return None
    return Capability(UUID(bytes=body[1:17]), body[0] == _THUMBNAIL, expires_at)


def _seal(asset: Asset, part: int, lifetime_seconds: int) -> str:
    step = min(ROUND_SECONDS, max(1, lifetime_seconds // 2))
    until = int(time.time() + lifetime_seconds) // step * step + step
    until = min(until, int(asset.expires_at.timestamp()))
    body = bytes([part]) + asset.public_id.bytes + max(until, 0).to_bytes(5, "big")
    return base64.urlsafe_b64encode(body + _tag(body)).rstrip(b"=").decode()


def _tag(body: bytes) -> bytes:
    return hmac.new(bytes(_key), body, hashlib.sha256).digest()[:_TAG_BYTES]
