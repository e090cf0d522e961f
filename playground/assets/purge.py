"""Removing media: the rows at once, the files after the commit, by the outbox.

Uploads of a workspace may share their bytes. Whoever takes those of another locks its row first, so that by the time
that the row is gone everybody who shares them has one: then nobody does any more, or the bytes stay for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from marketplace import dispatch
from playground.assets.arrivals import remove_stale
from playground.assets.intake import ROOT_FOLDER
from playground.models import Asset, Upload, UploadPart

DELETE_TASK = "playground.delete_media"
ORPHAN_AGE = timedelta(days=1)
PARTS_FOLDER = "uploads"
FOLDER_DEPTH = 2  # <root>/<time>/<two letters>/<name>, as intake lays them out


class InUse(Exception):
    """A run that is not over needs the file."""


def delete(asset: Asset) -> None:
    """Remove an asset, and its files after the commit. Raises InUse while an open run takes it in."""
    with transaction.atomic():
        row = Asset.objects.select_for_update().filter(pk=asset.pk).first()
        if row is None:
            return
        if Asset.objects.needed().filter(pk=row.pk).exists():
            raise InUse("A run that is not over yet takes this file in. Wait for its end, or cancel it.")
        purge([row])


def discard_later(names: Iterable[str]) -> None:
    """Remove files from storage after the present transaction, at least once, through the outbox."""
    wanted = [name for name in names if name]
    if wanted:
        dispatch.post(DELETE_TASK, {"names": wanted})


def purge_expired(limit: int = 500) -> int:
    """Delete assets whose time is over and that no open run needs. Their files follow. Returns how many."""
    with transaction.atomic():
        rows = list(
            Asset.objects.select_for_update(skip_locked=True)
            .filter(expires_at__lte=timezone.now())
            .exclude(pk__in=Asset.objects.needed().filter(expires_at__lte=timezone.now()).values("pk"))
            .order_by("expires_at")[:limit]
        )
        purge(rows)
    return len(rows)


def purge_uploads(limit: int = 100) -> int:
    """Delete uploads that were not finished in time, with their parts. Returns how many."""
    with transaction.atomic():
        rows = list(
            Upload.objects.select_for_update(skip_locked=True)
            .filter(expires_at__lte=timezone.now())
            .order_by("expires_at")[:limit]
        )
        ids = [row.pk for row in rows]
        discard_later(UploadPart.objects.filter(upload__in=ids).values_list("storage_name", flat=True))
        Upload.objects.filter(pk__in=ids).delete()
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
    """Delete these, inside a transaction. Their files follow through the outbox, at least once, if nobody else has
    them."""
    rows = list(assets)
    if not rows:
        return
    own = [row for row in rows if row.kind != Asset.Kind.UPLOAD]
    shared = [row for row in rows if row.kind == Asset.Kind.UPLOAD]
    names = [name for row in own for name in (row.storage_name, row.thumbnail_name) if name]
    uploads = [[row.workspace_id, row.sha256, row.storage_name, row.thumbnail_name] for row in shared]
    Asset.objects.filter(pk__in=[row.pk for row in rows]).delete()
    dispatch.post(DELETE_TASK, {"names": names, "uploads": uploads})


def purge_orphans() -> int:
    """Remove files that were stored for a row which never came, as a crash between the two leaves them.

    Looks only at files older than a day, so that none of a transaction that is still open is touched. Returns how many.
    """
    before = timezone.now() - ORPHAN_AGE
    removed = remove_stale(before.timestamp())
    for folder in (*_folders(ROOT_FOLDER, depth=FOLDER_DEPTH), *_folders(PARTS_FOLDER, depth=FOLDER_DEPTH)):
        names = [f"{folder}/{file}" for file in default_storage.listdir(folder)[1]]
        old = [name for name in names if default_storage.get_modified_time(name) < before]
        kept = set(Asset.objects.filter(storage_name__in=old).values_list("storage_name", flat=True))
        kept |= set(Asset.objects.filter(thumbnail_name__in=old).values_list("thumbnail_name", flat=True))
        kept |= set(UploadPart.objects.filter(storage_name__in=old).values_list("storage_name", flat=True))
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
    """Remove files from storage, those of uploads if no other upload has them; one that is gone already is fine."""
    names = list(payload["names"])
    for workspace_id, sha256, storage_name, thumbnail_name in payload.get("uploads", ()):
        others = Asset.objects.filter(workspace_id=workspace_id, sha256=sha256, kind=Asset.Kind.UPLOAD)
        if not others.filter(storage_name=storage_name).exists():
            names += filter(None, (storage_name, thumbnail_name))
    for name in names:
        default_storage.delete(name)
