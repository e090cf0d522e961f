"""What a closed prediction costs: one capture or one release, in the transaction that closes it."""

from __future__ import annotations

from collections.abc import Sequence

from billing import ledger, pricing
from marketplace import dispatch, schema
from playground.models import Prediction, Webhook

PERCENT = 100
CLOSED_TASK = "playground.prediction_closed"  # lives a room above: called by name
MAX_LOG = 64 * 1024  # characters of a run's log that are kept: its end


def charge(row: Prediction, priced: pricing.Quote) -> None:
    """Capture `priced` from the row's hold, give the publisher its share, and note the cost on the row (not saved)."""
    _tell(row)
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
    _close(row, priced.amount_micros)


def refund_in_full(row: Prediction) -> None:
    """Release the row's hold: it costs nothing (not saved). The statement lists it as not charged."""
    _tell(row)
    ledger.release(reference=row.public_id, usage=_usage(row, None))
    _close(row, 0)


def _tell(row: Prediction) -> None:
    """Promise that webhooks hear of the end, where there are any. Before the money, whose rows are locked briefly."""
    if row.webhook or Webhook.objects.filter(workspace_id=row.workspace_id, is_enabled=True).exists():
        dispatch.post(CLOSED_TASK, {"prediction": row.public_id.hex})


def kept_log(lines: Sequence[str]) -> str:
    """The end of a log, as its row keeps it."""
    return "\n".join(lines)[-MAX_LOG:]


def _close(row: Prediction, cost_micros: int) -> None:
    row.cost_micros = cost_micros
    # A secret is needed while the run is open and by nobody afterwards.
    row.input = schema.redact(row.endpoint.input_schema, row.input)


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
