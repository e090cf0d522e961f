"""Addresses of event streams, which clients open without a key: whoever holds one may follow that one run.

The run's id carries the time at which it was made, so the address needs none of its own: it is good for two days from
then, longer than any run waits and lasts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from uuid import UUID

from django.conf import settings
from django.utils.functional import SimpleLazyObject

LIFETIME_SECONDS = 2 * 24 * 3600
_TAG_BYTES = 16  # 128 bits of HMAC-SHA-256
_LENGTH = 43  # 32 bytes in base64 without its padding

_key = SimpleLazyObject(lambda: hashlib.sha256(b"vitrine stream " + settings.SECRET_KEY.encode()).digest())


def token(public_id: UUID) -> str:
    """The part of the address that allows to follow the run."""
    return base64.urlsafe_b64encode(public_id.bytes + _tag(public_id)).rstrip(b"=").decode()


def opened(text: str) -> UUID | None:
    """The run that the token allows to follow now; None if it is forged, damaged or over."""
    if len(text) != _LENGTH or not text.isascii():
        return None
    try:
        whole = base64.urlsafe_b64decode(text + "=")
    except (binascii.Error, ValueError):
        return None
    public_id = UUID(bytes=whole[:16])
    if not hmac.compare_digest(whole[16:], _tag(public_id)) or token(public_id) != text:
        return None
    made_at = (public_id.int >> 80) / 1000
    return public_id if time.time() < made_at + LIFETIME_SECONDS else None


def _tag(public_id: UUID) -> bytes:
    return hmac.new(bytes(_key), public_id.bytes, hashlib.sha256).digest()[:_TAG_BYTES]
