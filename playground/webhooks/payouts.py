"""Programs of a publisher are told what became of its payouts."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid5

from django.conf import settings
from django.urls import reverse

from billing import payouts
from marketplace import dispatch
from playground.models import Event
from playground.webhooks.events import tell

EVENTS = {
    payouts.Payout.Status.PAID: Event.PAYOUT_PAID,
    payouts.Payout.Status.FAILED: Event.PAYOUT_FAILED,
    payouts.Payout.Status.RETURNED: Event.PAYOUT_RETURNED,
}


@dispatch.handler(payouts.CLOSED_TASK)
def payout_closed(payload: dispatch.Payload) -> None:
    """A payout was made, could not be, or came back in part or whole: a delivery for each webhook that takes this."""
    row = payouts.find(payload["payout"], book=payload["book"])
    if row is None or row.settled_at is None or row.publisher.workspace.is_closed:
        return
    event = EVENTS[payouts.Payout.Status(payload["became"])].value
    tell(
        row.publisher.workspace,
        event,
        # From what happened, so that it is one event, however often it is told; a payout may come back in parts.
        event_id=uuid5(row.public_id, f"{event}:{payload['returned_micros']}"),
        at=datetime.fromisoformat(payload["at"]),
        data={
            "payout": row.uid,
            "publisher": row.publisher.name,
            "method": row.method,
            "amount_micros": row.amount_micros,
            "returned_micros": payload["returned_micros"],
            "failure": row.failure or None,
            "currency": "USD",
            "urls": {"page": f"{settings.PUBLIC_URL}{reverse('payouts')}?publisher={row.publisher.name}"},
        },
    )
