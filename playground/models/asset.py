"""One stored media object."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models import Workspace
from playground.models.deletion import Deletion
from playground.models.prediction import Prediction


class AssetQuerySet(models.QuerySet["Asset"]):
    """Filters over stored media."""

    def of(self, workspace: Workspace) -> Self:
        return self.filter(workspace=workspace, deletion=None)

    def live(self) -> Self:
        """What is there for those who may see it: neither expired nor deleted."""
        return self.filter(expires_at__gt=timezone.now(), deletion=None)

    def needed(self) -> Self:
        """Those that a run which is not over takes in."""
        return self.filter(uses__prediction__status__in=Prediction.OPEN)


class Asset(models.Model):
    """One medium: what it is (sniffed, not believed), where it is kept, how long, and what made it."""

    class Kind(models.TextChoices):
        OUTPUT = "output", "Output"
        UPLOAD = "upload", "Upload"

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="assets")
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, null=True, related_name="assets")
    position = models.PositiveSmallIntegerField(default=0, help_text="place among the prediction's outputs")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    filename = models.CharField(max_length=120, blank=True, help_text="what whoever uploaded it calls it")
    sha256 = models.CharField(max_length=64)
    media_type = models.CharField(max_length=60)
    size = models.PositiveBigIntegerField(help_text="bytes")
    width = models.PositiveIntegerField(null=True, help_text="pixels")
    height = models.PositiveIntegerField(null=True, help_text="pixels")
    duration_ms = models.PositiveIntegerField(null=True)
    meta: models.JSONField[Any, Any] = models.JSONField(default=dict, help_text="how it was encoded")
    storage_name = models.CharField(
        max_length=200, help_text="equal uploads of a workspace have it in common"
    )
    thumbnail_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    deletion = models.ForeignKey(
        Deletion, on_delete=models.PROTECT, null=True, related_name="assets", db_index=False
    )

    objects = AssetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(size__gt=0), name="asset_not_empty"),
            models.UniqueConstraint(
                fields=["prediction", "position"],
                name="asset_position",
                condition=models.Q(prediction__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "sha256"], name="asset_equal_uploads", condition=models.Q(kind="upload")
            ),
            models.Index(fields=["expires_at"], name="asset_expiry"),
            models.Index(fields=["workspace", "-id"], name="asset_library"),
            models.Index(
                fields=["deletion"], name="asset_deleted", condition=models.Q(deletion__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode(self.public_id, "a")
