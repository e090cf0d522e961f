"""Webhooks and deliveries as plain data, for the API."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypedDict

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from playground.models import Delivery, Webhook
from playground.models.webhook import Signing


class WebhookJson(TypedDict):
    """One webhook in `/api/v1`. `secret` is told when it is made or replaced, and null else."""

    id: str
    url: str
    description: str
    events: list[str]
    is_enabled: bool
    disabled_reason: str
    failing_since: str | None
    secret: str | None
    previous_secret_until: str | None
    created_at: str
    urls: dict[str, str]


class DeliveryJson(TypedDict):
    """One delivery in `/api/v1`."""

    id: str
    event_id: str
    event: str
    prediction: str | None
    url: str
    status: str
    attempts: list[dict[str, Any]]
    next_attempt_at: str | None
    delivered_at: str | None
    created_at: str
    payload: Any


def as_json(row: Webhook, *, with_secret: bool = False) -> WebhookJson:
    """The API's view of a webhook."""
    address = settings.PUBLIC_URL + reverse("api-webhook", args=[row.uid])
    return {
        "id": row.uid,
        "url": row.url,
        "description": row.description,
        "events": row.events,
        "is_enabled": row.is_enabled,
        "disabled_reason": row.disabled_reason,
        "failing_since": _written(row.failing_since),
        "secret": row.secret if with_secret else None,
        "previous_secret_until": secret_as_json(row)["previous_secret_until"],
        "created_at": row.created_at.isoformat(),
        "urls": {
            "get": address,
            "deliveries": f"{address}/deliveries",
            "page": settings.PUBLIC_URL + reverse("webhook", args=[row.uid]),
        },
    }


def secret_as_json(row: Signing) -> dict[str, str | None]:
    """The API's view of a secret alone."""
    until = row.previous_until
    is_over = until is None or until <= timezone.now()
    return {"secret": row.secret, "previous_secret_until": None if is_over else _written(until)}


def delivery_as_json(row: Delivery) -> DeliveryJson:
    """The API's view of a delivery that was selected with its prediction."""
    return {
        "id": row.uid,
        "event_id": row.message_id,
        "event": row.event,
        "prediction": row.prediction.uid if row.prediction is not None else None,
        "url": row.url,
        "status": row.status,
        "attempts": row.attempts,
        "next_attempt_at": _written(row.next_attempt_at),
        "delivered_at": _written(row.delivered_at),
        "created_at": row.created_at.isoformat(),
        "payload": json.loads(row.body),
    }


def _written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
