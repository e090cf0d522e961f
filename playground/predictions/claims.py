"""The statements under the worker's face: who may take which row, and who still holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from marketplace.models import Version
from playground.models import Prediction
from playground.predictions.find import attach_model
from playground.predictions.places import MAY_RUN

WINDOW = 64  # how far down the queue a worker looks for what it has loaded
HEAD_START = timedelta(
    seconds=10
)  # by how much what is loaded may go before what came earlier, where the worker does not say; nothing starves by it

# By name: a plan that is kept for `*` breaks when a migration adds a column.
_COLUMNS = ", ".join(f"p.{field.column}" for field in Prediction._meta.concrete_fields)

# What a crash of the database may forget, because it is then only done again, does not wait for the disk. A part of
# the statement, not one of its own: a claim and every step are one trip to the server.
_HASTY = "(SELECT set_config('synchronous_commit', 'off', true)) AS hasty"

_PICTURES = (
    "CASE jsonb_typeof(q.input -> 'num_images') WHEN 'number' THEN (q.input ->> 'num_images')::numeric ELSE 1"
    " END"
)

# The head of the queue, and behind it those that may share its batch, as many as have room in it by their pictures;
# rows that another engine takes are passed over. What is loaded goes up to a head start before what came earlier, as
# does what would not start in time. `levels` are the priorities that wait, found by their index; in its turn, the
# oldest of any of them is the head.
_TAKE = (
    """
WITH RECURSIVE levels AS (
    SELECT (SELECT max(priority) FROM playground_prediction
             WHERE status = 'queued' AND lane = %(lane)s) AS priority
     WHERE %(in_turn)s
     UNION ALL
    SELECT (SELECT max(q.priority) FROM playground_prediction q
             WHERE q.status = 'queued' AND q.lane = %(lane)s AND q.priority < levels.priority)
      FROM levels WHERE levels.priority IS NOT NULL
), near AS (
    (SELECT id FROM playground_prediction q
     WHERE status = 'queued' AND lane = %(lane)s AND start_by > now() AND {may_run}
       AND q.version_id <> ALL(%(left)s::bigint[])
     ORDER BY priority DESC, fair_at LIMIT %(window)s)
     UNION
    SELECT eldest.id FROM levels CROSS JOIN LATERAL (
           SELECT id FROM playground_prediction q
            WHERE status = 'queued' AND lane = %(lane)s AND start_by > now() AND {may_run}
              AND priority = levels.priority AND q.version_id <> ALL(%(left)s::bigint[])
            ORDER BY fair_at LIMIT 1) AS eldest
), head AS (
    SELECT q.id, q.batch_key, e.max_batch, {pictures} AS pictures
      FROM playground_prediction q
      JOIN near ON near.id = q.id
      JOIN marketplace_version v ON v.id = q.version_id
      JOIN marketplace_endpoint e ON e.id = q.endpoint_id
     WHERE q.status = 'queued' AND (v.sha256 = ANY(%(warm)s) OR (
           (NOT %(steady)s OR q.fair_at < now() - %(head_start)s * interval '1 second')
           AND NOT EXISTS (SELECT 1 FROM unnest(%(elsewhere)s::text[], %(patience)s::float[]) AS other(version, seconds)
                            WHERE other.version = v.sha256
                              AND q.created_at > now() - other.seconds * interval '1 second'
                              AND q.start_by > now() + (other.seconds + %(head_start)s) * interval '1 second')))
     ORDER BY CASE WHEN %(in_turn)s THEN 0 ELSE q.priority END DESC,
              q.fair_at - CASE WHEN v.sha256 = ANY(%(warm)s)
                                 OR q.start_by < now() + %(head_start)s * interval '1 second'
                               THEN %(head_start)s ELSE 0 END * interval '1 second'
     LIMIT 1 FOR NO KEY UPDATE OF q SKIP LOCKED
), mates AS (
    SELECT q.id, q.priority, q.fair_at, {pictures} AS pictures
      FROM playground_prediction q
     WHERE q.status = 'queued' AND q.lane = %(lane)s AND q.start_by > now() AND {may_run}
       AND q.batch_key <> '' AND q.batch_key = (SELECT batch_key FROM head) AND q.id <> (SELECT id FROM head)
     ORDER BY q.priority DESC, q.fair_at
     LIMIT greatest(0, least(%(limit)s, (SELECT max_batch FROM head)) - 1) FOR NO KEY UPDATE SKIP LOCKED
), crew AS (
    SELECT id, sum(pictures) OVER (ORDER BY priority DESC, fair_at, id) AS pictures FROM mates
)
UPDATE playground_prediction p
   SET status = 'running', attempt = p.attempt + 1, worker = %(worker)s, worker_lock = %(lock)s,
       lease_until = clock_timestamp() + %(lease)s * interval '1 second', started_at = %(now)s, step = 0, steps = 0
  FROM {hasty}
 WHERE p.id IN (
       SELECT id FROM head
        UNION ALL
       SELECT id FROM crew WHERE crew.pictures <= (SELECT max_batch - pictures FROM head))
RETURNING {columns}
""".replace("{hasty}", _HASTY)
    .replace("{columns}", _COLUMNS)
    .replace("{may_run}", MAY_RUN)
    .replace("{pictures}", _PICTURES)
)


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a worker would rather take: `loaded` version ids go up to `head_start` before what came earlier.

    What other workers of the lane have loaded and this one has not, `elsewhere`, is left to them for so many seconds,
    where it would still start in time after them.
    `steady`: nothing else than what is loaded, but for what has waited longer than the head start.
    `left` is what this worker cannot run and others can: it takes none of it.
    """

    loaded: Sequence[str] = ()
    head_start: timedelta = HEAD_START
    elsewhere: Mapping[str, float] = field(default_factory=dict)
    steady: bool = False
    left: Sequence[str] = ()


def take(
    *,
    worker: str,
    lane: str,
    limit: int,
    worker_lock: int | None,
    warmth: Warmth,
    lease: timedelta,
    in_turn: bool = False,
) -> list[Prediction]:
    """Claim the head of the lane and its batch mates, in one statement, in queue order.

    `in_turn`: whatever the priorities; a worker that asks so now and then lets none of them starve.

    A claim that is lost in a crash of the database is only made again, so it does not wait for the disk. Leases and
    deadlines are by the clock of the database, which the sweep reads too, so that no machine's own clock matters.
    """
    parameters = {
        "lane": lane,
        "now": timezone.now(),
        "lease": lease.total_seconds(),
        "limit": limit,
        "window": WINDOW,
        "warm": list(warmth.loaded),
        "head_start": warmth.head_start.total_seconds(),
        "elsewhere": list(warmth.elsewhere),
        "patience": list(warmth.elsewhere.values()),
        "steady": warmth.steady,
        "left": _version_ids(warmth.left),
        "in_turn": in_turn,
        "worker": worker,
        "lock": worker_lock,
    }
    return sorted(Prediction.objects.raw(_TAKE, parameters), key=lambda row: (-row.priority, row.fair_at))


def _version_ids(versions: Sequence[str]) -> list[int]:
    return list(Version.objects.filter(sha256__in=versions).values_list("pk", flat=True)) if versions else []


_ARE_THERE = """
SELECT EXISTS (SELECT 1 FROM playground_prediction q
                WHERE q.status = 'queued' AND q.lane = %s AND q.start_by > now() AND {may_run})
""".replace("{may_run}", MAY_RUN)


def are_there(lane: str) -> bool:
    """Whether `take` would find any row of `lane`, for an engine that has nothing loaded."""
    with connection.cursor() as cursor:
        cursor.execute(_ARE_THERE, [lane])
        return bool(cursor.fetchone()[0])


# Of each lane one row is enough; what is paused or ends without a start is passed over.
_WAITED_FOR = """
SELECT lanes.lane FROM (SELECT DISTINCT lane FROM playground_prediction WHERE status = 'queued') AS lanes
 WHERE EXISTS (SELECT 1 FROM playground_prediction q
                WHERE q.status = 'queued' AND q.lane = lanes.lane AND q.start_by > now() AND {may_run})
 ORDER BY lanes.lane
""".replace("{may_run}", MAY_RUN)


def waited_for() -> list[str]:
    """The lanes of which `are_there` is true."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITED_FOR)
        return [lane for (lane,) in cursor.fetchall()]


# More for a batch that was claimed a moment ago, while it has not begun.
_JOIN = (
    """
WITH mates AS (
    SELECT q.id, q.priority, q.fair_at, {pictures} AS pictures
      FROM playground_prediction q
     WHERE q.status = 'queued' AND q.lane = %(lane)s AND q.start_by > now() AND {may_run}
       AND q.batch_key <> '' AND q.batch_key = (
           SELECT batch_key FROM playground_prediction WHERE public_id = %(beside)s AND status = 'running')
     ORDER BY q.priority DESC, q.fair_at
     LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), crew AS (
    SELECT id, sum(pictures) OVER (ORDER BY priority DESC, fair_at, id) AS pictures FROM mates
)
UPDATE playground_prediction p
   SET status = 'running', attempt = p.attempt + 1, worker = %(worker)s, worker_lock = %(lock)s,
       lease_until = clock_timestamp() + %(lease)s * interval '1 second', started_at = %(now)s, step = 0, steps = 0
  FROM {hasty}
 WHERE p.id IN (SELECT id FROM crew WHERE crew.pictures <= %(room)s)
RETURNING {columns}
""".replace("{hasty}", _HASTY)
    .replace("{columns}", _COLUMNS)
    .replace("{may_run}", MAY_RUN)
    .replace("{pictures}", _PICTURES)
)


def join(
    beside: UUID, *, worker: str, lane: str, room: int, worker_lock: int | None, lease: timedelta
) -> list[Prediction]:
    """Claim what may share the batch of the running row `beside`, up to `room` pictures, in queue order."""
    parameters = {
        "beside": beside,
        "lane": lane,
        "now": timezone.now(),
        "lease": lease.total_seconds(),
        "limit": room,
        "room": room,
        "worker": worker,
        "lock": worker_lock,
    }
    return sorted(Prediction.objects.raw(_JOIN, parameters), key=lambda row: (-row.priority, row.fair_at))


_TOUCH = """
UPDATE playground_prediction p
   SET lease_until = clock_timestamp() + %(lease)s * interval '1 second',
       step = coalesce(r.step, p.step), steps = coalesce(r.steps, p.steps)
  FROM unnest(%(ids)s::uuid[], %(fences)s::int[], %(step)s::int[], %(steps)s::int[]) AS r(id, fence, step, steps),
       {hasty}
 WHERE p.public_id = r.id AND p.attempt = r.fence AND p.status = 'running'
RETURNING {columns}
""".replace("{hasty}", _HASTY).replace("{columns}", _COLUMNS)


def touch(
    words: Sequence[tuple[UUID, int, int | None, int | None]], *, lease: timedelta
) -> dict[UUID, Prediction]:
    """Extend leases and note (step, of steps) where given, in one statement that does not wait for the disk.

    `words` are (id, fence, step, steps). Returns the rows that are still held; whoever is missing is lost.
    """
    ids, fences, step, steps = (
        (list(column) for column in zip(*words, strict=True)) if words else ([], [], [], [])
    )
    parameters = {"lease": lease.total_seconds(), "ids": ids, "fences": fences, "step": step, "steps": steps}
    return {row.public_id: row for row in Prediction.objects.raw(_TOUCH, parameters)}


_HOLD = """
SELECT {columns}, (SELECT output_days FROM marketplace_workspace w WHERE w.id = p.workspace_id) AS output_days
  FROM playground_prediction p
 WHERE public_id = %s AND attempt = %s AND status = 'running'
   FOR NO KEY UPDATE
""".replace("{columns}", _COLUMNS)


def hold_row(public_id: UUID, fence: int) -> Prediction | None:
    """The running row of this attempt, locked until the caller's transaction ends; None if the attempt is over."""
    for row in Prediction.objects.raw(_HOLD, [public_id, fence]):
        return attach_model(row)
    return None
