"""Finding runs, always within one workspace."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from marketplace import catalog
from marketplace.ids import parse
from marketplace.models import ApiKey, Workspace
from playground.models import Prediction
from playground.models.prediction import PredictionQuerySet
from playground.predictions.places import MAY_RUN
from playground.predictions.present import PredictionJson, as_json


class NotFound(LookupError):
    """The workspace has no such prediction. The same for one that never was and one of somebody else."""


def find(workspace: Workspace, public_id: str | UUID, *, key: ApiKey | None = None) -> Prediction:
    """The workspace's prediction by any spelling of its id. Raises NotFound.

    `key` is the caller's, if they are a program: a publishable one has no runs but its own.
    """
    number = public_id if isinstance(public_id, UUID) else parse(public_id, "p")
    row = _seen(workspace, key).filter(public_id=number).first() if number else None
    if row is None:
        raise NotFound("There is no such prediction in this workspace.")
    return row


def _seen(workspace: Workspace, key: ApiKey | None) -> PredictionQuerySet:
    rows = Prediction.objects.of(workspace).with_model()
    return rows.filter(api_key=key) if key is not None and key.is_publishable else rows


def attach_model(row: Prediction) -> Prediction:
    """Set the row's endpoint and version from what this process remembers of the shelf, without a join."""
    row.endpoint = catalog.endpoint(row.endpoint_id)
    row.version = row.endpoint.version
    return row


class Document(NamedTuple):
    """What the API shows of a run, and how a client of another protocol asked for it."""

    shown: PredictionJson
    asked: Mapping[str, Any]


def documents(public_ids: Collection[UUID]) -> dict[UUID, Document]:
    """The document of each, whoever's it is: for callers who were let in before. Two statements for all."""
    rows = Prediction.objects.kept().filter(public_id__in=public_ids).prefetch_related("assets")
    return {row.public_id: document_of(attach_model(row)) for row in rows}


def document_of(row: Prediction) -> Document:
    """The document of a row that was selected `with_model`."""
    return Document(as_json(row), row.asked or {})


# Who is ahead and may not run, for a pause or for a time to start that is over, is passed by.
_POSITIONS = """
SELECT me.public_id, (
    SELECT count(*) FROM playground_prediction q
    WHERE q.status = 'queued' AND q.lane = me.lane AND q.start_by > statement_timestamp() AND {may_run}
      AND (q.priority > me.priority OR (q.priority = me.priority AND q.fair_at < me.fair_at))
), me.lane, e.typical_ms,
   extract(epoch FROM me.not_before - statement_timestamp())::float8,
   extract(epoch FROM paused.until - statement_timestamp())::float8
FROM playground_prediction me JOIN marketplace_endpoint e ON e.id = me.endpoint_id
LEFT JOIN LATERAL (
    SELECT max(z.until) AS until FROM playground_quarantine z
     WHERE z.version_id = me.version_id AND z.until > statement_timestamp()
       AND (z.workspace_id IS NULL OR z.workspace_id = me.workspace_id)
) paused ON true
WHERE me.public_id = ANY(%s) AND me.status = 'queued'
""".replace("{may_run}", MAY_RUN)


def queue_length(model: str) -> int:
    """How many runs of a model wait, everybody's."""
    return Prediction.objects.filter(status=Prediction.Status.QUEUED, model=model).count()


class Place(NamedTuple):
    """How many runs are ahead, on which lane, and how long a run of this kind typically takes.

    `again_s`: seconds until it may be tried again after a fault. `paused_s`: until its version leaves its quarantine.
    """

    ahead: int
    lane: str
    typical_ms: int
    again_s: float = 0.0
    paused_s: float = 0.0


def queue_position(public_ids: Iterable[UUID]) -> dict[UUID, Place]:
    """The place of each id that still waits. One statement for all."""
    with connection.cursor() as cursor:
        cursor.execute(_POSITIONS, [list(public_ids)])
        return {
            public_id: Place(ahead, lane, ms, max(again_s or 0.0, 0.0), max(paused_s or 0.0, 0.0))
            for public_id, ahead, lane, ms, again_s, paused_s in cursor.fetchall()
        }
