"""A file on its way in."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models import User, Workspace
from playground.models.asset import Asset


class UploadQuerySet(models.QuerySet["Upload"]):
    """Filters over files on their way in."""

    def of(self, workspace: Workspace) -> Self:
        return self.filter(workspace=workspace)

    def live(self) -> Self:
        return self.filter(expires_at__gt=timezone.now())

    def unfinished(self) -> Self:
        return self.live().filter(asset__isnull=True)


class Upload(models.Model):
    """A file that is announced: it holds its place in the workspace's quota until it has become an asset.

    Nothing that it says of itself is believed: `size` and `sha256` are compared with what comes, `media_type` with what
    it turns out to be. A growing one has an address from the beginning, which leads to the asset once there is one.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    filename = models.CharField(max_length=120, blank=True)
    media_type = models.CharField(max_length=100, blank=True, help_text="as declared")
    size = models.PositiveBigIntegerField(help_text="bytes, as declared")
    sha256 = models.CharField(max_length=64, blank=True, help_text="as declared")
    part_bytes = models.PositiveIntegerField(
        default=0, help_text="size of every part but the last; 0 comes in one go"
    )
    is_growing = models.BooleanField(
        default=False, db_default=False, help_text="nobody announced its size: it is what has come so far"
    )
    lifetime = models.PositiveIntegerField(
        null=True, help_text="seconds for which it is to be kept; as long as uploads are without"
    )
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    objects = UploadQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(size__gt=0) | models.Q(is_growing=True), name="upload_not_empty"
            )
        ]
        indexes = [models.Index(fields=["expires_at"], name="upload_expiry")]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode(self.public_id, "u")

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_bytes) if self.part_bytes else 0


class UploadPart(models.Model):
    """One part that has come whole; a repeated one replaces it."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField(help_text="from 1")
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "number"], name="upload_part_once")]

    def __str__(self) -> str:
        return f"{self.upload_id}/{self.number}"
