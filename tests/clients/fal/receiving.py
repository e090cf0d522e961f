"""What a receiver of fal's webhooks checks, as fal's documentation has it, with the keys that are served."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.webhooks.receiver import Message

LEEWAY_SECONDS = 300


def is_genuine(message: Message, jwks: Mapping[str, Any]) -> bool:
    """Whether one of the keys signed this body, for this request, at about this time."""
    names = ("request-id", "user-id", "timestamp", "signature")
    request_id, user_id, timestamp, signature = (message.headers[f"x-fal-webhook-{name}"] for name in names)
    if abs(int(timestamp) - time.time()) > LEEWAY_SECONDS:
        return False
    digest = hashlib.sha256(message.body).hexdigest()
    signed = f"{request_id}\n{user_id}\n{timestamp}\n{digest}".encode()
    for key in jwks["keys"]:
        public = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), signed)
        except InvalidSignature:
            continue
        return True
    return False
