"""Runs as files to take away: a table, JSON lines, and their media in a ZIP."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.utils import timezone

from marketplace import schema
from marketplace.models import Workspace
from playground import assets
from playground.models import Prediction
from playground.predictions.browse import Filters, batches
from playground.predictions.present import as_json

BATCH = 500
MAX_FILES, MAX_BYTES = 500, 2**30  # of one ZIP
COLUMNS = (
    *("id", "created_at", "started_at", "finished_at", "model", "version", "status", "via", "prompt", "seed"),
    *("files", "attempt", "cost_micros", "currency", "error_code", "error_message"),
)
# What spreadsheets take for the beginning of a formula, spaces before it or not.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class TooMuch(Exception):
    """More than one ZIP may hold; the message says how much it is."""


def as_csv(workspace: Workspace, filters: Filters) -> Iterator[bytes]:
    """The runs that match as CSV (RFC 4180), a header first, in pieces. Raises TooBroad."""
    found = batches(workspace, filters, size=BATCH)
    first = next(found, [])  # before anything is said, so that who asks too much is told so
    yield _written([COLUMNS, *map(_cells, first)])
    for rows in found:
        yield _written(list(map(_cells, rows)))


def as_json_lines(workspace: Workspace, filters: Filters) -> Iterator[bytes]:
    """The runs that match, each as the API shows it, one on a line, in pieces. Raises TooBroad."""
    for rows in batches(workspace, filters, size=BATCH):
        yield "".join(json.dumps(as_json(row), ensure_ascii=False) + "\n" for row in rows).encode()


def as_zip(rows: Sequence[Prediction]) -> Iterator[bytes]:
    """The media of these runs, selected `with_model`, in pieces. Raises TooMuch, at once."""
    now = timezone.now()
    kept = {
        row: sorted((a for a in row.assets.all() if a.expires_at > now), key=lambda a: a.position)
        for row in rows
    }
    files = [asset for media in kept.values() for asset in media]
    size = sum(asset.size for asset in files)
    if not files:
        raise TooMuch("None of these runs has media that are still there.")
    if len(files) > MAX_FILES or size > MAX_BYTES:
        raise TooMuch(
            f"These are {len(files)} files of {size / 2**20:,.0f} MB; one ZIP holds at most {MAX_FILES} files and "
            f"{MAX_BYTES >> 20:,} MB. Select fewer."
        )
    return assets.archive([(row.uid, media, _about(row)) for row, media in kept.items() if media])


def _about(row: Prediction) -> dict[str, Any]:
    return {
        "id": row.uid,
        "model": row.model,
        "version": row.version.sha256,
        "input": schema.redact(row.endpoint.input_schema, row.input),
        "seed": (row.output or {}).get("seed"),
        "created_at": row.created_at.isoformat(),
        "cost_micros": row.cost_micros,
    }


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _cells(row: Prediction) -> list[Any]:
    values = schema.redact(row.endpoint.input_schema, row.input)
    times = [
        moment.isoformat() if moment else "" for moment in (row.created_at, row.started_at, row.finished_at)
    ]
    found = [
        *(row.uid, *times, row.model, row.version.sha256, row.status, row.via),
        *(values.get("prompt", ""), (row.output or {}).get("seed", ""), len(row.assets.all()), row.attempt),
        *(row.cost_micros, "USD", row.error_code, row.error_message),
    ]
    return [_harmless(cell) for cell in found]


def _harmless(cell: Any) -> Any:
    """Text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA):
        return f"'{cell}"
    return cell
