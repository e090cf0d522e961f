"""Capability addresses: whoever holds one may read one file until it ends, nobody else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils.functional import SimpleLazyObject

from playground.examiner import extension_of
from playground.models import Asset, Upload

LIFETIME_SECONDS = 24 * 3600
ROUND_SECONDS = 3600  # so that one page load after another names the same address, and caches can help
_TAG_BYTES = 16  # 128 bits of HMAC-SHA-256
_BODY_BYTES = 22  # what it is, of what, until when
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_FULL, _THUMBNAIL, _UPLOAD, _PLACE = 0, 1, 2, 3

_key = SimpleLazyObject(lambda: hashlib.sha256(b"vitrine media " + settings.SECRET_KEY.encode()).digest())


@dataclass(frozen=True, slots=True)
class Capability:
    """What an address allows: to read one asset or its thumbnail, until `expires_at` (Unix seconds).

    With `is_upload` the id is that of an upload, and what may be read is what it has become.
    """

    asset: UUID
    is_thumbnail: bool
    expires_at: int
    is_upload: bool = False

    @property
    def names(self) -> Q:
        """The condition on assets that it names one by."""
        if self.is_upload:
            return Q(pk__in=Upload.objects.live().filter(public_id=self.asset).values("asset"))
        return Q(public_id=self.asset)


def address(asset: Asset, *, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """The path under which the asset can be read for at least `lifetime_seconds`, never beyond its own end."""
    name = f"{asset.uid}.{extension_of(asset.media_type)}"
    return f"/media/{_seal(asset, _FULL, lifetime_seconds)}/{name}"


def thumbnail_address(asset: Asset, *, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """As `address`, for the small version; a picture that is small already is its own thumbnail."""
    if not asset.thumbnail_name:
        return address(asset, lifetime_seconds=lifetime_seconds)
    return f"/media/{_seal(asset, _THUMBNAIL, lifetime_seconds)}/{asset.uid}-small.webp"


def upload_address(upload: Upload, *, lifetime_seconds: int) -> str:
    """The path under which what the upload becomes can be read, from then on for at least `lifetime_seconds`; the
    upload's own end, which then comes, is not passed."""
    name = _UNSAFE.sub("-", upload.filename).strip("-.")[:80] or "file"
    return f"/media/{_sealed(_UPLOAD, upload.public_id, int(time.time()) + lifetime_seconds)}/{name}"


def upload_place(upload: Upload) -> str:
    """The token by which the file may be put, or its parts, by whoever has it."""
    return _sealed(_PLACE, upload.public_id, int(upload.expires_at.timestamp()))


def open_place(token: str) -> UUID | None:
    """The upload that a file may be put to with this token now; None if it is forged, damaged or over."""
    opened = _opened(token)
    return opened[1] if opened is not None and opened[0] == _PLACE else None


def open_address(token: str) -> Capability | None:
    """What the token in a path allows now; None if it is forged, damaged or over."""
    opened = _opened(token)
    if opened is None or opened[0] not in {_FULL, _THUMBNAIL, _UPLOAD}:
        return None
    part, public_id, until = opened
    return Capability(public_id, part == _THUMBNAIL, until, part == _UPLOAD)


def _opened(token: str) -> tuple[int, UUID, int] | None:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if len(body) != _BODY_BYTES or not hmac.compare_digest(tag, _tag(body)):
        return None
    until = int.from_bytes(body[17:], "big")
    return (body[0], UUID(bytes=body[1:17]), until) if until > time.time() else None


def _seal(asset: Asset, part: int, lifetime_seconds: int) -> str:
    step = min(ROUND_SECONDS, max(1, lifetime_seconds // 2))
    until = int(time.time() + lifetime_seconds) // step * step + step
    return _sealed(part, asset.public_id, min(until, int(asset.expires_at.timestamp())))


def _sealed(part: int, public_id: UUID, until: int) -> str:
    body = bytes([part]) + public_id.bytes + max(until, 0).to_bytes(5, "big")
    return base64.urlsafe_b64encode(body + _tag(body)).rstrip(b"=").decode()


def _tag(body: bytes) -> bytes:
    return hmac.new(bytes(_key), body, hashlib.sha256).digest()[:_TAG_BYTES]
