"""How a workspace's runs went: how many there were, how they ended, and how long they waited and ran.

Durations are seconds of runs that are over: `prepare` from when it was taken in to the start of its last attempt,
`run` from there to its end. Evaluated `bounded`, as every look through many runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from marketplace.models import Workspace
from playground.predictions.browse import bounded

SHARES = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
STEPS = ("minute", "hour", "day", "week", "month")
CALLERS_FAULTS = ("invalid_input", "unusable_input", "unusable_output")
TIMEOUTS = ("timeout", "hung")
STARTS = ("start_deadline", "not_started")
LOSSES = ("worker_lost",)
_QUERY = """
    SELECT {step}, model, count(*),
           count(*) FILTER (WHERE status = 'succeeded'),
           count(*) FILTER (WHERE status = 'canceled' OR error_code = ANY (%(callers)s)),
           count(*) FILTER (WHERE status = 'failed' AND error_code <> ALL (%(callers)s)),
           count(*) FILTER (WHERE status = 'failed' AND error_code = ANY (%(starts)s)),
           count(*) FILTER (WHERE status = 'failed' AND error_code = ANY (%(losses)s)),
           count(*) FILTER (WHERE status = 'failed' AND error_code = ANY (%(timeouts)s)),
           percentile_cont(%(shares)s) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at))
               FILTER (WHERE started_at IS NOT NULL AND finished_at IS NOT NULL),
           percentile_cont(%(shares)s) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))
               FILTER (WHERE started_at IS NOT NULL AND finished_at IS NOT NULL),
           coalesce(sum(extract(epoch FROM finished_at - started_at)) FILTER (WHERE cost_micros > 0), 0)
      FROM playground_prediction
     WHERE workspace_id = %(workspace)s AND deletion_id IS NULL AND model = ANY (%(models)s)
       AND created_at >= %(since)s AND created_at < %(until)s
     GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %(most)s OFFSET %(skip)s"""


@dataclass(frozen=True, slots=True)
class Timings:
    """The runs of one model that were taken in within one step of time; `at` is None where the whole range is one.

    Percentiles are in the order of `SHARES`, empty where no run is over.
    """

    at: datetime | None
    model: str
    runs: int
    succeeded: int
    callers_faults: int
    faults: int
    never_started: int
    lost: int
    too_slow: int
    prepare: tuple[float, ...]
    run: tuple[float, ...]
    charged_seconds: float


def timings(
    workspace: Workspace,
    models: Collection[str],
    since: datetime,
    until: datetime,
    *,
    step: str | None = None,
    skip: int = 0,
    most: int = 1000,
) -> list[Timings]:
    """How the runs of these models went, from `since` on, before `until`, by step of time. Raises TooBroad."""
    if step is not None and step not in STEPS:
        raise ValueError(f"{step!r} is no step of time")
    query = _QUERY.format(step=f"date_trunc('{step}', created_at, 'UTC')" if step else "NULL::timestamptz")
    asked: dict[str, Any] = {
        "workspace": workspace.pk,
        "models": list(models),
        "since": since,
        "until": until,
        "shares": list(SHARES),
        "callers": list(CALLERS_FAULTS),
        "timeouts": list(TIMEOUTS),
        "starts": list(STARTS),
        "losses": list(LOSSES),
        "most": most,
        "skip": skip,
    }
    with bounded(), connection.cursor() as cursor:
        cursor.execute(query, asked)
        found = cursor.fetchall()
    return [_timings(*row) for row in found]


def _timings(*row: Any) -> Timings:
    *counted, prepare, run, charged = row
    return Timings(*(*counted, _seconds(prepare), _seconds(run), round(float(charged), 3)))


def _seconds(values: list[float] | None) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values or ())
