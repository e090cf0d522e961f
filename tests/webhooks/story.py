"""Runs that end, and the outbox handled as the control process handles it."""

from __future__ import annotations

from django.db.models import F

from marketplace.models import Outbox, Workspace
from playground.models import Delivery, Prediction
from playground.predictions import cancel
from playground.webhooks import deliver_due
from playground.webhooks.events import closed
from tests.predictions import cast


def handle_outbox() -> None:
    for row in Outbox.objects.filter(task="playground.prediction_closed"):
        closed(message_id=row.pk)


def ended(workspace: Workspace, how: str = "succeeded", *, request=None) -> Prediction:
    """A run of the workspace that ended so, and whose end was told on."""
    from playground import predictions

    wanted = request or predictions.Request(model="kiln/vase", input={"prompt": "a vase"})
    row = predictions.submit(predictions.Caller(workspace=workspace), wanted)
    if how == "canceled":
        cancel(row)
    else:
        (job,) = cast.claim()
        assert cast.succeed(job) if how == "succeeded" else cast.fail(job)
    handle_outbox()
    return cast.again(row)


def deliver() -> int:
    return deliver_due()


def let_pass(**spans: float) -> None:
    """Let all that waits be due, and all that is under way be over, this much earlier."""
    span = cast.later(**(spans or {"days": 3}))
    Delivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=F("next_attempt_at") - span)
    Delivery.objects.filter(claimed_until__isnull=False).update(claimed_until=F("claimed_until") - span)


def only() -> Delivery:
    return Delivery.objects.get()
