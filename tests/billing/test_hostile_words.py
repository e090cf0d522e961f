"""What is said of others' objects, what waits for something else, and what nobody answers for: nothing else suffers."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import arrivals, ledger, payouts, topups
from billing.gateway import calls, events
from billing.models.credit import Dispute, StripeEvent, TopUp
from billing.models.payouts import BankArrival, PayoutAccount
from billing.payouts import accounts, sending
from billing.topups import refunds
from tests.billing.buyers import USD, available, bought, charge_of, clean_books, follow_all
from tests.billing.cast import new_publisher, new_workspace
from tests.billing.makers import connected, rich


@pytest.mark.parametrize("becomes", ["refused", "made"])
def test_a_dispute_that_waits_for_a_refund_is_followed_once_that_is_known(stripe_sandbox, ada, becomes):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 10 * USD, by=None)
    if becomes == "made":
        stripe_sandbox.fault("drop", "post", "/v1/refunds")
        assert not refunds.send(refund.uid)
        dispute = stripe_sandbox.dispute(charge_of(row), amount=1_500)
    else:
        dispute = stripe_sandbox.dispute(charge_of(row))
        stripe_sandbox.fault("error", "post", "/v1/refunds", times=3)
    stripe_sandbox.deliver()
    now = timezone.now()
    told = StripeEvent.objects.filter(type__startswith="charge.dispute.", handled_at=None)
    others = StripeEvent.objects.filter(handled_at=None).exclude(type__startswith="charge.dispute.")
    others.update(handled_at=now)
    for minutes in range(4):
        for name in list(told.values_list("event_id", flat=True)):
            assert not events.follow(name, arrivals.follow, now=now + timedelta(minutes=5 * minutes))
    assert told.filter(due_at__gt=now + timedelta(minutes=20)).count() == told.count() > 0
    refunds.send(refund.uid, now=now + timedelta(minutes=3))
    refund.refresh_from_db()
    assert refund.status == ("failed" if becomes == "refused" else "done")
    names = list(told.values_list("event_id", flat=True))
    assert not told.filter(due_at__gt=timezone.now()).exists()
    assert all(events.follow(name, arrivals.follow) for name in names)
    assert Dispute.objects.get(dispute_id=dispute).withdrawn_at is not None
    assert (available(ada), ledger.totals()["platform_losses"]) == (0, 0)
    clean_books()


def test_a_refund_that_waits_keeps_nothing_else_from_being_compared(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    refunds.start(row, 10 * USD, by=None)
    dispute = stripe_sandbox.dispute(charge_of(row))
    other = topups.begin(ada, 30 * USD, by=None)
    assert stripe_sandbox.pay(other.session_id) is None
    stripe_sandbox.fault("error", "post", "/v1/refunds", times=3)
    assert topups.reconcile().differences == [f"{dispute}: a refund of the same payment is not decided yet"]
    other.refresh_from_db()
    assert other.is_paid
    assert topups.reconcile(now=timezone.now() + timedelta(minutes=3)).differences == []
    assert row.refunds.get().status == "failed"
    clean_books()


def test_a_refund_of_another_payment_under_our_name_is_none_of_ours(stripe_sandbox, ada):
    mine, other = bought(stripe_sandbox, ada), bought(stripe_sandbox, new_workspace())
    refund = refunds.start(mine, 10 * USD, by=None)
    made = stripe_sandbox.client().v1.refunds.create(
        {"payment_intent": other.intent_id, "amount": 1_000, "metadata": {"refund": refund.uid}}
    )
    with pytest.raises(topups.Mismatch, match="of another payment"):
        topups.follow_refund(made.id)
    refund.refresh_from_db()
    assert (refund.status, refund.refund_id) == ("started", "")
    clean_books()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["balance.available", "refund.updated", "transfer.updated"])
def test_what_a_connected_account_has_of_its_own_is_not_followed(monkeypatch, kind):
    followed = []
    monkeypatch.setitem(arrivals.FOLLOWED, kind.split("updated")[0], followed.append)
    event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": {"id": "x_1"}}}
    assert events.store(event | {"account": "acct_1"})
    assert events.follow("evt_1", arrivals.follow)
    assert followed == []
    assert events.store(event | {"id": "evt_2"})
    assert events.follow("evt_2", arrivals.follow)
    assert len(followed) == 1


def test_money_that_comes_to_a_bank_is_its_accounts_and_nobody_elses(stripe_sandbox, pia):
    mine = connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    assert sending.send(row.uid)
    stripe_sandbox.advance(timezone.now() + timedelta(days=3))
    sent = stripe_sandbox.things("payout")[-1]["id"]
    # An account that is connected, and does not have it.
    mal = connected(stripe_sandbox, new_publisher_with_owner())
    with pytest.raises(calls.Rejected) as refused:
        payouts.follow_arrival(sent, mal.account_id)
    assert refused.value.is_missing
    # The platform's own, an account that is not connected here, one of the other book: nothing is asked.
    stripe_sandbox.fault("error", "get", "/v1/payouts/{payout}", times=3)
    assert payouts.follow_arrival(sent, "") is False
    assert payouts.follow_arrival(sent, "acct_of_somebody") is False
    PayoutAccount.objects.filter(pk=mine.pk).update(book="live")
    assert payouts.follow_arrival(sent, mine.account_id) is False
    PayoutAccount.objects.filter(pk=mine.pk).update(book="test")
    assert not BankArrival.objects.exists()
    with pytest.raises(calls.Unreachable):
        payouts.follow_arrival(sent, mine.account_id)
    assert payouts.follow_arrival(sent, mine.account_id) is True
    assert BankArrival.objects.get().publisher == pia
    assert payouts.follow_arrival(sent, mine.account_id) is False


def new_publisher_with_owner():
    from marketplace.models import Membership, User

    publisher = new_publisher()
    user = User.objects.create_user(f"mal-{publisher.pk}@example.test", "a long password", name="Mal")
    Membership.objects.create(workspace=publisher.workspace, user=user, role="owner")
    return publisher


def test_whom_nobody_looked_at_yet_comes_before_those_that_are_due_again(stripe_sandbox, ada, monkeypatch):
    reconcile = import_module("billing.topups.reconcile")
    monkeypatch.setattr(reconcile, "AT_ONCE", 1)
    old, new = topups.begin(ada, 10 * USD, by=None), topups.begin(ada, 11 * USD, by=None)
    now = timezone.now()
    TopUp.objects.filter(pk=old.pk).update(checked_at=now - timedelta(minutes=5))
    assert stripe_sandbox.pay(new.session_id) is None
    assert reconcile.check_undecided(now=now) == 1
    assert topups.look(new).is_paid
    assert available(ada) == 11 * USD


@pytest.mark.django_db
def test_accounts_that_nothing_is_said_of_keep_no_other_waiting(monkeypatch):
    monkeypatch.setattr(accounts, "AT_ONCE", 1)
    asked = []

    def silent(account_id, **_):
        asked.append(account_id)
        raise calls.Unreachable("no access to it")

    monkeypatch.setattr(accounts, "follow_account", silent)
    for name in ("acct_1", "acct_2"):
        PayoutAccount.objects.create(publisher=new_publisher(), book="test", method="stripe", account_id=name)
    now = timezone.now()
    for minutes in (0, 1, 11, 12):
        accounts.check_due(now=now + timedelta(minutes=minutes))
    assert sorted(asked[:2]) == sorted(asked[2:]) == ["acct_1", "acct_2"]


def test_what_a_run_held_makes_good_for_a_lost_dispute_when_it_ends(stripe_sandbox, ada):
    held = uuid4()
    row = bought(stripe_sandbox, ada, 25)
    ledger.hold(workspace_id=ada.pk, reference=held, amount_micros=25 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    stripe_sandbox.decide(dispute, "lost")
    topups.follow_dispute(dispute)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 25 * USD)
    assert ledger.release(reference=held)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 0)
    follow_all()
    clean_books()
