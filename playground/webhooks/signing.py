"""Signatures as https://www.standardwebhooks.com has them: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from playground.models.webhook import Signing

PREFIX = "whsec_"
SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)  # for which a replaced secret still signs too


def new_secret() -> str:
    """A fresh secret, as receivers write it into their settings."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def replace(signing: Signing, *, now: datetime) -> None:
    """Give `signing` a new secret; the old one signs too until the overlap is over (not saved)."""
    signing.previous_secret, signing.previous_until = signing.secret, now + OVERLAP
    signing.secret = new_secret()


def headers(signing: Signing, *, message_id: str, body: str, now: datetime) -> dict[str, str]:
    """The three headers that prove who sent `body`."""
    timestamp = int(now.timestamp())
    valid = [signing.secret]
    if signing.previous_secret and signing.previous_until is not None and signing.previous_until > now:
        valid.append(signing.previous_secret)
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_sign(secret, signed)}" for secret in valid),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
