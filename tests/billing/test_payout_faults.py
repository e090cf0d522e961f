"""A publisher is paid once, whatever breaks on the way, whatever is said five times, and whatever is never said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import arrivals, ledger, payouts, topups
from billing.gateway import events
from billing.models.credit import StripeEvent
from billing.models.payouts import BankArrival, Payout
from billing.payouts import sending
from marketplace.models import Outbox, User
from tests.billing.buyers import clean_books, follow_all, mails
from tests.billing.killed import Killed, dies_after
from tests.billing.makers import (
    CENT,
    DAY,
    LATER,
    USD,
    balance,
    connected,
    earn,
    errors_of,
    rich,
)


@pytest.mark.parametrize("fault", ["drop", "error", "late_error", "busy"])
def test_paid_once_whatever_becomes_of_the_answer(stripe_sandbox, pia, fault):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    stripe_sandbox.fault(fault, "post", "/v1/transfers", times=3)
    now = timezone.now()
    while not sending.send(row.uid, now=now):
        row.refresh_from_db()
        assert (row.status, row.wait) == ("new", "silence")
        now += timedelta(hours=1)
    row.refresh_from_db()
    (made,) = stripe_sandbox.things("transfer")
    assert (row.status, row.transfer_id) == ("paid", made["id"])
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


@pytest.mark.parametrize("point", ["_made_before", "_ask", "take_transfer", "_done"])
def test_paid_once_although_we_died_on_the_way(stripe_sandbox, pia, monkeypatch, point):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    now = timezone.now()
    if point == "_made_before":  # is asked at the second try only
        stripe_sandbox.fault("late_error", "post", "/v1/transfers", times=3)
        assert not sending.send(row.uid, now=now)
        now += timedelta(hours=1)

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sending, point, die)
        with pytest.raises(Killed):
            sending.send(row.uid, now=now)
    assert balance(pia)[2] == 80 * USD
    assert not sending.send(row.uid, now=now)  # somebody may still be at it
    assert sending.send(row.uid, now=now + timedelta(days=3))  # when Stripe has forgotten the key
    assert len(stripe_sandbox.things("transfer")) == 1
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


def test_a_payout_that_failed_and_was_paid_at_stripe_is_told_until_it_is_reversed(stripe_sandbox, pia):
    User.objects.update(is_staff=True)
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    made = sending._ask(row)
    sending._fail(row, "Nobody answered.", timezone.now())
    for _ in range(2):
        with pytest.raises(payouts.Mismatch, match="paid nevertheless"):
            payouts.follow_transfer(made["id"])
    assert [one.stray_id for one in payouts.strays()] == [made["id"]]
    assert sum("had failed was paid at Stripe" in one for one in mails()) == User.objects.count()
    reverse = stripe_sandbox.client().v1.transfers.reversals.create
    reverse(made["id"], {"amount": 100})
    with pytest.raises(payouts.Mismatch):
        payouts.follow_transfer(made["id"])
    reverse(made["id"])
    assert payouts.follow_transfer(made["id"])
    assert not payouts.follow_transfer(made["id"])
    assert payouts.strays() == []
    assert balance(pia) == (0, 80 * USD, 0, 0)
    assert not [one for one in topups.reconcile().differences if row.uid in one]
    clean_books()


MAKING = [(sending, "_ask"), (sending, "_done"), (sending.letters, "tell_paid"), (ledger, "payout_done")]
COMING_BACK = [
    (sending, "_reversals"),
    (sending, "_came_back"),
    (sending.letters, "tell_returned"),
    (ledger, "payout_returned"),
]


@pytest.mark.parametrize(("module", "name"), MAKING + COMING_BACK)
def test_the_comparison_ends_what_a_killed_process_began(stripe_sandbox, pia, monkeypatch, module, name):
    """At each point between "Stripe has done it" and "we know it", of a transfer and of its reversal; no word comes."""
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    comes_back = (module, name) in COMING_BACK
    if comes_back:
        assert sending.send(row.uid)
        row.refresh_from_db()
        stripe_sandbox.client().v1.transfers.reversals.create(row.transfer_id, {"amount": 3_000})
    with monkeypatch.context() as patch:
        dies_after(patch, module, name)
        with pytest.raises(Killed):
            payouts.follow_transfer(row.transfer_id) if comes_back else sending.send(row.uid)
    for _ in range(2):
        assert topups.reconcile().differences == []
    row.refresh_from_db()
    assert row.status == "paid"
    assert len(stripe_sandbox.things("transfer")) == 1
    assert balance(pia) == ((0, 30 * USD, 0, 50 * USD) if comes_back else (0, 0, 0, 80 * USD))
    told = Outbox.objects.filter(task=payouts.CLOSED_TASK)
    assert told.count() == (2 if comes_back else 1)
    clean_books()


def test_a_payout_waits_for_the_platforms_balance(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    User.objects.update(is_staff=True)
    earn(pia, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(pia, by=None)
    assert not sending.send(row.uid)
    row.refresh_from_db()
    assert (row.status, row.wait, row.attempt) == ("new", "balance", 2)
    assert sum("does not cover" in one for one in mails()) == 1
    assert not sending.send(row.uid, now=timezone.now() + timedelta(hours=1))
    assert [one for one in mails() if "does not cover" in one] == [
        "The balance at Stripe does not cover a payout of $80.00"
    ]
    stripe_sandbox.add_funds(8_000)
    row.refresh_from_db()
    assert payouts.funds_came(now=timezone.now()) == 1
    assert sending.send(row.uid, now=timezone.now() + timedelta(seconds=1))
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


def test_what_stripe_refuses_is_payable_again(stripe_sandbox, pia):
    account = connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    stripe_sandbox.set_capability(account.account_id, "restricted")
    assert sending.send(row.uid)
    row.refresh_from_db()
    account.refresh_from_db()
    assert (row.status, account.state) == ("failed", "restricted")
    assert row.failure
    assert balance(pia) == (0, 80 * USD, 0, 0)
    assert f"{pia.name}: a payout of $80.00 failed" in mails()
    stripe_sandbox.set_capability(account.account_id, "active")
    payouts.look(account, now=timezone.now())
    again = payouts.start(pia, by=None)
    assert sending.send(again.uid)
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


@pytest.mark.parametrize("order", ["made", "reversed", "random"])
def test_every_word_of_a_payout_five_times_in_any_order(stripe_sandbox, pia, order):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    sending.send(row.uid)
    row.refresh_from_db()
    client = stripe_sandbox.client()
    client.v1.transfers.reversals.create(row.transfer_id, {"amount": 1_000})
    for minutes in (2, 3):
        stripe_sandbox.advance(timezone.now() + timedelta(minutes=minutes))
    stripe_sandbox.deliver(copies=5, order=order, at_once=5, seed=11)
    names = list(StripeEvent.objects.filter(handled_at=None).values_list("event_id", flat=True))
    assert not errors_of([lambda name=name: events.follow(name, arrivals.follow) for name in names])
    follow_all()
    row.refresh_from_db()
    assert (row.status, row.returned_micros) == ("paid", 10 * USD)
    assert balance(pia) == (0, 10 * USD, 0, 70 * USD)
    arrival = BankArrival.objects.get()
    assert (arrival.status, arrival.amount, arrival.publisher_id) == ("paid", 7_000, pia.pk)
    assert not StripeEvent.objects.filter(handled_at=None).exists()
    clean_books()


def test_words_that_never_come_change_nothing(stripe_sandbox, pia):
    connected(stripe_sandbox, pia, bank="fails")
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    stripe_sandbox.fault("drop", "post", "/v1/transfers", times=3)
    assert not sending.send(row.uid)
    for minutes in (2, 3):
        stripe_sandbox.advance(timezone.now() + timedelta(minutes=minutes))
    counts, differences = payouts.compare(timezone.now() - DAY, timezone.now() + timedelta(hours=1))
    row.refresh_from_db()
    assert (row.status, differences) == ("paid", [])
    assert (counts["payouts"], counts["payouts_mended"], counts["arrivals_mended"]) == (1, 1, 1)
    assert BankArrival.objects.get().status == "failed"
    assert f"{pia.name}: your bank sent money back to Stripe" in mails()
    stripe_sandbox.client().v1.transfers.reversals.create(row.transfer_id, {"amount": 8_000})
    payouts.compare(timezone.now() - DAY, timezone.now() + timedelta(hours=1))
    row.refresh_from_db()
    assert (row.status, balance(pia)) == ("returned", (0, 80 * USD, 0, 0))
    clean_books()


def test_transfers_that_are_not_ours_or_do_not_fit_are_reported(stripe_sandbox, pia):
    account = connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    client = stripe_sandbox.client()
    asked = {"amount": 100, "currency": "usd", "destination": account.account_id}
    client.v1.transfers.create(asked | {"metadata": {"payout": row.uid}})  # another group: not made here
    client.v1.transfers.create(
        asked | {"metadata": {"payout": row.uid}, "transfer_group": sending.group_of(row)}
    )
    counts, differences = payouts.compare(timezone.now() - DAY, timezone.now())
    assert counts["other_transfers_cents"] == 100
    assert [one for one in differences if row.uid in one] == differences != []
    row.refresh_from_db()
    assert row.status == "new"
    _, later = payouts.compare(timezone.now() - DAY, timezone.now() + 2 * DAY)
    assert (
        [one for one in later if "not decided" in one]
        == [one for one in later if one not in differences]
        != []
    )


def test_no_two_movements_without_their_row_and_no_row_without_them(stripe_sandbox, pia, monkeypatch):
    """What is in the middle of a transaction when the process dies never was."""
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)

    def die(*_, **__):
        raise Killed

    for name, act in (
        ("payout_started", lambda: payouts.start(pia, by=None)),
        ("payout_done", lambda: sending.send(Payout.objects.get().uid)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(ledger, name, die)
            with pytest.raises(Killed):
                act()
        clean_books()
        if name == "payout_started":
            assert not Payout.objects.exists()
            payouts.start(pia, by=None)
    row = Payout.objects.get()
    assert (row.status, balance(pia)[2]) == ("new", 80 * USD)
    assert sending.send(row.uid, now=timezone.now() + timedelta(hours=1))
    assert len(stripe_sandbox.things("transfer")) == 1
    clean_books()


def test_the_audit_sees_a_payout_that_its_movements_do_not_tell_of(by_hand):
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(by_hand, by=None)
    clean_books()
    Payout.objects.filter(pk=row.pk).update(amount_micros=row.amount_micros - CENT)
    assert "a payout is what its movements say" in {one.check for one in ledger.verify()}
    Payout.objects.filter(pk=row.pk).update(
        amount_micros=row.amount_micros, status="paid", settled_at=timezone.now()
    )
    assert "a payout is what its movements say" in {one.check for one in ledger.verify()}
