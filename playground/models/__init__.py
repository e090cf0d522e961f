"""The rows of the playground."""

from __future__ import annotations

from playground.models.asset import Asset
from playground.models.prediction import IdempotencyKey, Prediction
from playground.models.webhook import Delivery, Event, RequestSecret, Webhook

__all__ = ["Asset", "Delivery", "Event", "IdempotencyKey", "Prediction", "RequestSecret", "Webhook"]
