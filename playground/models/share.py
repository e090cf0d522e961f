"""A run shown to whoever has its link."""

from __future__ import annotations

import secrets
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from marketplace.ids import ALPHABET
from marketplace.models import User, Workspace
from playground.models.prediction import Prediction

TOKEN_LENGTH = 32


def new_token() -> str:
    """160 random bits. Nobody guesses one, however fast they try, so guesses are neither counted nor slowed down."""
    return "".join(secrets.choice(ALPHABET) for _ in range(TOKEN_LENGTH))


class ShareQuerySet(models.QuerySet["Share"]):
    """Filters over shares."""

    def valid(self) -> Self:
        """Those whose link opens now."""
        now = timezone.now()
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class Share(models.Model):
    """A link to one run for anybody, until it ends or is revoked.

    The token is kept as it is: the run's page shows the link again, and who reads this table could read the run too.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="+")
    prediction = models.ForeignKey(Prediction, on_delete=models.CASCADE, related_name="shares")
    token = models.CharField(max_length=TOKEN_LENGTH, default=new_token, unique=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = ShareQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["prediction"], name="share_once", condition=Q(revoked_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"share of {self.prediction_id}"
