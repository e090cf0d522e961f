"""The worker's face: claim, renew, step, succeed, fail, release. Plain data in, plain data out.

An engine of ours calls these in its process; a publisher's own machine will call the same six over HTTP. A worker holds
a lease on what it claimed and a fence, the attempt number: once the attempt was given to somebody else, or the
prediction is closed, nothing that it says has any effect, and it is told so.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from billing import pricing
from marketplace import dispatch, schema
from playground import assets, live, tally
from playground.models import Prediction
from playground.models.webhook import STARTED_EVENT
from playground.predictions import claims, faults, progress
from playground.predictions.adapters import AdapterJson, worn
from playground.predictions.claims import Warmth
from playground.predictions.files import with_files
from playground.predictions.find import attach_model
from playground.predictions.present import state_of
from playground.predictions.settle import charge, kept_log, refund_in_full, storable

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
NO_FAULTS = {"invalid_input", "unusable_input", "unusable_output"}  # what came of the input and the seed
STARTED_TASK = "playground.prediction_started"  # lives a room above: called by name
MAX_FAULTS = 3  # lost attempts after which a prediction fails instead of taking another engine with it


class Job(TypedDict):
    """One claimed prediction. `id` and `fence` must come back with every word about it."""

    id: str
    fence: int
    lane: str
    model: str
    version: str
    recipe: dict[str, Any]
    input: dict[str, Any]
    exact: bool
    batch_key: str
    batch_on: list[str]
    max_batch: int
    max_seconds: int
    adapters: list[AdapterJson]


class Report(TypedDict):
    """Where one job is after a step. `preview` is a data: address or None; `logs` all lines so far."""

    id: str
    fence: int
    step: int
    steps: int
    preview: str | None
    logs: list[str]


class Medium(TypedDict):
    """One finished medium: its bytes, how it was encoded, and a small picture to show for a film."""

    data: bytes
    meta: Mapping[str, Any]
    poster: NotRequired[bytes | None]


def claim(
    *,
    worker: str,
    lane: str,
    limit: int,
    worker_lock: int | None = None,
    warmth: Warmth | None = None,
    in_turn: bool = False,
) -> list[Job]:
    """Take the next prediction of the lane, and up to `limit` - 1 more that may share its batch.

    `worker_lock` is the advisory lock that the worker holds while it lives; `in_turn` asks for the one that is next
    whatever the priorities, as every worker does now and then.
    """
    rows = claims.take(
        worker=worker,
        lane=lane,
        limit=limit,
        worker_lock=worker_lock,
        warmth=warmth or Warmth(),
        lease=LEASE,
        in_turn=in_turn,
    )
    return _taken(rows)


def join(*, beside: str, worker: str, lane: str, room: int, worker_lock: int | None = None) -> list[Job]:
    """Take what came since and may share the batch of the job `beside`, which was claimed a moment ago and has not
    begun, up to `room` pictures."""
    rows = claims.join(
        UUID(beside), worker=worker, lane=lane, room=room, worker_lock=worker_lock, lease=LEASE
    )
    return _taken(rows)


def is_waited_for(lane: str) -> bool:
    """Whether anything waits on `lane` that an engine may take now."""
    return claims.are_there(lane)


def _taken(rows: Sequence[Prediction]) -> list[Job]:
    try:
        jobs = [_job(attach_model(row)) for row in rows]
        if rows:
            live.publish([state_of(row) for row in rows])
            tally.add(tally.Measure("batch", {"lane": rows[0].lane}, len(rows), tally.SIZES))
        for row in rows:
            if row.webhook and STARTED_EVENT in row.webhook["events"]:
                dispatch.post(STARTED_TASK, {"prediction": row.public_id.hex})
    except BaseException:
        # They are ours by now: given back at once, nobody waits for a lease to end. As a fault, of which there are only
        # so many, as a run that cannot be started would else be taken for ever.
        for row in rows:
            message = "The worker could not start it. Nothing was charged."
            fail(id=row.public_id.hex, fence=row.attempt, code="not_started", message=message, retryable=True)
        raise
    return jobs


def renew(*, fences: Mapping[str, int]) -> list[str]:
    """Extend the lease of each job still held. Returns the ids that are lost: closed, or given to somebody else."""
    held = claims.touch([(UUID(i), fence, None, None) for i, fence in fences.items()], lease=LEASE)
    return [i for i in fences if UUID(i) not in held]


def step(*, reports: Sequence[Report]) -> list[str]:
    """Note progress, extend the leases, show viewers. Returns the ids of lost jobs, which must be stopped."""
    held = claims.touch([(UUID(r["id"]), r["fence"], r["step"], r["steps"]) for r in reports], lease=LEASE)
    states, lost = [], []
    for report in reports:
        row = held.get(UUID(report["id"]))
        if row is None:
            lost.append(report["id"])
        else:
            row.logs = "\n".join(report["logs"])
            states.append(state_of(row, preview=report["preview"]))
    if states:
        live.publish(states)
        progress.tell(held.values())
    return lost


def succeed(
    *,
    id: str,
    fence: int,
    media: Sequence[Medium],
    seed: int | None,
    metrics: Mapping[str, Any],
    logs: Sequence[str],
) -> bool:
    """Store the media, then close, charge, share and keep in one commit. False: too late, nothing was kept.

    Unusable media, or none, fail the prediction instead: nothing is charged for them.
    """
    began_at = time.perf_counter()
    try:
        if not media:
            raise assets.Unusable("there is none")
        stored = assets.store_all(
            [(one["data"], one["meta"]) for one in media], posters=[one.get("poster") or b"" for one in media]
        )
    except assets.Unusable as error:
        return fail(
            id=id,
            fence=fence,
            code="unusable_output",
            message=f"The model made nothing usable: {error}. Nothing was charged.",
            retryable=False,
            logs=logs,
        )
    measured = {**metrics, "store_s": round(time.perf_counter() - began_at, 6)}
    try:
        kept = _succeed(id, fence, stored, seed=seed, metrics=measured, logs=logs)
    except BaseException:
        # A commit whose answer was lost may have kept them.
        with contextlib.suppress(DatabaseError):
            if not assets.are_kept(stored):
                assets.discard(stored)
        raise
    if not kept:
        assets.discard(stored)
    return kept


def _succeed(
    id: str,
    fence: int,
    stored: Sequence[assets.Stored],
    *,
    seed: int | None,
    metrics: Mapping[str, Any],
    logs: Sequence[str],
) -> bool:
    with transaction.atomic():
        row = claims.hold_row(UUID(id), fence)
        if row is None:
            return False
        row.status = Prediction.Status.SUCCEEDED
        row.finished_at = timezone.now()
        name = schema.media_property(row.endpoint.output_schema)
        row.output = {name: [{"$media": n} for n in range(len(stored))], "seed": seed}
        row.metrics, row.logs, row.step = {**metrics, "wait_s": waited_s(row)}, kept_log(logs), row.steps
        kept = assets.keep(stored, prediction=row, expires_at=row.finished_at + kept_for(row))
        transaction.on_commit(lambda: live.publish([state_of(row, kept=kept)]), robust=True)
        charge(
            row, pricing.settled(pricing.Quote.from_json(row.quote), made(stored, metrics, ran_s=_ran_s(row)))
        )
    return True


def kept_for(row: Prediction) -> timedelta:
    """How long the media of a run are kept: as its workspace keeps them, or shorter where its request says so."""
    days = timedelta(days=row.output_days or settings.OUTPUT_DAYS)
    wished = (row.asked or {}).get("expires_seconds")
    return min(days, timedelta(seconds=wished)) if isinstance(wished, int) and wished > 0 else days


def made(
    stored: Sequence[assets.Stored], metrics: Mapping[str, Any], *, ran_s: float | None = None
) -> dict[str, Decimal | int]:
    """What was really made, by unit of price: what the quote promised at most is settled on it.

    Media count one by one, films and sounds by how long they last, and of a batch's seconds each has its share. A
    worker that tells no seconds, or more than the `ran_s` since it began, took those.
    """
    found: dict[str, Decimal | int] = {"image": len(stored)}
    lengths = [one.duration_ms for one in stored if one.duration_ms is not None]
    if lengths and len(lengths) == len(stored):
        found["second"] = Decimal(sum(lengths)) / 1000
    seconds, batch = metrics.get("total_s"), metrics.get("batch") or 1
    if ran_s and not (isinstance(seconds, int | float) and 0 < seconds <= ran_s):
        seconds = ran_s
    if isinstance(seconds, int | float) and seconds > 0 and isinstance(batch, int):
        share = Decimal(str(seconds)) * len(stored) / max(batch, len(stored))
        found["compute_second"] = share.quantize(Decimal("0.001"), ROUND_CEILING)
    return found


def _ran_s(row: Prediction) -> float | None:
    """Seconds since the latest attempt began, by our clock."""
    if row.started_at is None or row.finished_at is None:
        return None
    return max(0.0, (row.finished_at - row.started_at).total_seconds())


def fail(
    *,
    id: str,
    fence: int,
    code: str,
    message: str,
    retryable: bool,
    logs: Sequence[str] = (),
    killed: bool = False,
    elsewhere: bool = False,
) -> bool:
    """Close as failed and release the hold; a retryable one goes back to the queue while it has attempts left.

    `message` is for the user; `killed` says that the worker ends with it, and `elsewhere` that it leaves the next try
    to another machine. False: too late.
    """
    message = storable(message)
    with transaction.atomic():
        row = claims.hold_row(UUID(id), fence)
        if row is None:
            return False
        row.logs = kept_log(logs)
        if code not in NO_FAULTS:
            faults.note(row, code=code, message=message, killed=killed)
        if retryable and row.faults + 1 < MAX_FAULTS:
            next_try = "It is left to another machine." if elsewhere else "Trying again."
            requeue(row, note=f"{message} {next_try}", code=code)
        else:
            close_failed(row, code=code, message=message)
    return True


def release(*, id: str, fence: int, reason: str) -> bool:
    """Hand a job back unfinished, as a draining worker does: it keeps its place and is no fault. False: too late."""
    with transaction.atomic():
        row = claims.hold_row(UUID(id), fence)
        if row is None:
            return False
        requeue(row, note=reason)
    return True


def requeue(row: Prediction, *, note: str, code: str | None = None) -> None:
    """Put a running row, locked by the present transaction, back into its lane at its old place.

    `code` says what it failed of; without one it was no fault. After a fault it runs alone: what broke the engine must
    not break it for the others of its batch again. Some faults are worth a pause before the next try.
    """
    row.status = Prediction.Status.QUEUED
    may_start_at = timezone.now()
    if code is not None:
        row.faults += 1
        row.batch_key = ""
        wait = faults.pause(code, row.faults)
        may_start_at += wait
        row.not_before = may_start_at if wait else None
    # It did start in time; to start again it has the endpoint's patience, so that it is neither ended nor stuck.
    patience = timedelta(seconds=row.endpoint.start_within_seconds)
    row.start_by = max(row.start_by, may_start_at + patience)
    row.worker, row.worker_lock, row.lease_until, row.step = "", None, None, 0
    row.save(
        update_fields=[
            *("status", "faults", "batch_key", "not_before", "start_by", "worker", "worker_lock"),
            *("lease_until", "step", "logs"),
        ]
    )
    transaction.on_commit(lambda: live.publish([state_of(row, note=note)]), robust=True)
    dispatch.wake(row.lane)


def close_failed(row: Prediction, *, code: str, message: str) -> None:
    """Close an open row, locked by the caller's transaction, as failed: nothing is charged."""
    row.status = Prediction.Status.FAILED
    row.finished_at = timezone.now()
    row.error_code, row.error_message = code, message[:500]
    if row.started_at is not None:
        row.metrics = {**row.metrics, "wait_s": waited_s(row)}
    refund_in_full(row)
    transaction.on_commit(lambda: live.publish([state_of(row)]), robust=True)


def waited_s(row: Prediction) -> float:
    """Seconds from the request to the start of the latest attempt, lost attempts included."""
    if row.started_at is None:
        return 0.0
    return round(max((row.started_at - row.created_at).total_seconds(), 0.0), 6)


def _job(row: Prediction) -> Job:
    return {
        "id": row.public_id.hex,
        "fence": row.attempt,
        "lane": row.lane,
        "model": row.model,
        "version": row.version.sha256,
        "recipe": row.version.recipe,
        "input": with_files(row),
        "exact": row.exact,
        "batch_key": row.batch_key,
        "batch_on": row.endpoint.batch_on,
        "max_batch": row.endpoint.max_batch,
        "max_seconds": row.endpoint.max_seconds,
        "adapters": worn(row),
    }
