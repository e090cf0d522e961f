"""What time does to the sandbox, once a second: sessions end, banks answer, money arrives, notices go."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
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
from billing.sandbox.models import Asked, Modes, Notice, Thing
from billing.sandbox.refusals import missing

SLOW = timedelta(seconds=5)  # until the bank of a slow card answers
KEPT = timedelta(days=30)  # that events and answers are kept, as at Stripe


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


def is_used() -> bool:
    """Whether anything was ever done in the sandbox of this site."""
    return Thing.objects.exists() or Modes.objects.exists() or Notice.objects.exists()


def wipe() -> None:
    """An empty sandbox. For tests: what a site did with its objects refers to them."""
    with connection.cursor() as cursor:
        for table in ("notice", "thing", "asked", "fault", "modes"):
            cursor.execute(f"DELETE FROM sandbox_{table}")  # noqa: S608 - names of our own
