"""What an attempt means: done, tried again later, given up, and what that says about its webhook."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from playground import tally
from playground.models import Delivery, Webhook
from playground.models.webhook import LOGS_EVENT, STARTED_EVENT, TEST_EVENT
from playground.webhooks import book, letters
from playground.webhooks.claims import Claim

# Seconds until the next try, by how many there were: eight in all, over a day and a half.
BACKOFF = (5, 30, 120, 900, 3600, 6 * 3600, 24 * 3600)
JITTER = 0.2
GIVE_UP_AFTER = timedelta(days=5)  # of nothing but failures a webhook is disabled
MAX_ATTEMPTS_KEPT = 20
MAX_ANSWER_CHARACTERS = 2000
GONE = 410
REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: the answer's status and beginning, or why there was none."""

    at: datetime
    url: str
    duration_ms: int
    status: int | None = None
    answer: bytes = b""
    error: str = ""
    retry_after: str = ""

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def as_json(self) -> dict[str, Any]:
        text = self.answer.decode("utf-8", "replace").replace("\0", "\ufffd")[:MAX_ANSWER_CHARACTERS]
        return {
            "at": self.at.isoformat(),
            "url": self.url,
            "status": self.status,
            "duration_ms": self.duration_ms,
            "answer": text,
            "error": self.error or self._said(),
        }

    def _said(self) -> str | None:
        if self.status is None or self.is_taken:
            return None
        if self.status in REDIRECTS:
            return "It answered with a redirect, which is not followed: give the address it leads to."
        return None


def record(claim: Claim, made: Attempt) -> None:
    """Note an attempt and what follows from it, unless the claim ran out: then somebody else is at it."""
    with transaction.atomic():
        webhooks = Webhook.objects.filter(pk__in=Delivery.objects.filter(pk=claim.delivery).values("webhook"))
        if made.is_taken:  # then most have nothing to be told
            webhooks = webhooks.filter(failing_since__isnull=False)
        list(webhooks.select_for_update())  # before its delivery, see `book.locked`
        row = (
            Delivery.objects.select_for_update(of=("self",))
            .filter(pk=claim.delivery, claimed_until=claim.until)
            .first()
        )
        if row is None:
            return
        row.claimed_until, row.url = None, made.url
        row.tries += 1
        row.attempts = [*row.attempts, made.as_json()][-MAX_ATTEMPTS_KEPT:]
        if made.is_taken:
            row.status, row.delivered_at, row.next_attempt_at = Delivery.Status.DELIVERED, made.at, None
        elif row.tries > len(BACKOFF) or made.status == GONE or _is_for_now(row):
            row.status, row.next_attempt_at = Delivery.Status.FAILED, None
        else:
            row.next_attempt_at = made.at + _wait(row.tries, made.retry_after)
        row.save(
            update_fields=[
                *("claimed_until", "url", "tries", "attempts", "status", "delivered_at", "next_attempt_at")
            ]
        )
        if row.webhook_id is not None:
            _judge(row, made)
        result = row.status if row.next_attempt_at is None else "retried"
        transaction.on_commit(
            functools.partial(tally.add, tally.Count("deliveries", {"result": result})), robust=True
        )


def _is_for_now(row: Delivery) -> bool:
    """Whether it means nothing later: a test, how far a run is, and that one has begun which is over by now."""
    if row.event == STARTED_EVENT:
        return row.prediction is not None and row.prediction.is_terminal
    return row.event in {TEST_EVENT, LOGS_EVENT}


def _wait(tries: int, retry_after: str) -> timedelta:
    """The pause after so many tries, spread a little, and no shorter than the server asks for within a day."""
    seconds = BACKOFF[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6:
        seconds = max(seconds, min(int(retry_after), BACKOFF[-1]))
    return timedelta(seconds=seconds)


def _judge(row: Delivery, made: Attempt) -> None:
    """What an attempt says about its webhook. Most say nothing new, and write nothing."""
    webhooks = Webhook.objects.filter(pk=row.webhook_id or 0)
    if made.is_taken:
        webhooks.filter(failing_since__isnull=False).update(failing_since=None)
        return
    if row.event == TEST_EVENT:
        return
    webhook = webhooks.select_for_update().get()
    if not webhook.is_enabled:
        Delivery.objects.filter(pk=row.pk, status=Delivery.Status.PENDING).update(next_attempt_at=None)
        return
    if made.status == GONE:
        _disable(webhook, "The server answered 410 Gone: it wants no more.")
    elif webhook.failing_since is None:
        webhook.failing_since = made.at
    elif made.at - webhook.failing_since > GIVE_UP_AFTER:
        _disable(webhook, f"Nothing was delivered for {GIVE_UP_AFTER.days} days.")
    else:
        return
    webhook.save(update_fields=["is_enabled", "disabled_reason", "failing_since"])


def _disable(webhook: Webhook, reason: str) -> None:
    book.pause(webhook, reason=reason)
    letters.tell_disabled(webhook)
