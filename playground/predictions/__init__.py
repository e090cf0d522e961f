"""The life of a prediction, from the quote to the charge.

The row is the truth: queues, live states and receipts follow from it. Its transitions are single guarded statements,
money moves in the transaction that changes the status, and a worker is heard only while its attempt is the row's.
Workers have a face of their own in `playground.predictions.work`.
"""

from __future__ import annotations

from playground.predictions.cancel import cancel
from playground.predictions.find import NotFound, documents, find, history, queue_position
from playground.predictions.idempotency import IdempotencyConflict, IdempotencyInFlight, once
from playground.predictions.present import as_json, state_of
from playground.predictions.reasons import waiting
from playground.predictions.submit import (
    Caller,
    CannotRun,
    CostAboveCap,
    Request,
    quote,
    submit,
)
from playground.predictions.sweep import sweep, tidy, tidy_daily

__all__ = [
    "Caller",
    "CannotRun",
    "CostAboveCap",
    "IdempotencyConflict",
    "IdempotencyInFlight",
    "NotFound",
    "Request",
    "as_json",
    "cancel",
    "documents",
    "find",
    "history",
    "once",
    "queue_position",
    "quote",
    "state_of",
    "submit",
    "sweep",
    "tidy",
    "tidy_daily",
    "waiting",
]
