"""Attempts that were lost: who is to blame, when it is tried again, and what no engine takes for a while.

One prediction that ends its engine is tried a few times, alone, and then fails: `work.MAX_FAULTS`. A version that ends
one engine with each of its predictions would still take a lane down, a few restarts for each. So it is paused: for the
workspace whose runs did it, as their input may be the cause; for everybody once it happens to several workspaces and to
nobody does it work. After the pause one more loss is enough for the next one, which is twice as long.
"""

from __future__ import annotations

import functools
import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from marketplace.models import User
from playground import tally
from playground.models import Fault, Prediction, Quarantine
from playground.models.fault import QuarantineQuerySet

log = logging.getLogger(__name__)

STRIKES = 3  # engines that one version ends, each with nothing else on it
WINDOW = timedelta(minutes=15)  # within which they count together
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=1)
PROBATION = timedelta(hours=1)  # after a pause, in which one strike is enough
KEPT = timedelta(days=30)
# Seconds until the next attempt, by how many were lost before it; the last repeats. What does not fit on a disk or
# into a memory now will not in the next instant either.
PAUSES: dict[str, tuple[int, ...]] = {"not_stored": (10, 60), "out_of_memory": (2, 10)}
PAUSE_OF_OTHERS = (0, 5)  # the second time, so that what waits behind it has its turn in between


def pause(code: str, faults: int) -> timedelta:
    """How long a run waits after its `faults`-th lost attempt, which ended with `code`."""
    spans = PAUSES.get(code, PAUSE_OF_OTHERS)
    return timedelta(seconds=spans[min(faults, len(spans)) - 1]) if faults else timedelta()


def note(row: Prediction, *, code: str, message: str, killed: bool = False) -> None:
    """Write down that the present attempt of `row` was lost, before its worker is forgotten; `row` is locked."""
    alone = killed and _was_alone(row)
    Fault.objects.create(
        prediction=row,
        version_id=row.version_id,
        workspace_id=row.workspace_id,
        lane=row.lane,
        worker=row.worker,
        attempt=row.attempt,
        code=code,
        message=message[:500],
        killed=killed,
        alone=alone,
    )
    counted = tally.Count("faults", {"lane": row.lane, "code": code})
    transaction.on_commit(functools.partial(tally.add, counted), robust=True)
    if alone:
        _judge(row)


def _was_alone(row: Prediction) -> bool:
    """Whether the engine that ended had nothing but `row`; others that it ended with may have been told of before.

    What it lost while it lived, a full disk or a memory that was too small, says nothing of its end.
    """
    mates = Prediction.objects.filter(worker=row.worker, status=Prediction.Status.RUNNING).exclude(pk=row.pk)
    since = timezone.now() - WINDOW
    lost_before = Fault.objects.filter(worker=row.worker, killed=True, occurred_at__gt=since)
    return not mates.exists() and not lost_before.exclude(prediction=row).exists()


def _judge(row: Prediction) -> None:
    """Pause the version of `row` where it has ended too many engines."""
    now = timezone.now()
    of_version = Fault.objects.filter(version=row.version_id, killed=True, alone=True)
    own = of_version.filter(workspace=row.workspace_id, occurred_at__gt=_since(row, row.workspace_id, now))
    if _is_too_many(own.aggregate(runs=Count("prediction", distinct=True), all=Count("pk")), row, now):
        _pause(row, row.workspace_id, now)
    everybody = of_version.filter(occurred_at__gt=_since(row, None, now))
    found = everybody.aggregate(houses=Count("workspace", distinct=True), all=Count("pk"))
    first = everybody.order_by("occurred_at").values_list("occurred_at", flat=True).first()
    if found["houses"] > 1 and (found["all"] >= STRIKES or _is_on_probation(row, None, now)):
        worked = Prediction.objects.filter(
            endpoint__version=row.version_id, status=Prediction.Status.SUCCEEDED, finished_at__gt=first
        )
        if not worked.exists():
            _pause(row, None, now)


def _is_too_many(found: dict[str, int], row: Prediction, now: datetime) -> bool:
    """One run alone is no reason: it fails for good after its last attempt."""
    is_twice = found["runs"] > 1 and found["all"] >= STRIKES
    return is_twice or (found["all"] > 0 and _is_on_probation(row, row.workspace_id, now))


def _last(row: Prediction, workspace: int | None) -> Quarantine | None:
    rows = Quarantine.objects.filter(version=row.version_id, workspace=workspace)
    return rows.order_by("-until").first()


def _since(row: Prediction, workspace: int | None, now: datetime) -> datetime:
    last = _last(row, workspace)
    return max(now - WINDOW, last.until) if last is not None else now - WINDOW


def _is_on_probation(row: Prediction, workspace: int | None, now: datetime) -> bool:
    last = _last(row, workspace)
    return last is not None and last.released_at is None and last.until > now - PROBATION


def _pause(row: Prediction, workspace: int | None, now: datetime) -> None:
    before = Quarantine.objects.filter(
        version=row.version_id, workspace=workspace, until__gt=now - timedelta(days=1), released_at=None
    )
    length = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** before.count())
    whose = "runs of one workspace" if workspace is not None else "runs of several workspaces"
    reason = f"It ended {STRIKES} workers with {whose}." if not before else "It ended another worker."
    Quarantine.objects.create(
        version_id=row.version_id, workspace_id=workspace, reason=reason, since=now, until=now + length
    )
    log.error("%s is paused for %s: %s", row.model, length, reason)


def quarantined() -> QuarantineQuerySet:
    """The quarantines in force, newest first."""
    rows = Quarantine.objects.in_force().order_by("-since")
    return rows.select_related("version__listing__publisher", "workspace")


def is_paused(row: Prediction) -> bool:
    """Whether no engine takes `row` now because of its version."""
    rows = Quarantine.objects.in_force().filter(version=row.version_id)
    return any(one.workspace_id in {None, row.workspace_id} for one in rows)


def let_go(quarantine_id: int, *, by: User) -> Quarantine | None:
    """End a quarantine by hand; None where there is none in force. What it waited for is past, so it starts anew."""
    now = timezone.now()
    changed = Quarantine.objects.in_force(now).filter(pk=quarantine_id)
    if not changed.update(until=now, released_at=now, released_by=by):
        return None
    return Quarantine.objects.select_related("version__listing__publisher").get(pk=quarantine_id)


def forget_old() -> int:
    """Forget faults and quarantines of more than a month ago. Returns how many rows."""
    cutoff = timezone.now() - KEPT
    faults, _ = Fault.objects.filter(occurred_at__lt=cutoff).delete()
    quarantines, _ = Quarantine.objects.filter(until__lt=cutoff).delete()
    return faults + quarantines
