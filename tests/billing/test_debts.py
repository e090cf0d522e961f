"""A lost dispute whose credit was spent: owed, told, made good for by the next credit, and no publisher paid for it."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing import earnings, ledger, payouts, topups
from billing.gateway import calls
from billing.ledger.accounts import lock_credit
from billing.models import DisputedPayment, LedgerAccount
from billing.models.credit import Dispute
from billing.topups import refunds
from tests.billing.buyers import (
    USD,
    available,
    bought,
    charge_of,
    clean_books,
    follow_all,
    in_parallel,
    mails,
    spend,
)
from tests.billing.cast import USAGE, new_publisher
from tests.edge.web import until
from tests.overtaking import is_waited_for, overtaking
from tests.predictions.test_races import at_once

LATER = timedelta(days=8)  # everything that is earned now has matured


def disputed(sandbox, row, verdict="lost"):
    dispute = sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    sandbox.decide(dispute, verdict)
    topups.follow_dispute(dispute)


def test_the_next_credit_makes_good_for_a_lost_dispute_first(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada, 25)
    spend(ada, 15 * USD)
    disputed(stripe_sandbox, row)
    assert topups.debts.owed(ada.pk) == 15 * USD
    bought(stripe_sandbox, ada, 10)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 5 * USD)
    again = bought(stripe_sandbox, ada, 25)
    assert (available(ada), topups.debts.owed(ada.pk)) == (20 * USD, 0)
    assert ledger.totals()["platform_losses"] == 0
    told = [one for one in mails() if "went to a lost dispute" in one]
    assert [one.split(": ")[1].split(" ")[0] for one in told] == ["$10.00", "$5.00"]
    # What went to the debt cannot be had back as a refund, and every word once more changes nothing.
    assert topups.refundable(again, bought_micros=ledger.balance(ada.pk).bought_micros) == 20 * USD
    topups.reconcile()
    stripe_sandbox.deliver(copies=2, order="random", seed=1)
    follow_all()
    assert available(ada) == 20 * USD
    clean_books()


def test_what_is_not_lost_yet_is_not_owed(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada, 25)
    spend(ada, 25 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    assert topups.debts.owed(ada.pk) == 0
    bought(stripe_sandbox, ada, 10)
    assert available(ada) == 10 * USD
    stripe_sandbox.decide(dispute, "won")
    topups.follow_dispute(dispute)
    assert (available(ada), topups.debts.owed(ada.pk)) == (10 * USD, 0)
    assert ledger.totals()["platform_losses"] == 0
    clean_books()


def test_what_open_runs_held_makes_good_once_it_is_lost(stripe_sandbox, ada):
    row, reference = bought(stripe_sandbox, ada, 25), uuid4()
    ledger.hold(workspace_id=ada.pk, reference=reference, amount_micros=25 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    ledger.release(reference=reference)
    assert available(ada) == 25 * USD
    stripe_sandbox.decide(dispute, "lost")
    in_parallel([lambda: topups.follow_dispute(dispute)] * 3)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 0)
    assert Dispute.objects.get().status == "lost"
    clean_books()


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("is_paid_first", [True, False])
def test_what_is_bought_at_the_moment_it_is_lost_makes_good_for_it(
    stripe_sandbox, ada, is_known, is_paid_first
):
    """Whichever is booked first, and also where the dispute is seen for the first time when it is lost already."""
    row, page = bought(stripe_sandbox, ada, 25), topups.begin(ada, 10 * USD, by=None)
    spend(ada, 25 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    if is_known:
        topups.follow_dispute(dispute)
    stripe_sandbox.decide(dispute, "lost")
    assert stripe_sandbox.pay(page.session_id) is None
    lost, paid = calls.dispute(dispute), calls.session(page.session_id)
    acts = [lambda: topups.disputes.take_dispute(lost), lambda: topups.settling.take_session(paid)]
    overtaking(*(acts[::-1] if is_paid_first else acts))
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 15 * USD)
    clean_books()


def test_a_run_that_is_given_back_as_its_payment_is_lost_waits_for_nobody_who_waits_for_it(
    stripe_sandbox, ada
):
    """Each notes something of the same payment, and has the credit locked first."""
    row, reference = bought(stripe_sandbox, ada, 25), uuid4()
    ledger.hold(workspace_id=ada.pk, reference=reference, amount_micros=25 * USD)
    ledger.capture(reference=reference, amount_micros=25 * USD, share=None, usage=USAGE)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    stripe_sandbox.decide(dispute, "lost")
    lost, has_locked = calls.dispute(dispute), threading.Event()

    def give_back():
        try:
            with transaction.atomic():
                lock_credit(ada.pk, book=row.book)
                has_locked.set()
                until(is_waited_for)
                return ledger.refund(reference, 10 * USD, key="part", reason=ledger.RefundReason.FAULT)
        finally:
            has_locked.set()

    def lose():
        has_locked.wait(60)
        return topups.disputes.take_dispute(lost)

    refunded, followed = at_once(give_back, lose)
    assert (refunded.made_good_micros, followed) == (10 * USD, topups.Outcome.BOOKED)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 15 * USD)
    clean_books()


@pytest.mark.parametrize("comes", ["refused", "returned", "won"])
def test_credit_that_comes_back_makes_good_too(stripe_sandbox, ada, comes):
    """Not bought anew, and as good: of a refund that Stripe refuses or a bank sends back, or of a dispute that is
    won."""
    row = bought(stripe_sandbox, ada, 25)
    spend(ada, 25 * USD)
    other = bought(stripe_sandbox, ada, 40, card="visa" if comes != "returned" else "refundFail")
    if comes == "won":
        dispute = stripe_sandbox.dispute(charge_of(other))
        topups.follow_dispute(dispute)
    else:
        refund = refunds.start(other, 40 * USD, by=None)
        if comes == "returned":
            refunds.send(refund.uid)
        else:
            stripe_sandbox.client().v1.refunds.create({"payment_intent": other.intent_id})
    disputed(stripe_sandbox, row)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 25 * USD)
    if comes == "won":
        stripe_sandbox.decide(dispute, "won")
        topups.follow_dispute(dispute)
    elif comes == "refused":
        refunds.send(refund.uid)
    else:
        stripe_sandbox.advance(timezone.now() + timedelta(days=1))
        topups.follow_refund(stripe_sandbox.things("refund")[-1]["id"])
    assert (available(ada), topups.debts.owed(ada.pk)) == (15 * USD, 0)
    assert sum("went to a lost dispute" in one for one in mails()) == 1
    clean_books()


@pytest.mark.parametrize("comes", ["bought", "released", "refunded"])
def test_credit_that_makes_good_waits_for_no_run_that_waits_for_it(stripe_sandbox, ada, comes):
    """A run locks granted credit, then bought; what is bought has locked that alone, and goes on to a debt."""
    row, page, reference = bought(stripe_sandbox, ada, 25), topups.begin(ada, 10 * USD, by=None), uuid4()
    ledger.hold(workspace_id=ada.pk, reference=reference, amount_micros=10 * USD)
    if comes != "released":
        ledger.capture(reference=reference, amount_micros=10 * USD, share=None, usage=USAGE)
    spend(ada, 15 * USD)
    disputed(stripe_sandbox, row)
    assert stripe_sandbox.pay(page.session_id) is None
    paid, has_locked, is_booked = calls.session(page.session_id), threading.Event(), threading.Event()

    def come():
        with transaction.atomic():
            if comes == "released":
                assert ledger.release(reference=reference)
            else:
                ledger.refund(reference, 10 * USD, key="all", reason=ledger.RefundReason.FAULT)
        return topups.Outcome.BOOKED

    def run():
        with transaction.atomic():
            granted = LedgerAccount.objects.select_for_update(no_key=True)
            granted.get(workspace=ada, kind="workspace_granted", book="test")
            has_locked.set()
            until(lambda: is_booked.is_set() or is_waited_for())
            lock_credit(ada.pk, book="test")

    def book():
        has_locked.wait(60)
        try:
            return topups.settling.take_session(paid) if comes == "bought" else come()
        finally:
            is_booked.set()

    assert at_once(run, book) == [None, topups.Outcome.BOOKED]
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 15 * USD)
    clean_books()


def test_what_was_read_before_a_dispute_was_lost_does_not_open_it_again(stripe_sandbox, ada):
    """Two of its events, followed at once: the older look may be booked last."""
    row = bought(stripe_sandbox, ada, 25)
    spend(ada, 25 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    older = calls.dispute(dispute)
    stripe_sandbox.decide(dispute, "lost")
    topups.follow_dispute(dispute)
    topups.disputes.take_dispute(older)
    assert (Dispute.objects.get().status, topups.debts.owed(ada.pk)) == ("lost", 25 * USD)
    bought(stripe_sandbox, ada, 10)
    assert (available(ada), topups.debts.owed(ada.pk)) == (0, 15 * USD)
    clean_books()


@pytest.mark.parametrize("verdict", ["won", "lost"])
def test_no_share_of_a_disputed_payment_is_paid_out(stripe_sandbox, ada, verdict):
    pia = new_publisher()
    row, reference = bought(stripe_sandbox, ada, 25), uuid4()
    ledger.hold(workspace_id=ada.pk, reference=reference, amount_micros=20 * USD)
    share = ledger.Share(pia.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=20 * USD, share=share, usage=USAGE)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    ledger.mature(pia.pk, delay=timedelta(0), now=timezone.now() + LATER)
    assert ledger.publisher_balance(pia.pk).payable_micros == 0
    stripe_sandbox.decide(dispute, verdict)
    topups.follow_dispute(dispute)
    assert ledger.publisher_balance(pia.pk).payable_micros == (16 * USD if verdict == "won" else 0)
    if verdict == "lost":
        bought(stripe_sandbox, ada, 10)
        assert ledger.publisher_balance(pia.pk).payable_micros == 8 * USD
    month = timezone.now().date()
    found = earnings.statement(pia.pk, month)
    assert found.adds_up
    assert found.disputes_micros == (0 if verdict == "won" else -8 * USD)
    lines = [line for some in earnings.lines(pia.pk, month, month + timedelta(days=9)) for line in some]
    assert sum(line.change_micros for line in lines) == found.closing_micros
    assert {line.kind for line in lines} >= {"capture", "dispute"}
    assert payouts.outlook(payouts.account_of(pia)).balance.payable_micros >= 0
    clean_books()


def test_what_is_known_of_earlier_disputes_is_written_down_once(stripe_sandbox, ada):
    pia = new_publisher()
    row, reference = bought(stripe_sandbox, ada, 25), uuid4()
    ledger.hold(workspace_id=ada.pk, reference=reference, amount_micros=20 * USD)
    share = ledger.Share(pia.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=20 * USD, share=share, usage=USAGE)
    disputed(stripe_sandbox, row)
    bought(stripe_sandbox, ada, 10)
    disputed(stripe_sandbox, bought(stripe_sandbox, ada, 30), "won")
    known = list(DisputedPayment.objects.order_by("pk").values())
    assert [one["left_micros"] for one in known] == [0, 0]
    other = bought(stripe_sandbox, ada, 40)
    spend(ada, 40 * USD)
    disputed(stripe_sandbox, other)
    bought(stripe_sandbox, ada, 15)
    known = list(DisputedPayment.objects.order_by("pk").values())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_disputedpayment DISABLE TRIGGER USER")
        DisputedPayment.objects.all().delete()
        cursor.execute(import_module("billing.migrations.0018_disputed_payments").PAST)
        cursor.execute("ALTER TABLE billing_disputedpayment ENABLE TRIGGER USER")
    found = list(DisputedPayment.objects.order_by("pk").values())
    assert [one | {"id": 0} for one in found] == [one | {"id": 0} for one in known]
    assert sum(one["left_micros"] for one in found) == topups.debts.owed(ada.pk) > 0
    clean_books()
