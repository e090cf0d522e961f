"""The log of deliveries: looking at it, sending again, forgetting."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from marketplace.ids import parse
from marketplace.models import Workspace
from playground.models import Delivery, Event, Webhook
from playground.models.webhook import TEST_EVENT, DeliveryQuerySet
from playground.webhooks.book import NotFound

KEPT = timedelta(days=30)
EVENTS = (*Event.values, TEST_EVENT)


def deliveries(webhook: Webhook, *, status: str = "", event: str = "") -> DeliveryQuerySet:
    """What was sent to the webhook, and what is on its way, newest first."""
    rows = Delivery.objects.of(webhook).order_by("-id")
    if status:
        rows = rows.filter(status=status)
    return rows.filter(event=event) if event else rows


def find_delivery(workspace: Workspace, webhook: Webhook, public_id: str) -> Delivery:
    """One delivery of the workspace's webhook, by any spelling of its id. Raises NotFound."""
    number = parse(public_id, "d")
    rows = Delivery.objects.of(webhook).filter(workspace=workspace)
    row = rows.filter(public_id=number).first() if number is not None else None
    if row is None:
        raise NotFound("There is no such delivery of this webhook.")
    return row


def redeliver(delivery: Delivery) -> Delivery:
    """Send it again, now, under the same id, with all its tries anew. One that is due or under way stays as it is."""
    now = timezone.now()
    with transaction.atomic():
        row = Delivery.objects.select_for_update().get(pk=delivery.pk)
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
    """Forget deliveries that are older than a month. Returns how many."""
    old = (
        Delivery.objects.filter(created_at__lt=timezone.now() - KEPT)
        .order_by("created_at")
        .values_list("pk", flat=True)[:limit]
    )
    deleted, _ = Delivery.objects.filter(pk__in=list(old)).delete()
    return deleted
