"""Showing one run to whoever has its link."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from marketplace.models import User
from playground.models import Prediction, Share
from playground.models.share import TOKEN_LENGTH


class CannotShare(Exception):
    """There is nothing to show."""


def share(row: Prediction, *, by: User | None, expires_at: datetime | None = None) -> Share:
    """The run's link, which opens until `expires_at`, or until it is revoked. One at a time: asked again, it is the
    same link with the new end. Raises CannotShare for a run that made nothing."""
    if row.status != Prediction.Status.SUCCEEDED:
        raise CannotShare("Only a run that succeeded can be shared.")
    with transaction.atomic():
        locked = Prediction.objects.kept().select_for_update(no_key=True).filter(pk=row.pk).first()
        if locked is None:
            raise CannotShare("The run was deleted.")
        present = Share.objects.filter(prediction=row, revoked_at=None).first()
        if present is not None and (present.expires_at is None or present.expires_at > timezone.now()):
            present.expires_at = expires_at
            present.save(update_fields=["expires_at"])
            return present
        if present is not None:  # what has ended stays ended: who had the old link does not get the new one
            revoke(row)
        return Share.objects.create(
            workspace_id=row.workspace_id, prediction=row, created_by=by, expires_at=expires_at
        )


def revoke(row: Prediction) -> bool:
    """End the run's link for good. False if there was none."""
    return bool(Share.objects.filter(prediction=row, revoked_at=None).update(revoked_at=timezone.now()))


def shared(row: Prediction) -> Share | None:
    """The link of the run that opens now."""
    return Share.objects.valid().filter(prediction=row).first()


def opened(token: str) -> Share | None:
    """What a link opens, its run selected `with_model`; None alike for one that never was, has ended or was revoked."""
    if len(token) != TOKEN_LENGTH or not token.isascii() or not token.isalnum():
        return None
    found = Share.objects.valid().filter(token=token, prediction__deletion=None).first()
    if found is not None:
        found.prediction = Prediction.objects.with_model().get(pk=found.prediction_id)
    return found
