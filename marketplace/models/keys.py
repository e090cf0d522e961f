"""API keys: only hashes of their secrets are kept."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace.ids import encode, uuid7
from marketplace.models.people import User, Workspace


class ApiKey(models.Model):
    """A program's way into one workspace. `key_id` is public, the secret's SHA-256 is all that is stored.

    A publishable key lies open in the code of web pages: it works from its `origins` and for its `model_ids` only.
    A rotated key keeps its identity, limits and history; its former secret works until `previous_until`.
    """

    class Kind(models.TextChoices):
        SECRET = "secret", "Secret"
        PUBLISHABLE = "publishable", "Publishable"

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="keys")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    # The keys that this one was made by over the API, first one first: it dies with them and counts in their limits.
    ancestor_ids = ArrayField(models.BigIntegerField(), default=list, blank=True)
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.SECRET)
    key_id = models.CharField(max_length=12, unique=True)
    secret_sha256 = models.CharField(max_length=64)
    previous_sha256 = models.CharField(max_length=64, blank=True)
    previous_until = models.DateTimeField(null=True, blank=True)
    previous_used_at = models.DateTimeField(null=True, blank=True)
    rotations = models.PositiveIntegerField(default=0)
    scopes = ArrayField(models.CharField(max_length=32), default=list)
    origins = ArrayField(models.CharField(max_length=270), default=list, blank=True)
    model_ids = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="secret", origins=[], model_ids=[])
                | Q(kind="publishable") & ~Q(origins=[]) & ~Q(model_ids=[]),
                name="apikey_kind",
            ),
            models.CheckConstraint(
                condition=Q(previous_sha256="", previous_until__isnull=True)
                | ~Q(previous_sha256="") & Q(previous_until__isnull=False),
                name="apikey_previous",
            ),
        ]
        indexes = [models.Index(fields=["workspace", "-created_at"], name="apikey_workspace")]

    def __str__(self) -> str:
        return f"vt_{self.key_id}…"

    @property
    def uid(self) -> str:
        """The public id as our own API and pages write it."""
        return encode(self.public_id, "k")

    @property
    def is_publishable(self) -> bool:
        return self.kind == self.Kind.PUBLISHABLE

    @property
    def is_over(self) -> bool:
        """Revoked or expired: it never works again."""
        return self.revoked_at is not None or (
            self.expires_at is not None and self.expires_at <= timezone.now()
        )

    @property
    def has_previous(self) -> bool:
        """Whether its former secret still works."""
        return self.previous_until is not None and self.previous_until > timezone.now() and not self.is_over
