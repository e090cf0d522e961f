"""What time does to the sandbox, once a second: sessions end, banks answer, money arrives, notices go."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from billing.sandbox import (
    accounts,
    balances,
    checkout,
    delivery,
    intents,
    payouts,
    refunds,
    setups,
    store,
)
from billing.sandbox.models import Asked, Thing
from billing.sandbox.refusals import missing

log = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
SLOW = timedelta(seconds=5)  # until the bank of a slow card answers
KEPT = timedelta(days=30)  # that events and answers are kept, as at Stripe


def keep_ticking() -> None:
    """Do what is due, once a second, for as long as the process lives. What fails is logged."""
    while True:
        began = time.monotonic()
        try:
            tick()
        except Exception:
            log.exception("the sandbox could not do what was due; it tries again")
        finally:
            close_old_connections()
        time.sleep(max(0.05, EVERY_SECONDS - (time.monotonic() - began)))


def tick(now: datetime | None = None) -> None:
    """Everything that is due. Nothing where there is no sandbox."""
    if not settings.STRIPE_SANDBOX:
        return
    now = now or timezone.now()
    if Thing.objects.exists():
        with store.changing():
            advance(now)
    delivery.deliver_due(now=now)


def advance(now: datetime) -> None:
    """What time alone brings about, without telling anybody yet."""
    checkout.end_old(now=now)
    balances.settle(now=now)
    refunds.advance(now=now)
    accounts.decide_pending(now=now, after=SLOW)
    payouts.advance(now=now)
    slow = Thing.objects.filter(kind="payment_intent", data__status="processing", created_at__lte=now - SLOW)
    for intent in list(slow):
        finish(intent, now=now)


def finish(intent: Thing, *, now: datetime) -> None:
    """The bank of a slow card answers."""
    intents.finish_slow(intent, now=now)
    session = checkout.session_of(intent)
    if session is not None:
        checkout.after_attempt(session, intent, now=now)


def answer_holder(intent: str, *, is_approved: bool, now: datetime) -> Thing:
    """The holder of a card was asked about an intent, and answers; the intent. Raises Refused if nobody asks."""
    with store.changing():
        row = Thing.objects.filter(name=intent, kind__in=("payment_intent", "setup_intent")).first()
        if row is None:
            raise missing("payment_intent", intent)
        room = intents if row.kind == "payment_intent" else setups
        room.authenticated(row, is_approved=is_approved, now=now)
        session = checkout.session_of(row)
        if session is not None:
            checkout.after_attempt(session, row, now=now)
        return row


def forget_old(now: datetime | None = None) -> None:
    """Events, notices and answers that nobody can ask for any more."""
    now = now or timezone.now()
    Thing.objects.filter(kind__in=("event", "v2.core.event"), created_at__lt=now - KEPT).delete()
    Asked.objects.filter(asked_at__lt=now - KEPT).delete()
