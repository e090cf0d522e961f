"""Closing a prediction: its row, who is told, and one capture or one release, in the caller's transaction.

The row is written first and the money last, so that balances, which other runs of the workspace wait for, are locked
for as short as can be.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

from django.db import connection, transaction

from billing import ledger, pricing
from marketplace import dispatch, schema
from playground import tally
from playground.live import State
from playground.models import Prediction
from playground.predictions.present import notes_of

PERCENT = 100
CLOSED_TASK = "playground.prediction_closed"  # lives a room above: called by name
PHASES = (
    "wait",
    "load",
    "encode",
    "steps",
    "decode",
    "file",
    "store",
    "total",
)  # of `metrics`, each with `_s`
MAX_LOG = 64 * 1024  # characters of a run's log that are kept: its end


def charge(row: Prediction, priced: pricing.Quote) -> None:
    """Write the closed row, capture `priced` from its hold, and give the publisher its share."""
    _close(row, priced.amount_micros)
    publisher = row.version.listing.publisher
    ledger.capture(
        reference=row.public_id,
        amount_micros=priced.amount_micros,
        share=ledger.Share(
            publisher_id=publisher.pk,
            fraction=publisher.share_percent / PERCENT,
            own_workspace=publisher.workspace_id == row.workspace_id,
        ),
        usage=_usage(row, priced),
    )


def refund_in_full(row: Prediction) -> None:
    """Write the closed row and release its hold: it costs nothing. The statement lists it as not charged."""
    _close(row, 0)
    ledger.release(reference=row.public_id, usage=_usage(row, None))


def last_words(row: Prediction, seen: State) -> str:
    """The log as viewers saw it last, as the row keeps it: without the lines that it tells by itself."""
    notes = notes_of(row)
    lines = seen["logs"]
    return kept_log(lines[len(notes) :] if lines[: len(notes)] == notes else lines)


def kept_log(lines: Sequence[str]) -> str:
    """The end of a log, as its row keeps it."""
    return storable("\n".join(lines)[-MAX_LOG:])


def storable(text: str) -> str:
    """What an engine says with what a file called something, as the database takes it: without the character 0."""
    return text.replace("\0", "\ufffd")


# Whether anybody is told is looked up by the statement that closes the row: what it sees is newer than the run's end,
# so that no webhook is passed over which was there by then.
_CLOSE = """
UPDATE playground_prediction p
   SET status = %(status)s, finished_at = %(finished_at)s, cost_micros = %(cost_micros)s, step = %(step)s,
       input = %(input)s::jsonb, output = %(output)s::jsonb, metrics = %(metrics)s::jsonb, logs = %(logs)s,
       error_code = %(error_code)s, error_message = %(error_message)s
 WHERE p.id = %(id)s
RETURNING p.webhook IS NOT NULL
       OR EXISTS (SELECT FROM playground_webhook w WHERE w.workspace_id = p.workspace_id AND w.is_enabled)
"""


def _close(row: Prediction, cost_micros: int) -> None:
    """Write what closing changed on a row that is locked, and promise that those hear of it who want to."""
    row.cost_micros = cost_micros
    transaction.on_commit(functools.partial(_count, row), robust=True)
    # A secret is needed while the run is open and by nobody afterwards; nor is the rest, where its caller wants it so.
    keeps_input = (row.asked or {}).get("keeps_input", True)
    row.input = schema.redact(row.endpoint.input_schema, row.input) if keeps_input else {}
    plain = ("id", "status", "finished_at", "cost_micros", "step", "logs", "error_code", "error_message")
    parameters = {name: getattr(row, name) for name in plain} | {
        "input": json.dumps(row.input),
        "output": json.dumps(row.output) if row.output is not None else None,
        "metrics": json.dumps(row.metrics),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLOSE, parameters)
        (is_awaited,) = cursor.fetchone()
    if is_awaited:
        dispatch.post(CLOSED_TASK, {"prediction": row.public_id.hex})


def _usage(row: Prediction, priced: pricing.Quote | None) -> ledger.Usage:
    return ledger.Usage(
        model=row.model,
        status=row.status,
        quote=dict(priced.as_json(model=row.model)) if priced is not None else {},
        units={line.unit: str(line.quantity) for line in priced.lines} if priced is not None else {},
        key_id=row.api_key_id,
        user_id=row.created_by_id,
        occurred_at=row.finished_at,
    )


def _count(row: Prediction) -> None:
    """Count a closed run, and what took its time if it was made."""
    events: list[tally.Count | tally.Measure] = [
        tally.Count("predictions", {"lane": row.lane, "status": row.status})
    ]
    if row.status == Prediction.Status.SUCCEEDED:
        for phase in PHASES:
            seconds = row.metrics.get(f"{phase}_s")
            if isinstance(seconds, int | float):
                events.append(tally.Measure("phase", {"lane": row.lane, "phase": phase}, float(seconds)))
        steps, took_s = row.metrics.get("steps"), row.metrics.get("steps_s")
        if isinstance(steps, int) and isinstance(took_s, int | float):
            events.append(tally.Count("steps", {"lane": row.lane}, steps))
            events.append(tally.Count("step_seconds", {"lane": row.lane}, took_s))
    elif row.status == Prediction.Status.FAILED:
        events.append(tally.Count("failures", {"lane": row.lane, "code": row.error_code}))
    tally.add(*events)
