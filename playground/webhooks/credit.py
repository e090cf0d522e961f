"""Programs that were refused for want of credit are told when it has come, so that they go on by themselves."""

from __future__ import annotations

from uuid import UUID, uuid5

from django.conf import settings
from django.urls import reverse

from billing import ledger, topups
from marketplace import dispatch
from playground.models import Event
from playground.webhooks.events import tell


@dispatch.handler(topups.CREDIT_TASK)
def credit_arrived(payload: dispatch.Payload) -> None:
    """A top-up was paid: a delivery for each webhook that takes this."""
    row = topups.TopUp.objects.filter(public_id=UUID(payload["top_up"])).select_related("workspace").first()
    if row is None or row.settled_at is None or row.workspace.is_closed:
        return
    tell(
        row.workspace,
        Event.CREDIT.value,
        event_id=uuid5(row.public_id, Event.CREDIT.value),
        at=row.settled_at,
        data={
            "top_up": row.uid,
            "kind": row.kind,
            "amount_micros": row.amount_micros,
            "available_micros": ledger.balance(row.workspace_id).available_micros,
            "currency": "USD",
            "urls": {"get": settings.PUBLIC_URL + reverse("api-topup", args=[row.uid])},
        },
    )
