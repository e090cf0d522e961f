"""The rows of the playground."""

from __future__ import annotations

from playground.models.asset import Asset
from playground.models.example import Example
from playground.models.prediction import IdempotencyKey, Prediction

__all__ = ["Asset", "Example", "IdempotencyKey", "Prediction"]
