"""Removing media: the rows at once, the files after the commit, by the outbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from marketplace import dispatch
from playground.models import Asset

DELETE_TASK = "playground.delete_media"
ORPHAN_AGE = timedelta(days=1)
ROOT_FOLDER, FOLDER_DEPTH = "assets", 2  # assets/<time>/<two letters>/<name>, as intake lays them out


def purge_expired(limit: int = 500) -> int:
    """Delete assets whose time is over. Their files follow through the outbox, at least once. Returns how many."""
    with transaction.atomic():
        rows = list(
            Asset.objects.select_for_update(skip_locked=True)
            .filter(expires_at__lte=timezone.now())
            .order_by("expires_at")[:limit]
        )
        purge(rows)
    return len(rows)


def expire_all(workspace_id: int) -> int:
    """Let the time of a workspace's media be over, in the caller's transaction; `purge_expired` deletes them."""
    now = timezone.now()
    return Asset.objects.filter(workspace_id=workspace_id, expires_at__gt=now).update(expires_at=now)


def expire_closed() -> int:
    """The same for what came into a workspace while it was being closed. Returns how many."""
    now = timezone.now()
    late = Asset.objects.filter(workspace__closed_at__isnull=False, expires_at__gt=now)
    return late.update(expires_at=now)


def purge(assets: Iterable[Asset]) -> None:
    """Delete these, inside a transaction. Their files follow through the outbox, at least once."""
    rows = list(assets)
    if rows:
        names = [name for row in rows for name in (row.storage_name, row.thumbnail_name) if name]
        Asset.objects.filter(pk__in=[row.pk for row in rows]).delete()
        dispatch.post(DELETE_TASK, {"names": names})


def purge_orphans() -> int:
    """Remove files that were stored for a row which never came, as a crash between the two leaves them.

    Looks only at files older than a day, so that none of a transaction that is still open is touched. Returns how many.
    """
    before = timezone.now() - ORPHAN_AGE
    removed = 0
    for folder in _folders(ROOT_FOLDER, depth=FOLDER_DEPTH):
        names = [f"{folder}/{file}" for file in default_storage.listdir(folder)[1]]
        old = [name for name in names if default_storage.get_modified_time(name) < before]
        kept = set(Asset.objects.filter(storage_name__in=old).values_list("storage_name", flat=True))
        kept |= set(Asset.objects.filter(thumbnail_name__in=old).values_list("thumbnail_name", flat=True))
        for name in set(old) - kept:
            default_storage.delete(name)
            removed += 1
    return removed


def _folders(folder: str, *, depth: int) -> Iterator[str]:
    """The folders `depth` levels below; none where nothing was ever stored."""
    if depth == 0:
        yield folder
        return
    with contextlib.suppress(FileNotFoundError):
        for name in default_storage.listdir(folder)[0]:
            yield from _folders(f"{folder}/{name}", depth=depth - 1)


@dispatch.handler(DELETE_TASK)
def delete_media(payload: dispatch.Payload) -> None:
    """Remove files from storage; one that is gone already is fine."""
    for name in payload["names"]:
        default_storage.delete(name)
