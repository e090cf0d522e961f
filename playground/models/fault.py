"""What went wrong with engines: each lost attempt, and which versions are paused because of it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace.models import User, Version, Workspace
from playground.models.prediction import Prediction


class Fault(models.Model):
    """One attempt that was lost, or ended in a way that is the machine's fault and not the input's.

    `killed` says that it took its engine with it, and `alone` that nothing else ran there, so that it is to blame.
    """

    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    lane = models.CharField(max_length=40)
    worker = models.CharField(max_length=64, blank=True)
    attempt = models.PositiveIntegerField()
    code = models.CharField(max_length=40)
    message = models.CharField(max_length=500)
    killed = models.BooleanField(default=False)
    alone = models.BooleanField(default=False)
    occurred_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["occurred_at"], name="fault_age"),
            models.Index(
                fields=["version", "occurred_at"], name="fault_of_killers", condition=Q(killed=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} of {self.prediction_id}, attempt {self.attempt}"


class QuarantineQuerySet(models.QuerySet["Quarantine"]):
    """Filters over quarantines."""

    def in_force(self, now: datetime | None = None) -> Self:
        return self.filter(until__gt=now or timezone.now())


class Quarantine(models.Model):
    """A version that no engine takes until `until`, because it ended several: for one workspace, or for all of them.

    Letting it go by hand ends it early: `until` becomes that moment, and `released_at` says that it was somebody.
    """

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, null=True, related_name="+")
    reason = models.CharField(max_length=300)
    since = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    objects = QuarantineQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["version", "until"], name="quarantine_of_version")]

    def __str__(self) -> str:
        return f"{self.version} until {self.until:%H:%M:%S}"
