"""A run's place in its lane: how far back, with whom it may share a batch, and whether it is anybody's turn at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL

from marketplace.models import Endpoint

# Whether an engine may take a queued row now: its pause after a fault is over, and its version is in no quarantine.
MAY_RUN = """
(q.not_before IS NULL OR q.not_before <= statement_timestamp()) AND NOT EXISTS (
    SELECT 1 FROM playground_quarantine z WHERE z.version_id = q.version_id AND z.until > statement_timestamp()
       AND (z.workspace_id IS NULL OR z.workspace_id = q.workspace_id))
"""

# The status is written out: with a parameter there, a plan that is kept could not use the index of what is queued.
_FAIR_AT = """
greatest(%s::timestamptz, (
    SELECT fair_at FROM playground_prediction WHERE workspace_id = %s AND lane = %s AND status = 'queued'
     ORDER BY fair_at DESC LIMIT 1) + %s * interval '1 millisecond')
"""


def fair_at(workspace_id: int, lane: str, typical_ms: int, now: datetime) -> Any:
    """The place in the queue, by start-time fair queuing: a workspace's own waiting runs are spaced by the time that
    they take, so a newcomer goes between the runs of one that sent hundreds, and the index alone gives the order."""
    return RawSQL(_FAIR_AT, [now, workspace_id, lane, typical_ms], output_field=DateTimeField())  # noqa: S611 - a constant text; values are parameters


def batch_key(
    endpoint: Endpoint, cleaned: Mapping[str, Any], *, exact: bool, adapters: Sequence[Sequence[Any]] = ()
) -> str:
    """Equal for runs that may share a batch: same version, same values of the fields the endpoint batches on, same
    adapters."""
    if exact or endpoint.max_batch == 1:
        return ""
    same = {name: cleaned.get(name) for name in endpoint.batch_on}
    text = json.dumps(
        [endpoint.pk, same, *([adapters] if adapters else [])], sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(text.encode()).hexdigest()
