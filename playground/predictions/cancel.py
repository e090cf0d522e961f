"""Canceling: the row closes at once, the engine finds out at its next step."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing import pricing
from playground import live
from playground.models import Prediction
from playground.predictions.present import state_of
from playground.predictions.settle import charge, last_words, refund_in_full


def cancel(row: Prediction) -> Prediction:
    """Close an open prediction as canceled, releasing its hold; one that is closed already is returned as it is.

    A waiting run is free to cancel. So is a running one, `FREE_CANCELS_PER_DAY` times a day per workspace; after that
    it is charged by the share of its steps, as pictures glimpsed for nothing would otherwise be the cheapest ones.
    """
    seen = live.read(row.public_id)  # what it said until now, which its worker will not say again
    with transaction.atomic():
        locked = Prediction.objects.select_for_update().get(pk=row.pk)
        if locked.is_terminal:
            return Prediction.objects.with_model().get(pk=row.pk)
        was_running = locked.status == Prediction.Status.RUNNING
        is_free = not was_running or not locked.step or _free_cancels_left(locked)
        locked.status = Prediction.Status.CANCELED
        locked.finished_at = timezone.now()
        if seen is not None and seen["attempt"] == locked.attempt:
            locked.logs = last_words(locked, seen)
        if is_free:
            refund_in_full(locked)
        else:
            quoted = pricing.Quote.from_json(locked.quote)
            done = Fraction(min(locked.step, locked.steps), max(locked.steps, 1))
            charge(locked, pricing.partial(pricing.settled(quoted, _at_this_pace(locked, done)), done))
        row = Prediction.objects.with_model().get(pk=row.pk)
        transaction.on_commit(lambda: live.publish([state_of(row)]), robust=True)
    return row


def _at_this_pace(row: Prediction, done: Fraction) -> dict[str, Decimal | int]:
    """How many seconds of compute the whole run would have taken, by how long its part took: half of a quote that is
    a bound would be dearer than the finished run. What runs beside it on the same worker has its share."""
    if row.started_at is None or row.finished_at is None or not done:
        return {}
    beside = Prediction.objects.filter(
        status=Prediction.Status.RUNNING, lane=row.lane, worker=row.worker
    ).exclude(pk=row.pk)
    ran = Fraction(max(0.0, (row.finished_at - row.started_at).total_seconds())) / (1 + beside.count()) / done
    seconds = Decimal(ran.numerator) / Decimal(ran.denominator)
    return {"compute_second": seconds.quantize(Decimal("0.001"), ROUND_CEILING)}


def end_all(workspace_id: int) -> int:
    """Close every open run of a workspace as canceled, none of them charged, in the caller's transaction.

    The caller holds the workspace's row, so that no run is accepted meanwhile. All runs are locked before any is
    settled: nobody else then settles in this workspace, and the limits that a hold counts in are waited for by none.
    Returns how many there were.
    """
    open_ones = Prediction.objects.filter(workspace_id=workspace_id).open().order_by("pk")
    rows = list(open_ones.with_model().select_for_update(no_key=True, of=("self",)))
    now = timezone.now()
    for row in rows:
        row.status, row.finished_at = Prediction.Status.CANCELED, now
        refund_in_full(row)
    if rows:
        transaction.on_commit(lambda: live.publish([state_of(row) for row in rows]), robust=True)
    return len(rows)


def _free_cancels_left(row: Prediction) -> bool:
    """Whether today's allowance has room. Counted under a lock, so that many at once cannot all be the last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('vitrine cancel'), %s)", [row.workspace_id % 2**31]
        )
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    used = Prediction.objects.filter(
        workspace_id=row.workspace_id,
        status=Prediction.Status.CANCELED,
        finished_at__gte=today,
        attempt__gt=0,
    ).count()
    return used < int(settings.FREE_CANCELS_PER_DAY)
