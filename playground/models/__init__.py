"""The rows of the playground."""

from __future__ import annotations

from playground.models.asset import Asset
from playground.models.prediction import IdempotencyKey, Prediction
from playground.models.upload import Upload, UploadPart

__all__ = ["Asset", "IdempotencyKey", "Prediction", "Upload", "UploadPart"]
