"""Publishers for the tests of money going out, what they earn, and where they are paid."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Thread
from uuid import uuid4

from django.db import connections
from django.utils import timezone

from billing import ledger, payouts
from tests.billing.cast import USAGE, new_workspace

USD = 1_000_000
CENT = 10_000
DAY = timedelta(days=1)
WAYS = {"return_url": "http://127.0.0.1/back", "refresh_url": "http://127.0.0.1/again"}
LATER = timedelta(days=8)  # everything that is earned now has matured


def owner(publisher):
    return publisher.workspace.memberships.get(role="owner").user


def connected(sandbox, publisher, **more):
    payouts.connect(publisher, by=owner(publisher), country="us", **WAYS)
    row = payouts.account_of(publisher)
    sandbox.onboard(row.account_id, **more)
    return payouts.look(row, now=timezone.now())


def earn(publisher, micros, *, payer=None, now=None, share=Decimal("0.8"), own=False):
    """One run that its buyer paid so much for; its reference."""
    payer = payer or new_workspace(bought=micros)
    reference = uuid4()
    ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=micros)
    ledger.capture(
        reference=reference,
        amount_micros=micros,
        share=ledger.Share(publisher.pk, share, own_workspace=own),
        usage=USAGE,
        now=now,
    )
    return reference


def rich(sandbox, publisher, micros=100 * USD):
    """Earned long ago, and money at Stripe to pay it from."""
    earn(publisher, micros, now=timezone.now() - LATER)
    sandbox.add_funds(micros // CENT)


def balance(publisher):
    found = ledger.publisher_balance(publisher.pk)
    return found.pending_micros, found.payable_micros, found.in_transit_micros, found.paid_out_micros


def errors_of(acts):
    """Do all of them at the same time, each on a connection of its own; what they raise."""
    gate, errors = Barrier(len(acts)), []

    def one(act):
        try:
            gate.wait()
            act()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=one, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
