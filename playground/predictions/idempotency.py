"""The same request, sent twice, is one prediction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from marketplace.models import Workspace
from playground.models import IdempotencyKey, Prediction

LIFETIME = timedelta(hours=24)


class IdempotencyConflict(Exception):
    """The key was used for another body."""


class IdempotencyInFlight(Exception):
    """A request with this key is being handled right now; the same request again, a little later, gets its answer."""

    retry_after_seconds = 1


def digest(body: Mapping[str, Any]) -> str:
    """The hash that tells one body from another."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def find(workspace: Workspace, key: str, body: str) -> Prediction | None:
    """The prediction that this key made within the last day. Raises IdempotencyConflict for another body, or if it was
    deleted."""
    known = (
        IdempotencyKey.objects.select_related("prediction__version", "prediction__endpoint")
        .filter(workspace=workspace, key=key, created_at__gt=timezone.now() - LIFETIME)
        .first()
    )
    if known is None:
        return None
    if known.body_sha256 != body:
        raise IdempotencyConflict(
            "This Idempotency-Key was used for a different request. Use a new key for a new request."
        )
    if known.prediction.deletion_id is not None:
        raise IdempotencyConflict("The run that this Idempotency-Key made was deleted. Use a new key.")
    known.prediction.is_replay = True
    return known.prediction


def claim(workspace: Workspace, key: str, body: str) -> Prediction | None:
    """Inside a transaction: make this the only request under the key until commit, or raise IdempotencyInFlight.

    Returns the prediction if another request made it in the meantime.
    """
    number = int.from_bytes(hashlib.sha256(f"{workspace.pk} {key}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (mine,) = cursor.fetchone()
    if not mine:
        raise IdempotencyInFlight(
            "A request with this Idempotency-Key is being handled. Send it again in a second."
        )
    known = find(workspace, key, body)
    if known is None:
        IdempotencyKey.objects.filter(workspace=workspace, key=key).delete()
    return known


def remember(prediction: Prediction, key: str, body: str) -> None:
    """Bind the key to the prediction, in the transaction that makes both."""
    IdempotencyKey.objects.create(
        workspace_id=prediction.workspace_id, key=key, body_sha256=body, prediction=prediction
    )


def forget_old() -> int:
    """Delete keys that are over."""
    deleted, _ = IdempotencyKey.objects.filter(created_at__lte=timezone.now() - LIFETIME).delete()
    return deleted
