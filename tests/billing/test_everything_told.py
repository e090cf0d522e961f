"""All that Stripe ever tells us, five times at once in random order, some of it never: the same books in the end."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.utils import timezone

from billing import arrivals, ledger, payouts, topups
from billing.gateway import events
from billing.models.credit import Dispute, StripeEvent, TopUp, TopUpRefund
from billing.models.payouts import BankArrival
from billing.payouts import sending
from billing.topups import refunds
from tests.billing.buyers import USD, available, charge_of, clean_books, follow_all, in_parallel
from tests.billing.cast import new_workspace
from tests.billing.makers import connected, earn, rich

# Told by Stripe to some, and never by the sandbox: kept as Stripe writes them.
NEVER_HERE = ("account.", "balance.available", "charge.refund.")
PAID = {
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "payment_intent.succeeded",
    "refund.updated",
    "charge.dispute.funds_withdrawn",
    "transfer.reversed",
    "payout.paid",
}


def page(sandbox, workspace, dollars, card="visa", **more):
    """A payment page that was paid; whether anybody came back from it is another matter."""
    row = topups.begin(workspace, dollars * USD, by=None, **more)
    assert sandbox.pay(row.session_id, card) is None
    return row


def paid(sandbox, workspace, dollars, card="visa", **more):
    return topups.look(page(sandbox, workspace, dollars, card, **more))


def a_busy_day(sandbox, ada, mal, pia):
    """Everything that a buyer, one who disputes, a publisher, and the operator at Stripe can do."""
    client = sandbox.client()
    # Cards: one saved by paying, one on a page for that, which replaces it; the first is taken away at Stripe.
    paid(sandbox, ada, 25, saves_card=True)
    first = topups.customers.known(ada).card_id
    topups.begin_card(ada)
    sandbox.pay(sandbox.things("checkout.session")[-1]["id"], "mastercard")
    client.v1.payment_methods.detach(first)
    # Payments: one whose bank takes its time, one whose bank says no then, one that nobody pays, one without a word.
    page(sandbox, ada, 10, "slow")
    page(sandbox, ada, 11, "slowFails")
    client.v1.checkout.sessions.expire(topups.begin(ada, 12 * USD, by=None).session_id)
    page(sandbox, ada, 14)
    keeps = paid(sandbox, ada, 20, "refundFail")
    wins = paid(sandbox, ada, 15)
    earn(pia, 10 * USD, payer=ada)
    # Refunds: one arrives, one comes back, one was made at Stripe itself.
    sandbox.modes(refunds="pending")
    for row, dollars in ((wins, 5), (keeps, 6)):
        assert refunds.send(refunds.start(row, dollars * USD, by=None).uid)
    sandbox.modes(refunds="succeed")
    client.v1.refunds.create({"payment_intent": wins.intent_id, "amount": 200})
    # Disputes: one is won; of a lost one two thirds were spent, and a little was bought since.
    sandbox.decide(sandbox.dispute(charge_of(wins)), "won")
    lost = paid(sandbox, mal, 30)
    earn(pia, 20 * USD, payer=mal)
    sandbox.decide(sandbox.dispute(charge_of(lost)), "lost")
    page(sandbox, mal, 5)
    # The publisher is connected, paid, has a part taken back, and the rest is sent to its bank.
    account = connected(sandbox, pia)
    rich(sandbox, pia)
    payout = payouts.start(pia, by=None)
    assert sending.send(payout.uid)
    payout.refresh_from_db()
    client.v1.transfers.reversals.create(payout.transfer_id, {"amount": 1_000})
    for minutes in (2, 3):
        sandbox.advance(timezone.now() + timedelta(minutes=minutes))
    return account


def tell(sandbox, drop, seed):
    """Every word but those of some kinds, five times, in random order and at once; HTTP has tests of its own."""
    words = [one.event.data for one in sandbox.undelivered() if one.event.data["type"] not in drop] * 5
    random.Random(seed).shuffle(words)
    in_parallel([lambda part=words[at::4]: [events.store(one) for one in part] for at in range(4)])
    assert set(StripeEvent.objects.values_list("deliveries", flat=True)) == {5}


def told_beside(account):
    """What the sandbox does not tell."""
    refund = TopUpRefund.objects.exclude(refund_id="").first()
    for kind, thing in (
        ("account.updated", {"id": account.account_id}),
        ("balance.available", {"object": "balance"}),
        ("charge.refund.updated", {"id": refund.refund_id}),
    ):
        event = {"id": f"evt_{kind}", "object": "event", "type": kind, "livemode": False}
        for _ in range(5):
            events.store({**event, "data": {"object": thing}})


@pytest.mark.parametrize(("seed", "drop"), [(1, frozenset()), (2, PAID)], ids=["all", "some never"])
def test_the_same_books_in_the_end(stripe_sandbox, ada, pia, seed, drop):
    mal = new_workspace()
    account = a_busy_day(stripe_sandbox, ada, mal, pia)
    told = {one.event.data["type"] for one in stripe_sandbox.undelivered()}
    assert {kind for kind in arrivals.FOLLOWED if not any(one.startswith(kind) for one in told)} == set(
        NEVER_HERE
    )
    tell(stripe_sandbox, drop, seed)
    told_beside(account)
    names = list(StripeEvent.objects.values_list("event_id", flat=True))
    in_parallel(
        [
            lambda part=part: [events.follow(name, arrivals.follow) for name in names[part::4]]
            for part in range(4)
        ]
    )
    follow_all()
    topups.reconcile()
    follow_all()
    assert topups.reconcile(now=timezone.now() + timedelta(hours=1)).differences == []

    def statuses(rows):
        return sorted((row.amount_micros // USD, row.status) for row in rows)

    assert statuses(TopUp.objects.filter(workspace=ada)) == [
        (10, "paid"),
        (11, "failed"),
        (12, "expired"),
        (14, "paid"),
        (15, "paid"),
        (20, "paid"),
        (25, "paid"),
    ]
    assert statuses(TopUpRefund.objects.all()) == [(2, "done"), (5, "done"), (6, "failed")]
    assert sorted(Dispute.objects.values_list("status", flat=True)) == ["lost", "won"]
    assert topups.customers.known(ada).card_brand == "mastercard"
    # 84 bought, 10 spent, 5 and 2 given back.
    assert available(ada) == 67 * USD
    # 30 taken back, 10 of it unspent; 5 bought since went to what was owed.
    assert (available(mal), topups.debts.owed(mal.pk)) == (0, 15 * USD)
    assert ledger.totals()["platform_losses"] == -3 * USD
    # 24 of both buyers' runs, and 80 long ago: paid out, and 10 of them back; 12 are kept back for the dispute.
    found = ledger.publisher_balance(pia.pk)
    assert (found.pending_micros, found.payable_micros, found.paid_out_micros) == (
        24 * USD,
        -2 * USD,
        70 * USD,
    )
    assert list(BankArrival.objects.values_list("status", "amount")) == [("paid", 7_000)]
    assert not StripeEvent.objects.filter(handled_at=None).exists()
    clean_books()
