"""The webhook of a request, as fal sends it: signed with Ed25519, by keys that anybody can look up.

What is signed is the request's id, the workspace, the time and the digest of the body, a line each. There is no secret
to hand out: whoever receives a webhook checks it with the public keys at `/fal/rest/.well-known/jwks.json`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from marketplace.ids import encode
from playground import predictions
from playground.facades.fal import show
from playground.models import Delivery, Event, Prediction

DIALECT = "fal"
EVENTS = (Event.SUCCEEDED.value, Event.FAILED.value, Event.CANCELED.value)  # an end is all that is told of


class Letters:
    """What is sent, and its signature."""

    def body(self, row: Prediction, event: str) -> str:
        """The end of a run, with the result as the queue gives it."""
        told = show.told(predictions.as_json(row), row.asked or {})
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def headers(self, delivery: Delivery, *, now: datetime) -> dict[str, str]:
        """The four headers; receivers take a signature for five minutes, so each attempt has its own."""
        named = json.loads(delivery.body)["request_id"]
        user, timestamp = encode(delivery.workspace.public_id, "ws"), str(int(now.timestamp()))
        digest = hashlib.sha256(delivery.body.encode()).hexdigest()
        signed = f"{named}\n{user}\n{timestamp}\n{digest}".encode()
        return {
            "X-Fal-Webhook-Request-Id": named,
            "X-Fal-Webhook-User-Id": user,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": _keys(tuple(settings.WEBHOOK_SEEDS))[0].sign(signed).hex(),
        }


def jwks() -> dict[str, list[dict[str, Any]]]:
    """The public keys, as a JSON Web Key Set."""
    return {"keys": [_public(key) for key in _keys(tuple(settings.WEBHOOK_SEEDS))]}


def _public(key: Ed25519PrivateKey) -> dict[str, Any]:
    raw = key.public_key().public_bytes_raw()
    named = hashlib.sha256(raw).hexdigest()[:16]
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": named, "use": "sig", "alg": "EdDSA"}


@functools.cache
def _keys(seeds: tuple[str, ...]) -> Sequence[Ed25519PrivateKey]:
    return [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in seeds]
