"""What a publisher is owed when its workspace is deleted: a payout under way goes on, and what fails is paid later."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import ledger, payouts
from billing.payouts import sending
from marketplace.models import Membership, Outbox, User
from playground import departures
from tests.billing.cast import USAGE, new_publisher, new_workspace

USD = 1_000_000
DAY = timedelta(days=1)
WAYS = {"return_url": "http://127.0.0.1/back", "refresh_url": "http://127.0.0.1/again"}


def balance(publisher):
    found = ledger.publisher_balance(publisher.pk)
    return found.payable_micros, found.in_transit_micros, found.paid_out_micros


def told_to(user):
    rows = Outbox.objects.filter(task="marketplace.send_mail", payload__to=user.email).order_by("pk")
    subjects = [row.payload["subject"] for row in rows]
    return [one for one in subjects if "does not cover" not in one]


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_payout_that_waits_goes_on_although_its_workspace_is_deleted(stripe_sandbox, is_refused):
    publisher, now = new_publisher(), timezone.now()
    boss = User.objects.create_user("boss@example.test", "a long password")
    User.objects.filter(pk=boss.pk).update(is_staff=True)
    owner = User.objects.create_user("pia-gone@example.test", "a long password", name="Pia")
    Membership.objects.create(workspace=publisher.workspace, user=owner, role="owner")
    payouts.connect(publisher, by=owner, country="us", **WAYS)
    account = payouts.account_of(publisher)
    stripe_sandbox.onboard(account.account_id)
    payouts.look(account, now=timezone.now())
    reference = uuid4()
    ledger.hold(workspace_id=new_workspace(bought=100 * USD).pk, reference=reference, amount_micros=100 * USD)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=100 * USD, share=share, usage=USAGE, now=now - 30 * DAY)
    row = payouts.start(publisher, by=owner)
    assert not sending.send(row.uid)  # nothing is there to pay it from
    departures.close_workspace(publisher.workspace, by=owner)
    assert balance(publisher) == (0, 80 * USD, 0)

    stripe_sandbox.add_funds(8_000)
    if is_refused:
        stripe_sandbox.set_capability(account.account_id, "restricted")
    assert sending.send(row.uid, now=now + timedelta(hours=1))
    # What is refused is payable again, for the month's next payout: nobody is left to ask for it.
    assert balance(publisher) == ((80 * USD, 0, 0) if is_refused else (0, 0, 80 * USD))
    assert ledger.verify() == []

    # Nobody is left in the workspace to be told: staff hear of what failed, and of what comes back.
    if not is_refused:
        row.refresh_from_db()
        stripe_sandbox.client().v1.transfers.reversals.create(row.transfer_id)
        assert sending.follow_transfer(row.transfer_id)
    (subject,) = told_to(boss)
    assert ("failed" if is_refused else "came back") in subject
    assert subject.endswith("its workspace is deleted")
    assert [one.uid for one in payouts.of_nobody(limit=5)] == [row.uid]
    # It is off the list once the next one is begun.
    if is_refused:
        stripe_sandbox.set_capability(account.account_id, "active")
        payouts.look(payouts.account_of(publisher), now=now + timedelta(hours=2))
    payouts.start(publisher, by=None)
    assert payouts.of_nobody(limit=5) == []
