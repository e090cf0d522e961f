"""One act of deleting runs: what can be undone for a while, and is then gone for good."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models import User, Workspace


class Deletion(models.Model):
    """The runs and media that point here are hidden from everybody; undoing it lets go of them.

    Once purged, their files and whatever people wrote into them are gone, and nothing can be undone.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    purged_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="deletion_pending", condition=Q(purged_at__isnull=True)),
            models.Index(fields=["purged_at"], name="deletion_purged", condition=Q(purged_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode(self.public_id, "d")
