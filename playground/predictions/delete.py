"""Deleting runs with their media: hidden at once, undone on request for a while, then gone for good.

Money is not touched: a run is deleted when it is closed, and what it cost stays in the ledger and in the usage, which
know it by value. An emptied row stays for two days, so that nobody gains a free cancel, or a second run from one
idempotency key, by deleting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from marketplace.ids import parse
from marketplace.models import User, Workspace
from playground import assets, live
from playground.models import Asset, Deletion, Prediction, Source
from playground.predictions.cancel import cancel
from playground.predictions.find import NotFound

UNDO = timedelta(minutes=15)
HUSK = timedelta(days=2)  # longer than a day's free cancels and an idempotency key last
MAX_AT_ONCE = 500
PURGE_BATCH = 50


class StillOpen(Exception):
    """The run is queued or running; cancel it first."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What an act of deleting did. `deletion` is None where there was nothing to do."""

    deletion: Deletion | None
    hidden: list[UUID]
    left_open: list[UUID]


def delete(
    workspace: Workspace, public_ids: Collection[UUID], *, by: User | None, cancel_open: bool = False
) -> Deleted:
    """Hide these runs of the workspace with their media, in one act that `undo` takes back as one.

    Outputs go with their run; a file that was sent in goes too unless another run uses it. Open ones are left, or with
    `cancel_open` canceled first. Ids that are not the workspace's, or deleted already, are passed over.
    """
    wanted = list(public_ids)[:MAX_AT_ONCE]
    if cancel_open:
        for row in Prediction.objects.of(workspace).open().filter(public_id__in=wanted):
            cancel(row)
    with transaction.atomic():
        # In one order, so that two at once wait for each other; a worker that closes one of them is waited for too.
        found = list(
            Prediction.objects.of(workspace)
            .select_for_update(no_key=True)
            .filter(public_id__in=wanted)
            .only("public_id", "status")
            .order_by("pk")
        )
        closed = [row for row in found if row.is_terminal]
        left = [row.public_id for row in found if not row.is_terminal]
        if not closed:
            return Deleted(None, [], left)
        deletion = Deletion.objects.create(workspace=workspace, created_by=by)
        Prediction.objects.filter(pk__in=[row.pk for row in closed]).update(deletion=deletion)
        _media([row.pk for row in closed]).update(deletion=deletion)
        hidden = [row.public_id for row in closed]
        transaction.on_commit(lambda: live.withdraw(hidden), robust=True)
    return Deleted(deletion, hidden, left)


def delete_one(workspace: Workspace, public_id: UUID, *, by: User | None, cancel_open: bool = False) -> None:
    """`delete` for one that must be there. Done already is done. Raises NotFound, StillOpen."""
    done = delete(workspace, [public_id], by=by, cancel_open=cancel_open)
    if done.left_open:
        raise StillOpen("The run is still open. Cancel it first, or ask for both at once.")
    if not done.hidden and not Prediction.objects.filter(workspace=workspace, public_id=public_id).exists():
        raise NotFound("There is no such prediction in this workspace.")


def undo(workspace: Workspace, deletion_id: str) -> int:
    """Show again what one act of deleting hid. Returns how many runs; 0 if it is too late or was done before."""
    with transaction.atomic():
        deletion = _undoable(workspace, deletion_id).select_for_update().first()
        if deletion is None:
            return 0
        shown = list(deletion.predictions.values_list("public_id", flat=True))
        deletion.predictions.update(deletion=None)
        deletion.assets.update(deletion=None)
        transaction.on_commit(lambda: live.bring_back(shown), robust=True)
    return len(shown)


def pending(workspace: Workspace, deletion_id: str) -> int:
    """How many runs `undo` would show again now."""
    found = _undoable(workspace, deletion_id).first()
    return found.predictions.count() if found is not None else 0


def purge() -> int:
    """Remove for good what can be undone no more, some acts of deleting at a time. Returns how many."""
    cutoff = timezone.now() - UNDO
    done = 0
    for _ in range(PURGE_BATCH):
        with transaction.atomic():
            deletion = (
                Deletion.objects.select_for_update(skip_locked=True)
                .filter(purged_at=None, created_at__lte=cutoff)
                .order_by("created_at")
                .first()
            )
            if deletion is None:
                break
            # What an open run was promised is left to expire; it stays hidden.
            waited_for = Source.objects.filter(prediction__in=Prediction.objects.open(), asset__isnull=False)
            assets.purge(deletion.assets.exclude(pk__in=waited_for.values("asset")))
            deletion.predictions.update(input={}, output=None, logs="", metrics={}, error_message="")
            deletion.purged_at = timezone.now()
            deletion.save(update_fields=["purged_at"])
        done += 1
    return done


def forget_husks(limit: int = 1000) -> int:
    """Delete the emptied rows of what was purged two days ago. Returns how many."""
    old = Deletion.objects.filter(purged_at__lt=timezone.now() - HUSK)
    rows = Prediction.objects.filter(deletion__in=old).values("pk")[:limit]
    removed = Prediction.objects.filter(pk__in=[row["pk"] for row in rows]).delete()[0]
    old.filter(predictions=None, assets=None).delete()
    return removed


def _undoable(workspace: Workspace, deletion_id: str) -> QuerySet[Deletion]:
    public_id = parse(deletion_id[:64], "d")
    rows = Deletion.objects.filter(workspace=workspace, created_at__gt=timezone.now() - UNDO, purged_at=None)
    return rows.filter(public_id=public_id) if public_id is not None else rows.none()


def _media(rows: Iterable[int]) -> QuerySet[Asset]:
    """The outputs of these runs, and the uploads that no other run uses."""
    rows = list(rows)
    elsewhere = Source.objects.filter(prediction__deletion=None).exclude(prediction__in=rows)
    uploads = (
        Asset.objects.filter(kind=Asset.Kind.UPLOAD, uses__prediction__in=rows)
        .exclude(pk__in=elsewhere.filter(asset__isnull=False).values("asset"))
        .values("pk")
    )
    return Asset.objects.filter(Q(prediction__in=rows) | Q(pk__in=uploads), deletion=None)
