"""The life of a prediction, from the quote to the charge.

The row is the truth: queues, live states and receipts follow from it. Its transitions are single guarded statements,
money moves in the transaction that changes the status, and a worker is heard only while its attempt is the row's.
Workers have a face of their own in `playground.predictions.work`; looking through many runs, deleting, sharing and
exporting them is in `browse`, `delete`, `share`, `lineage` and `export`.
"""

from __future__ import annotations

from playground.predictions.browse import (
    ORDER,
    Filters,
    TooBroad,
    anchors,
    bounded,
    history,
    matching,
    open_runs,
)
from playground.predictions.cancel import cancel, end_all
from playground.predictions.delete import StillOpen, delete_one
from playground.predictions.examples import (
    CannotPin,
    example,
    examples,
    is_cover,
    is_pinned,
    may_pin,
    move,
    pin,
    unpin,
)
from playground.predictions.files import own_file
from playground.predictions.find import (
    Document,
    NotFound,
    attach_model,
    document_of,
    documents,
    find,
    queue_length,
    queue_position,
)
from playground.predictions.idempotency import IdempotencyConflict, IdempotencyInFlight, once
from playground.predictions.present import as_json, state_of
from playground.predictions.reasons import waiting
from playground.predictions.repeats import Repeat
from playground.predictions.submit import (
    Caller,
    CannotRun,
    CostAboveCap,
    ModelNotAllowed,
    Request,
    WorkspaceClosed,
    check_model,
    most_open_runs,
    price_of,
    quote,
    submit,
)
from playground.predictions.sweep import sweep, tidy, tidy_daily

__all__ = [
    "ORDER",
    "Caller",
    "CannotPin",
    "CannotRun",
    "CostAboveCap",
    "Document",
    "Filters",
    "IdempotencyConflict",
    "IdempotencyInFlight",
    "ModelNotAllowed",
    "NotFound",
    "Repeat",
    "Request",
    "StillOpen",
    "TooBroad",
    "WorkspaceClosed",
    "anchors",
    "as_json",
    "attach_model",
    "bounded",
    "cancel",
    "check_model",
    "delete_one",
    "document_of",
    "documents",
    "end_all",
    "example",
    "examples",
    "find",
    "history",
    "is_cover",
    "is_pinned",
    "matching",
    "may_pin",
    "most_open_runs",
    "move",
    "once",
    "open_runs",
    "own_file",
    "pin",
    "price_of",
    "queue_length",
    "queue_position",
    "quote",
    "state_of",
    "submit",
    "sweep",
    "tidy",
    "tidy_daily",
    "unpin",
    "waiting",
]
