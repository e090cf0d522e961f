"""Removing media: the rows at once, the files after the commit, by the outbox."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from marketplace import dispatch
from playground.models import Asset

DELETE_TASK = "playground.delete_media"


def purge_expired(limit: int = 500) -> int:
    """Delete assets whose time is over. Their files follow through the outbox, at least once. Returns how many."""
    with transaction.atomic():
        rows = list(
            Asset.objects.select_for_update(skip_locked=True)
            .filter(expires_at__lte=timezone.now())
            .order_by("expires_at")[:limit]
        )
        if rows:
            names = [name for row in rows for name in (row.storage_name, row.thumbnail_name) if name]
            Asset.objects.filter(pk__in=[row.pk for row in rows]).delete()
            dispatch.post(DELETE_TASK, {"names": names})
    return len(rows)


@dispatch.handler(DELETE_TASK)
def delete_media(payload: dispatch.Payload) -> None:
    """Remove files from storage; one that is gone already is fine."""
    for name in payload["names"]:
        default_storage.delete(name)
