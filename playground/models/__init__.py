"""The rows of the playground."""

from __future__ import annotations

from playground.models.asset import Asset
from playground.models.deletion import Deletion
from playground.models.example import Example
from playground.models.fault import Fault, Quarantine
from playground.models.prediction import IdempotencyKey, Prediction
from playground.models.share import Share
from playground.models.source import Source
from playground.models.upload import Upload, UploadPart
from playground.models.webhook import RUN_EVENTS, Delivery, Event, RequestSecret, Webhook

__all__ = [
    "RUN_EVENTS",
    "Asset",
    "Deletion",
    "Delivery",
    "Event",
    "Example",
    "Fault",
    "IdempotencyKey",
    "Prediction",
    "Quarantine",
    "RequestSecret",
    "Share",
    "Source",
    "Upload",
    "UploadPart",
    "Webhook",
]
