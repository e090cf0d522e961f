"""The same request, sent twice, makes one thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from marketplace.models import Workspace
from playground.models import IdempotencyKey, Prediction

LIFETIME = timedelta(hours=24)

Made = TypeVar("Made")


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
    known = _known(workspace, key, body)
    if known is None or known.prediction is None:
        return None
    if known.prediction.deletion_id is not None:
        raise IdempotencyConflict("The run that this Idempotency-Key made was deleted. Use a new key.")
    known.prediction.is_replay = True
    return known.prediction


def once(
    workspace: Workspace,
    key: str | None,
    body: Mapping[str, Any],
    make: Callable[[], UUID],
    find: Callable[[UUID], Made],
) -> tuple[Made, bool]:
    """What `make` makes, and whether an earlier request with this key made it: then nothing is made.

    `make` returns its public id, and `find` the thing by that, or raises a LookupError. `body` tells requests apart, so
    it names what is asked for too. Without a key `make` is called each time. Raises IdempotencyConflict, also where
    what was made is gone, IdempotencyInFlight and whatever `make` raises; what that wrote is then undone.
    """
    if key is None:
        return find(make()), False
    hashed = digest(body)
    with transaction.atomic():
        _only_one(workspace, key)
        known = _known(workspace, key, hashed)
        if known is None or known.made is None:
            IdempotencyKey.objects.filter(workspace=workspace, key=key).delete()
            made = make()
            IdempotencyKey.objects.create(workspace=workspace, key=key, body_sha256=hashed, made=made)
            return find(made), False
    try:
        return find(known.made), True
    except LookupError:
        raise IdempotencyConflict(
            "What this Idempotency-Key made was deleted, or its time is over. Use a new key."
        ) from None


def _known(workspace: Workspace, key: str, body: str) -> IdempotencyKey | None:
    known = (
        IdempotencyKey.objects.select_related("prediction__version", "prediction__endpoint")
        .filter(workspace=workspace, key=key, created_at__gt=timezone.now() - LIFETIME)
        .first()
    )
    if known is not None and known.body_sha256 != body:
        raise IdempotencyConflict(
            "This Idempotency-Key was used for a different request. Use a new key for a new request."
        )
    return known


def claim(workspace: Workspace, key: str, body: str) -> Prediction | None:
    """Inside a transaction: make this the only request under the key until commit, or raise IdempotencyInFlight.

    Returns the prediction if another request made it in the meantime.
    """
    _only_one(workspace, key)
    known = find(workspace, key, body)
    if known is None:
        IdempotencyKey.objects.filter(workspace=workspace, key=key).delete()
    return known


def _only_one(workspace: Workspace, key: str) -> None:
    number = int.from_bytes(hashlib.sha256(f"{workspace.pk} {key}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (mine,) = cursor.fetchone()
    if not mine:
        raise IdempotencyInFlight(
            "A request with this Idempotency-Key is being handled. Send it again in a second."
        )


def remember(prediction: Prediction, key: str, body: str) -> None:
    """Bind the key to the prediction, in the transaction that makes both."""
    IdempotencyKey.objects.create(
        workspace_id=prediction.workspace_id, key=key, body_sha256=body, prediction=prediction
    )


def forget_old() -> int:
    """Delete keys that are over."""
    deleted, _ = IdempotencyKey.objects.filter(created_at__lte=timezone.now() - LIFETIME).delete()
    return deleted
