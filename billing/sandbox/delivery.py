"""Events on their way to who wants to hear them: signed as Stripe signs, tried again, or handed over by hand."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

import stripe
import urllib3
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from billing.sandbox.models import Notice, Thing
from billing.sandbox.refusals import missing

log = logging.getLogger(__name__)

RETRY_SECONDS = (10, 60, 600)  # after which it is given up; Stripe goes on for days
CLAIM = timedelta(seconds=60)  # in which who took a notice has to be done with it
TIMEOUT = 20.0
_pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT, maxsize=4)


def deliver_due(*, limit: int = 50, now: datetime | None = None) -> int:
    """Send what is due; how many were heard. Safe to run at once in several places."""
    now = now or timezone.now()
    with transaction.atomic():
        rows = list(
            Notice.objects.select_for_update(skip_locked=True)
            .filter(state=Notice.State.WAITING, due_at__lte=now)
            .select_related("event")
            .order_by("due_at", "pk")[:limit]
        )
        Notice.objects.filter(pk__in=[row.pk for row in rows]).update(
            due_at=now + CLAIM, tries=F("tries") + 1
        )
    return sum(_deliver(row, now=now) for row in rows)


def _deliver(row: Notice, *, now: datetime) -> bool:
    status = send(row.event, row.url)
    tries = row.tries + 1
    if status is not None and 200 <= status < 300:
        Notice.objects.filter(pk=row.pk).update(state=Notice.State.DELIVERED, last_status=status)
        return True
    if tries > len(RETRY_SECONDS):
        Notice.objects.filter(pk=row.pk).update(state=Notice.State.GIVEN_UP, last_status=status)
    else:
        due = now + timedelta(seconds=RETRY_SECONDS[tries - 1])
        Notice.objects.filter(pk=row.pk).update(due_at=due, last_status=status)
    return False


def send(event: Thing, url: str) -> int | None:
    """Post an event to an address; the status of the answer, None without one."""
    body = payload(event)
    try:
        answer = _pool.request("POST", url, body=body, headers=headers(body, url), redirect=False)
    except urllib3.exceptions.HTTPError as error:
        log.info("the sandbox could not tell %s of %s: %s", url, event.name, error)
        return None
    return answer.status


def payload(event: Thing) -> bytes:
    """The body of a notice."""
    return json.dumps(event.data, indent=2).encode()


def headers(body: bytes, url: str = "") -> dict[str, str]:
    """What is sent with a body, signed now."""
    signature = stripe.WebhookSignature.generate_signature_header(body.decode(), secret_of(url))
    return {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (sandbox)",
            "Stripe-Signature": signature}  # fmt: skip


def secret_of(url: str) -> str:
    """What notices to that address are signed with: its own secret, or this site's."""
    own = Thing.objects.filter(kind="webhook_endpoint", data__url=url, data__deleted__isnull=True).first()
    return str(own.hidden["secret"]) if own is not None else str(settings.STRIPE_WEBHOOK_SECRETS[-1])


def withheld() -> list[Notice]:
    """What waits for somebody to send it, the oldest first."""
    return list(Notice.objects.filter(state=Notice.State.WITHHELD).select_related("event").order_by("pk"))


def release(notices: Iterable[int] | None = None, *, now: datetime | None = None) -> int:
    """Let what was withheld go; all of it, or some. How many."""
    rows = Notice.objects.filter(state=Notice.State.WITHHELD)
    if notices is not None:
        rows = rows.filter(pk__in=list(notices))
    return rows.update(state=Notice.State.WAITING, due_at=now or timezone.now())


def send_again(event: str, *, now: datetime | None = None) -> int:
    """Tell of an event once more, wherever it was told. Raises Refused if there is no such event. How many notices."""
    row = Thing.objects.filter(name=event, kind__in=("event", "v2.core.event")).first()
    if row is None:
        raise missing("event", event)
    urls = sorted(set(row.notices.values_list("url", flat=True)))
    Notice.objects.bulk_create(Notice(event=row, url=url, due_at=now or timezone.now()) for url in urls)
    return len(urls)
