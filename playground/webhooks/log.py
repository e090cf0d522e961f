"""The log of deliveries: looking at it, sending again, forgetting."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from marketplace.ids import parse
from marketplace.models import Workspace
from playground.models import Delivery, Event, Prediction, Webhook
from playground.models.webhook import TEST_EVENT, DeliveryQuerySet
from playground.webhooks.book import NotFound

KEPT = timedelta(days=30)
EVENTS = (*Event.values, TEST_EVENT)


def deliveries(source: Webhook | Workspace, *, status: str = "", event: str = "") -> DeliveryQuerySet:
    """What was sent to the webhook, or to the addresses that single requests of the workspace named, and what is on its
    way, newest first."""
    rows = _all_of(source).order_by("-id")
    if status:
        rows = rows.filter(status=status)
    return rows.filter(event=event) if event else rows


def of_run(row: Prediction) -> DeliveryQuerySet:
    """What was told of the end of a run, in order, without the bodies. One statement."""
    return Delivery.objects.filter(prediction=row).select_related("webhook").defer("body").order_by("id")


def find_delivery(workspace: Workspace, webhook: Webhook | None, public_id: str) -> Delivery:
    """One delivery of the workspace's webhook, or without one of its requests, by any spelling of its id. Raises
    NotFound."""
    number = parse(public_id, "d")
    rows = _all_of(webhook or workspace).filter(workspace=workspace)
    row = rows.filter(public_id=number).first() if number is not None else None
    if row is None:
        raise NotFound("There is no such delivery of this webhook.")
    return row


def _all_of(source: Webhook | Workspace) -> DeliveryQuerySet:
    rows = Delivery.objects.all()
    return rows.of(source) if isinstance(source, Webhook) else rows.of_requests(source)


def redeliver(delivery: Delivery) -> Delivery:
    """Send it again, now, under the same id, with all its tries anew. One that is due or under way stays as it is.
    Raises NotFound if it was deleted meanwhile."""
    now = timezone.now()
    with transaction.atomic():
        row = Delivery.objects.select_for_update().filter(pk=delivery.pk).first()
        if row is None:
            raise NotFound("There is no such delivery of this webhook.")
        is_under_way = row.claimed_until is not None and row.claimed_until > now
        if not is_under_way:
            row.status, row.tries, row.next_attempt_at, row.claimed_until = (
                Delivery.Status.PENDING,
                0,
                now,
                None,
            )
            row.save(update_fields=["status", "tries", "next_attempt_at", "claimed_until"])
    return row


def tidy(limit: int = 5000) -> int:
    """Forget deliveries that are older than a month, and what was said of runs and workspaces that are gone for good.
    Returns how many."""
    rows = Delivery.objects.all()
    over = (
        rows.filter(created_at__lt=timezone.now() - KEPT).order_by("created_at"),
        # Their bodies have prompt and output. One that is on its way was promised, and goes when it has arrived.
        rows.settled().filter(prediction__deletion__purged_at__isnull=False),
        rows.settled().filter(workspace__closed_at__isnull=False),
    )
    deleted = 0
    for old in over:
        deleted += Delivery.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]
    return deleted
