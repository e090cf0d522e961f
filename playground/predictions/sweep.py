"""What keeps the promise that nothing is silently stuck: it brings back what was lost and ends what cannot be.

One sweep runs at a time in the whole installation, about once a second; each step is safe to repeat or to miss.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from marketplace import catalog, dispatch
from marketplace.models import Endpoint
from playground import assets, live
from playground.models import Prediction
from playground.predictions import claims, covers, delete, faults, fetching, idempotency
from playground.predictions.cancel import cancel
from playground.predictions.files import FETCH_LANE
from playground.predictions.settle import last_words
from playground.predictions.work import MAX_FAULTS, close_failed, requeue

log = logging.getLogger(__name__)

WORKER_LOCK_CLASS = 0x76_77  # "vw": the first half of a worker's advisory lock
SWEEP_LOCK = 0x76_73_77_70
BATCH = 100  # rows that one step closes at most
RECONNECT_SECONDS = 8  # after a start of the database, in which workers take their locks again
SILENT_LANE_SECONDS = 60
STATS_LAG = timedelta(
    seconds=30
)  # longer than any settling transaction lasts, so that no run is counted late


class Swept(TypedDict):
    """How much a sweep did."""

    lost: int
    overdue: int
    expired: int
    canceled: int
    resent: int
    woken: int
    fetched: int


def sweep() -> Swept | None:
    """One sweep; None where another process is at it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SWEEP_LOCK])
        if not cursor.fetchone()[0]:
            return None
        try:
            return {
                "lost": _each(_lost),
                "overdue": _each(_overdue),
                "expired": _each(_expired),
                "canceled": _each(_canceled),
                "resent": _each(dispatch.resend_due),
                "woken": _each(_wake_waiting),
                "fetched": _each(fetching.hint_waiting),
            }
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [SWEEP_LOCK])


def tidy_daily() -> None:
    """What once a day is enough for: files that no row names, covers that nothing shows, inputs whose time is over."""
    for step in (
        assets.expire_closed,
        covers.let_go,
        assets.purge_orphans,
        forget_inputs,
        delete.forget_husks,
    ):
        _each(step)


def forget_inputs(limit: int = 10_000) -> int:
    """Empty the inputs and logs of runs that ended `INPUT_DAYS` ago, or whose workspace was closed; receipts and
    recipes without a caption stay. Examples keep theirs: their publisher shows them."""
    cutoff = timezone.now() - timedelta(days=settings.INPUT_DAYS)
    is_over = Q(finished_at__lt=cutoff) | Q(workspace__closed_at__isnull=False, finished_at__isnull=False)
    old = Prediction.objects.filter(is_over, example__isnull=True).exclude(input={}).values("pk")[:limit]
    return Prediction.objects.filter(pk__in=old).update(input={}, logs="")


def tidy() -> None:
    """The slower half: expired and deleted media, old idempotency keys, statistics. Once a minute is enough."""
    for step in (
        assets.purge_expired,
        delete.purge,
        assets.purge_uploads,
        idempotency.forget_old,
        faults.forget_old,
        count_runs,
    ):
        _each(step)


def _each(step: Callable[[], int]) -> int:
    """One step; its failure is logged and leaves the others to run."""
    try:
        return step()
    except Exception:
        log.exception("sweep step %s failed", step.__name__)
        return 0


_LOST = """
SELECT p.id FROM playground_prediction p
 WHERE p.status = 'running' AND p.id > %(after)s AND (
       p.lease_until < now()
    OR p.worker_lock IS NOT NULL
       AND %(is_settled)s
       AND NOT EXISTS (
           SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND l.classid = %(class)s AND l.objid = p.worker_lock))
 ORDER BY p.id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""


def _lost() -> int:
    """Bring back the work of workers that died (their advisory lock is gone) or froze (their lease is over)."""

    def bring_back(row: Prediction) -> None:
        _keep_last_words(row)
        stopped = f"The worker stopped during attempt {row.attempt}"
        faults.note(row, code="worker_lost", message=f"{stopped}.", killed=_has_died(row))
        if row.faults + 1 >= MAX_FAULTS:
            message = f"The run was lost {MAX_FAULTS} times with its worker. Nothing was charged."
            close_failed(row, code="worker_lost", message=message)
        else:
            requeue(row, note=f"{stopped}; trying again.", code="worker_lost")

    return _one_by_one(_LOST, bring_back, {"class": WORKER_LOCK_CLASS, "is_settled": _is_settled()})


_DIED = """
SELECT pg_postmaster_start_time() < %s AND NOT EXISTS (
   SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid = %s AND l.objid = %s)
"""


def _has_died(row: Prediction) -> bool:
    """Whether the worker of a lost run ended by itself. One that was frozen, or without its database for a while, did
    not; nor did one that was stopped, or went down with the whole machine and its database."""
    if row.worker_lock is None or live.was_stopping(row.lane, row.worker):
        return False
    with connection.cursor() as cursor:
        cursor.execute(_DIED, [row.started_at, WORKER_LOCK_CLASS, row.worker_lock])
        return bool(cursor.fetchone()[0])


# When the database was started, and when this process first saw it answer.
_database: tuple[datetime, float] | None = None


def _is_settled() -> bool:
    """Whether workers had the time to take their locks again since the database was started.

    Counted from when it answered, where this process saw an earlier start: its recovery may take longer than all of
    that time, and nobody can take a lock meanwhile.
    """
    global _database
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_postmaster_start_time(), extract(epoch FROM now() - pg_postmaster_start_time())"
        )
        started_at, up_seconds = cursor.fetchone()
    now = time.monotonic()
    if _database is None:
        _database = started_at, now - float(up_seconds)
    elif _database[0] != started_at:
        _database = started_at, now
    return now - _database[1] >= RECONNECT_SECONDS


_OVERDUE = """
SELECT p.id FROM playground_prediction p JOIN marketplace_endpoint e ON e.id = p.endpoint_id
 WHERE p.status = 'running' AND p.id > %(after)s AND p.started_at + e.max_seconds * interval '1 second' < now()
 ORDER BY p.id LIMIT 1 FOR NO KEY UPDATE OF p SKIP LOCKED
"""


def _overdue() -> int:
    """End runs that take longer than their endpoint allows."""

    def end(row: Prediction) -> None:
        seconds = row.endpoint.max_seconds
        message = f"The run took longer than {seconds} s and was stopped. Nothing was charged."
        _keep_last_words(row)
        # What never came to a first step hangs, and its worker has to be ended for it.
        hangs = row.step == 0 and row.endpoint.granularity == "step"
        faults.note(row, code="timeout", message=message, killed=hangs)
        close_failed(row, code="timeout", message=message)

    return _one_by_one(_OVERDUE, end)


_EXPIRED = """
SELECT id FROM playground_prediction WHERE status = 'queued' AND start_by < now() AND id > %(after)s
 ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""


def _expired() -> int:
    """End runs that did not start in time."""

    def end(row: Prediction) -> None:
        waited = round((row.start_by - row.created_at).total_seconds())
        why = "; its model is paused, as it ended several workers" if faults.is_paused(row) else ""
        message = f"The run did not start within {waited} s, the time it was given{why}. Nothing was charged."
        close_failed(row, code="start_deadline", message=message)

    return _one_by_one(_EXPIRED, end)


_CANCELED = """
SELECT id FROM playground_prediction
 WHERE cancel_by < now() AND status IN ('queued', 'running') AND id > %(after)s
 ORDER BY id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""


def _canceled() -> int:
    """Cancel runs whose caller gave them so long and no longer: charged as if the caller canceled them now."""
    return _one_by_one(_CANCELED, cancel)


def _keep_last_words(row: Prediction) -> None:
    """The log as viewers saw it last: its worker will not tell it again."""
    seen = live.read(row.public_id)
    if seen is not None and seen["attempt"] == row.attempt:
        row.logs = last_words(row, seen)


def _one_by_one(
    statement: str, act: Callable[[Prediction], object], parameters: Mapping[str, int | bool] | None = None
) -> int:
    """Do `act` to each row that the statement finds; how many it was done to.

    Each has a transaction of its own: a row that cannot be closed holds up no other, and no balance is locked while
    the next row's limits are waited for, which is the other way round than a submit takes them.
    """
    done, after = 0, 0
    for _ in range(BATCH):
        row = None
        try:
            with transaction.atomic():
                row = _first(statement, {**(parameters or {}), "after": after})
                if row is None:
                    break
                after = row.pk
                act(row)
        except Exception:
            if row is None:
                raise
            log.exception("the sweep could not close %s; it stays for the next one", row)
        else:
            done += 1
    return done


def _first(statement: str, parameters: Mapping[str, int | bool]) -> Prediction | None:
    """The row that the statement finds and locks."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchone()
    rows = Prediction.objects.select_related("version__listing__publisher", "endpoint")
    return rows.get(pk=found[0]) if found is not None else None


def _wake_waiting() -> int:
    """Hint to every lane where an engine may take something: a hint may have been lost with a broker or an engine."""
    lanes = [lane for lane in claims.waited_for() if lane != FETCH_LANE]
    for lane in lanes:
        # Where nobody seems to listen, hints would only pile up for whoever comes; an engine wakes itself as it starts.
        pending = dispatch.WAKE_TTL_SECONDS if live.engines(lane) else SILENT_LANE_SECONDS
        dispatch.send_wake(lane, pending_seconds=pending)
    return len(lanes)


_STATS = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))
  FROM playground_prediction
 WHERE endpoint_id = %s AND status = 'succeeded' AND finished_at > %s AND finished_at <= %s
"""


def count_runs() -> int:
    """Tell the catalog how many runs each endpoint finished since it was last told, and how long they took. Returns of
    how many endpoints."""
    until = timezone.now() - STATS_LAG
    due = list(Endpoint.objects.filter(counted_until__lt=until).values_list("pk", "counted_until"))
    for endpoint_id, since in due:
        with connection.cursor() as cursor:
            cursor.execute(_STATS, [endpoint_id, since, until])
            runs, median_s = cursor.fetchone()
        typical_ms = max(1, round(median_s * 1000)) if median_s is not None else None
        catalog.record_stats(
            endpoint_id=endpoint_id, runs=runs, typical_ms=typical_ms, since=since, until=until
        )
    return len(due)
