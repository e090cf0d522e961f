"""Messages to the room above, written in the transaction that causes them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone


class Outbox(models.Model):
    """One message that must be handled at least once. The handler deletes it in its own transaction."""

    task = models.CharField(max_length=80)
    payload: models.JSONField[Any, Any] = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    send_after = models.DateTimeField(default=timezone.now)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["send_after"], name="outbox_due")]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"
