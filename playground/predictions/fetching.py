"""Runs whose files are still on somebody's server: control fetches them, then the run joins its lane.

Until then it is queued on a lane that nobody serves: it can be cancelled, it runs out of patience, and it says what it
waits for, like every other run. What cannot be fetched ends it, without a charge.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any
from urllib.parse import unquote

from django.db import transaction
from django.utils import timezone

from marketplace import catalog, dispatch, outbound, schema
from marketplace.ids import encode, parse
from playground import examiner, live
from playground.assets import uploads
from playground.models import Asset, Prediction
from playground.predictions import adapters
from playground.predictions.files import FETCH_LANE, is_address, made, most_bytes, pin, trouble_of
from playground.predictions.places import batch_key, fair_at
from playground.predictions.present import state_of
from playground.predictions.work import close_failed

TASK = "playground.fetch_inputs"
SECONDS = 30.0  # for one file
SECONDS_IN_ALL = 120.0
PENDING_SECONDS = 150  # after which a fetch is taken for lost
AT_ONCE = 3  # in this process, so that slow servers leave threads for the rest of control's work
WAITING = 50  # that one sweep hints at

_room = threading.BoundedSemaphore(AT_ONCE)


def hint_on_commit(row: Prediction) -> None:
    """Have the files of a run fetched, when the present transaction commits."""
    transaction.on_commit(functools.partial(_hint, encode(row.public_id, "p")), robust=True)


def hint_waiting() -> int:
    """Ask again for what was asked in vain. Returns how many wait."""
    rows = Prediction.objects.filter(status=Prediction.Status.QUEUED, lane=FETCH_LANE).order_by("fair_at")
    waiting = list(rows.values_list("public_id", flat=True)[:WAITING])
    for public_id in waiting:
        _hint(encode(public_id, "p"))
    return len(waiting)


def _hint(uid: str) -> None:
    dispatch.hint(TASK, uid, pending_seconds=PENDING_SECONDS)


class _Failed(Exception):
    """A file cannot be had; the message is for the user."""


@dispatch.follower(TASK)
def fetch_inputs(uid: str) -> None:
    """Fetch the files of one run and let it go to its lane, or end it. Twice, or too late, changes nothing."""
    if not _room.acquire(blocking=False):
        dispatch.unhint(TASK, uid)
        return
    try:
        row = _waiting(uid)
        if row is None:
            return
        try:
            values, sources = _fetched(row)
        except _Failed as error:
            _end(row, str(error))
        except examiner.Busy:
            dispatch.unhint(TASK, uid)
        else:
            _go_on(row, values, sources)
    finally:
        _room.release()


def _waiting(uid: str) -> Prediction | None:
    public_id = parse(uid, "p")
    if public_id is None:
        return None
    rows = Prediction.objects.filter(public_id=public_id, status=Prediction.Status.QUEUED, lane=FETCH_LANE)
    return rows.select_related("workspace", "created_by", "endpoint", "offer").first()


def _fetched(row: Prediction) -> tuple[dict[str, Any], list[Asset]]:
    """The input with the ids of assets for addresses, and those assets. Raises _Failed, examiner.Busy."""
    until = time.monotonic() + SECONDS_IN_ALL
    sources: list[Asset] = []

    def fetch(path: str, value: str, types: tuple[str, ...]) -> str:
        if not is_address(value):
            return value
        try:
            seconds = max(0.1, min(SECONDS, until - time.monotonic()))
            with uploads.fetch(value, seconds=seconds, max_bytes=most_bytes(types), accept=types) as arrival:
                name = unquote(value.partition("?")[0].rpartition("/")[2])
                asset = made(
                    row.workspace, row.created_by, arrival, filename=name, wait_seconds=SECONDS, reuse=True
                )
        except (outbound.Failed, uploads.QuotaReached, uploads.TooManyUploads) as error:
            raise _Failed(f"The file of {path} was not taken: {error}") from None
        except examiner.Refusal as error:
            raise _Failed(f"The file of {path} was not taken: {error}.") from None
        trouble = trouble_of(asset, types)
        if trouble is not None:
            raise _Failed(f"The file of {path} {trouble[1]}.")
        sources.append(asset)
        return asset.uid

    values = schema.replace_files(row.endpoint.input_schema, row.input, fetch)
    twice = adapters.repeated(row.workspace_id, row.endpoint.input_schema, values)
    if twice is not None:
        raise _Failed(f"{twice} is the same file as one above it.")
    return values, sources


def _end(row: Prediction, message: str) -> None:
    with transaction.atomic():
        locked = _locked(row)
        if locked is not None:
            close_failed(locked, code="unusable_input", message=f"{message} Nothing was charged.")


def _go_on(row: Prediction, values: dict[str, Any], sources: list[Asset]) -> None:
    with transaction.atomic():
        locked = _locked(row)
        if locked is None:
            return
        locked.input = values
        try:
            pin(locked, sources)
        except schema.InvalidInput:
            close_failed(
                locked, code="unusable_input", message="A file was deleted on its way. Nothing was charged."
            )
            return
        lane, endpoint = row.offer.lane, locked.endpoint
        locked.lane = lane
        worn = adapters.identities(locked.workspace_id, endpoint.input_schema, values)
        locked.batch_key = batch_key(endpoint, values, exact=locked.exact, adapters=worn)
        locked.fair_at = fair_at(locked.workspace_id, lane, endpoint.typical_ms, timezone.now())
        locked.save(update_fields=["input", "lane", "batch_key", "fair_at"])
        transaction.on_commit(lambda: live.publish([state_of(locked)]), robust=True)
        dispatch.wake(lane)


def _locked(row: Prediction) -> Prediction | None:
    """The row, locked, if it still waits for its files."""
    rows = Prediction.objects.select_for_update().filter(pk=row.pk)
    locked = rows.filter(status=Prediction.Status.QUEUED, lane=FETCH_LANE).first()
    if locked is not None:
        locked.endpoint = catalog.endpoint(locked.endpoint_id)
        locked.version = locked.endpoint.version
    return locked
