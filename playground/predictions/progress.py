"""Runs under way of which somebody wants to hear as they go: a word now and then to the address that asked for it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import redis

from marketplace import dispatch
from playground.models import Prediction
from playground.models.webhook import LOGS_EVENT

PROGRESS_TASK = "playground.prediction_progressed"  # lives a room above: called by name
PAUSE_MS = 500  # between two words about one run


def tell(rows: Iterable[Prediction]) -> None:
    """Have it be told how far each of these runs is, if its request asked for that and was not told just now.

    What is passed over is in the next word, and all of it in what tells of the end. A run whose request did not ask
    costs nothing here; without Redis nobody is told.
    """
    for row in rows:
        if row.webhook and LOGS_EVENT in row.webhook["events"] and _is_time(row.public_id):
            dispatch.post(PROGRESS_TASK, {"prediction": row.public_id.hex})


def _is_time(public_id: UUID) -> bool:
    try:
        return bool(dispatch.redis_client().set(f"progress:{public_id.hex}", 1, nx=True, px=PAUSE_MS))
    except redis.RedisError:
        return False
