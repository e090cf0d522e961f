"""Buyers for the tests of credit coming in, what they do, and what control and the clock do about it."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread
from uuid import uuid4

from django.db import connections
from django.utils import timezone

from billing import arrivals, ledger, topups
from billing.gateway import calls, events
from billing.models.credit import StripeEvent, TopUp
from billing.topups import Plan, automatic
from marketplace.models import Outbox
from tests.billing.cast import USAGE

USD = 1_000_000
CENT = 10_000


def available(workspace):
    return ledger.balance(workspace.pk).available_micros


def mails():
    return [
        row.payload["subject"] for row in Outbox.objects.filter(task="marketplace.send_mail").order_by("pk")
    ]


def follow_all():
    """What control does about the events that are kept."""
    for _ in range(3):
        names = list(StripeEvent.objects.filter(handled_at=None).values_list("event_id", flat=True))
        for name in names:
            events.follow(name, arrivals.follow, now=timezone.now() + timedelta(days=2))


def clean_books():
    assert ledger.verify() == []


def bought(sandbox, workspace, dollars=25, *, card="visa", saves_card=False, tell=True):
    row = topups.begin(workspace, dollars * USD, by=None, saves_card=saves_card)
    assert sandbox.pay(row.session_id, card) is None
    if tell:
        sandbox.deliver()
        follow_all()
    row.refresh_from_db()
    return row


def auto(workspace, below=10, amount=25, month=100):
    return automatic.turn_on(workspace, Plan(below * USD, amount * USD, month * USD), by=None)


def refill(workspace, now=None):
    """What the clock and control do when a workspace is low."""
    begun = automatic.find_low(now=now)
    rows = TopUp.objects.filter(workspace=workspace, kind="automatic", status="new")
    for row in rows:
        automatic.charge(row.uid, now=now)
    return begun


def spend(workspace, micros):
    reference = uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=micros)
    ledger.capture(reference=reference, amount_micros=micros, share=None, usage=USAGE)


def low(stripe_sandbox, workspace, card="visa", **plan):
    """A workspace with a saved card that is below its threshold."""
    row = topups.customers.customer_of(workspace)
    method = stripe_sandbox.client().v1.payment_methods.attach(
        f"pm_card_{card}", {"customer": row.customer_id}
    )
    assert topups.customers.save_card(workspace.pk, calls.plain(method), book="test")
    return auto(workspace, **plan)


def charge_of(row):
    return calls.intent(row.intent_id)["latest_charge"]["id"]


def in_parallel(acts):
    """Do all of them at the same time, each on a connection of its own; what one raises is raised."""
    start, raised = Barrier(len(acts)), []

    def one(act):
        try:
            start.wait()
            act()
        except Exception as error:
            raised.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
