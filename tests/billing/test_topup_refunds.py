"""Unspent credit back to its card, and disputes: never more than there is, and all of it in the books."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.utils import timezone

from billing import ledger, topups
from billing.gateway import calls
from billing.models.credit import AutoTopUp, Dispute, StripeEvent, TopUpRefund
from billing.topups import refunds
from tests.billing.buyers import (
    CENT,
    USD,
    auto,
    available,
    bought,
    charge_of,
    clean_books,
    follow_all,
    in_parallel,
    mails,
    refill,
    spend,
)
from tests.overtaking import overtaking


def test_unspent_credit_goes_back_once(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    spend(ada, 5 * USD)
    waits = refunds.start(row, USD, by=None)
    refund = refunds.start(row, 12 * USD, by=None)
    assert available(ada) == 7 * USD  # it is not there to be spent while it is on its way
    with pytest.raises(topups.Refused, match="At most"):
        refunds.start(row, 9 * USD, by=None)
    assert refunds.refundable(row, bought_micros=8 * USD - 1) == 8 * USD - CENT
    assert refunds.send(refund.uid)
    assert not refunds.send(refund.uid)
    stripe_sandbox.deliver(copies=3, order="random")
    follow_all()
    refund.refresh_from_db()
    assert refund.status == "done"
    waits.refresh_from_db()
    assert (waits.status, waits.refund_id) == ("started", "")
    assert available(ada) == 7 * USD
    assert sum("was refunded" in one for one in mails()) == 1
    clean_books()


def test_a_refund_that_a_bank_sends_back(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada, card="refundFail")
    refund = refunds.start(row, 25 * USD, by=None)
    refunds.send(refund.uid)
    assert available(ada) == 0
    stripe_sandbox.advance(timezone.now() + timedelta(days=1))
    stripe_sandbox.deliver(order="reversed")
    follow_all()
    refund.refresh_from_db()
    row.refresh_from_db()
    assert refund.status in {"failed", "returned"}
    assert available(ada) == 25 * USD
    assert row.refunded_micros == 0
    clean_books()


def test_the_same_click_again_is_the_same_refund(stripe_sandbox, ada):
    row, once = bought(stripe_sandbox, ada), uuid4()
    in_parallel([lambda: refunds.start(row, 10 * USD, by=None, once=once)] * 4)
    refund = TopUpRefund.objects.get()
    assert refunds.send(refund.uid)
    assert refunds.start(row, 10 * USD, by=None, once=once) == refund
    with pytest.raises(topups.Refused, match="sent before"):
        refunds.start(row, 5 * USD, by=None, once=once)
    assert refunds.start(row, 10 * USD, by=None, once=uuid4()) != refund
    assert available(ada) == 5 * USD
    clean_books()


def test_a_refund_is_asked_of_the_stripe_of_its_own_book_alone(stripe_sandbox, ada, settings):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 25 * USD, by=None)
    settings.LEDGER_BOOK = "live"
    assert refunds.hint_waiting() == 0
    assert not refunds.send(refund.uid)  # another Stripe does not know the payment, and would refuse
    settings.LEDGER_BOOK = "test"
    assert refunds.send(refund.uid)
    refund.refresh_from_db()
    assert refund.status == "done"
    assert available(ada) == 0


@pytest.mark.parametrize("fault", ["drop", "late_error", "error"])
def test_a_refund_whose_answer_is_lost(stripe_sandbox, ada, fault):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 25 * USD, by=None)
    stripe_sandbox.fault(fault, "post", "/v1/refunds", times=1 if fault == "drop" else 3)
    assert not refunds.send(refund.uid)
    assert refunds.send(refund.uid, now=timezone.now() + timedelta(minutes=3))
    refund.refresh_from_db()
    assert refund.status == "done"
    assert len(stripe_sandbox.things("refund")) == 1
    clean_books()


def test_a_refund_older_than_stripes_memory_is_looked_up(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 25 * USD, by=None)
    with calls.asking():
        stripe_sandbox.client().v1.refunds.create(
            {"payment_intent": row.intent_id, "amount": 2500, "metadata": {"refund": refund.uid}}
        )
    assert refunds.send(refund.uid, now=timezone.now() + timedelta(days=1))
    refund.refresh_from_db()
    assert refund.status == "done"
    assert len(stripe_sandbox.things("refund")) == 1


def test_a_refund_that_stripe_refuses_gives_the_credit_back(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    stripe_sandbox.client().v1.refunds.create({"payment_intent": row.intent_id})
    refund = refunds.start(row, 25 * USD, by=None)  # we do not know of the other one yet
    assert refunds.send(refund.uid)
    refund.refresh_from_db()
    assert refund.status == "failed"
    assert available(ada) == 25 * USD
    # What was made at Stripe itself is found, and taken.
    topups.reconcile()
    assert available(ada) == 0
    stripe_sandbox.deliver(copies=2)
    follow_all()
    assert available(ada) == 0
    row.refresh_from_db()
    assert row.refunded_micros == 25 * USD
    clean_books()


def test_refunds_end_after_their_days_but_not_for_staff(stripe_sandbox, ada, settings):
    row = bought(stripe_sandbox, ada)
    later = timezone.now() + timedelta(days=settings.REFUND_DAYS, seconds=5)
    with pytest.raises(topups.Refused):
        refunds.start(row, 25 * USD, by=None, now=later)
    assert refunds.start(row, 25 * USD, by=None, by_staff=True, now=later)


@pytest.mark.parametrize("amount", [0, -USD, 1, CENT + 1, 26 * USD])
def test_amounts_that_cannot_be_refunded(stripe_sandbox, ada, amount):
    row = bought(stripe_sandbox, ada)
    with pytest.raises(topups.Refused):
        refunds.start(row, amount, by=None)
    assert available(ada) == 25 * USD


def test_parallel_refunds_and_a_run_share_what_is_there(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada, 10)

    def give_back():
        with contextlib.suppress(topups.Refused):
            refunds.start(row, 6 * USD, by=None)

    def run():
        with contextlib.suppress(ledger.InsufficientCredit):
            ledger.hold(workspace_id=ada.pk, reference=uuid4(), amount_micros=6 * USD)

    in_parallel([give_back, run, give_back, run])
    assert available(ada) == 4 * USD
    clean_books()


def test_cents_of_many_refunds_add_up(stripe_sandbox, ada, settings):
    settings.STRIPE_TAX = True
    row = topups.begin(ada, 10 * USD, by=None)
    stripe_sandbox.pay(row.session_id, country="SE", name="Ada", email="ada@example.test")
    row = topups.look(row)
    for cents in (333, 333, 1, 333):
        refund = refunds.start(row, cents * CENT, by=None)
        assert refunds.send(refund.uid)
    found = TopUpRefund.objects.all()
    assert sum(one.cents for one in found) == row.paid_cents == 1250
    clean_books()


@pytest.mark.parametrize("order", ["made", "reversed", "random"])
@pytest.mark.parametrize("verdict", ["won", "lost"])
def test_a_dispute_takes_what_is_left_and_a_won_one_gives_it_back(stripe_sandbox, ada, order, verdict):
    row = bought(stripe_sandbox, ada)
    spend(ada, 5 * USD)
    dispute = stripe_sandbox.dispute(charge_of(row))
    stripe_sandbox.deliver(copies=2, order=order, seed=3)
    follow_all()
    row.refresh_from_db()
    assert available(ada) == 0
    assert row.disputed_micros == 25 * USD
    assert ledger.totals(book="test")["platform_losses"] == -5 * USD
    stripe_sandbox.decide(dispute, verdict)
    stripe_sandbox.deliver(copies=2, order=order, seed=4)
    follow_all()
    row.refresh_from_db()
    assert Dispute.objects.get().status == verdict
    assert available(ada) == (20 * USD if verdict == "won" else 0)
    assert row.disputed_micros == (0 if verdict == "won" else 25 * USD)
    clean_books()


def test_a_dispute_is_known_before_the_payment_was_told(stripe_sandbox, ada):
    """All words late, the last first, and the payment itself never."""
    row = bought(stripe_sandbox, ada, tell=False, card="createDispute")
    stripe_sandbox.deliver(order="reversed", drop={"checkout.session.completed", "payment_intent.succeeded"})
    follow_all()
    row.refresh_from_db()
    assert row.is_paid
    assert available(ada) == 0
    assert any("disputed" in one for one in mails())
    clean_books()


def test_a_disputed_card_is_not_charged_by_itself_until_that_is_over(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada, 25, saves_card=True)
    auto(ada, below=10)
    dispute = stripe_sandbox.dispute(charge_of(row))
    topups.follow_dispute(dispute)
    assert topups.reasons(AutoTopUp.objects.get()) == ["disputed"]
    topups.resume(AutoTopUp.objects.get())  # which is not for them to end
    assert refill(ada) == 0
    stripe_sandbox.decide(dispute, "lost")
    topups.reconcile()
    assert topups.reasons(AutoTopUp.objects.get()) == []
    assert refill(ada) == 1


@pytest.mark.parametrize("is_second_open", [False, True])
def test_two_disputes_at_once_pause_by_what_both_came_to(stripe_sandbox, ada, is_second_open):
    rows = [bought(stripe_sandbox, ada, 25, saves_card=True) for _ in range(2)]
    auto(ada, below=10)
    first, second = (stripe_sandbox.dispute(charge_of(row)) for row in rows)
    topups.follow_dispute(first)
    stripe_sandbox.decide(first, "lost")
    if not is_second_open:
        topups.follow_dispute(second)
        stripe_sandbox.decide(second, "lost")
    assert topups.reasons(AutoTopUp.objects.get()) == ["disputed"]
    told = [calls.dispute(name) for name in (first, second)]
    overtaking(*[partial(topups.disputes.take_dispute, one) for one in told])
    assert topups.reasons(AutoTopUp.objects.get()) == (["disputed"] if is_second_open else [])
    assert sum("paused" in one for one in mails()) == 1
    clean_books()


def test_a_refund_and_a_dispute_at_once(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 10 * USD, by=None)
    dispute = stripe_sandbox.dispute(charge_of(row))

    def follow():
        with contextlib.suppress(calls.Unreachable):  # the other one is at it: the event comes again
            topups.follow_dispute(dispute)

    in_parallel([lambda: refunds.send(refund.uid), follow])
    topups.follow_dispute(dispute)
    refund.refresh_from_db()
    assert refund.status == "failed"  # a disputed charge is not refunded
    assert available(ada) == 0
    assert ledger.totals(book="test")["platform_losses"] == 0
    clean_books()


def test_a_refund_that_waits_hides_no_credit_from_a_dispute(stripe_sandbox, ada):
    """Taken out for a refund that Stripe then refuses, it came back after the dispute, and was spent beside it."""
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 25 * USD, by=None)
    dispute = stripe_sandbox.dispute(charge_of(row))
    stripe_sandbox.fault("error", "post", "/v1/refunds", times=3)
    with pytest.raises(calls.Unreachable):
        topups.follow_dispute(dispute)
    stripe_sandbox.deliver(copies=2, order="random")
    follow_all()
    assert Dispute.objects.filter(withdrawn_at__isnull=False).count() == 0
    refunds.send(refund.uid, now=timezone.now() + timedelta(minutes=3))
    topups.reconcile()
    refund.refresh_from_db()
    assert (refund.status, available(ada)) == ("failed", 0)
    assert Dispute.objects.get().withdrawn_at is not None
    assert ledger.totals(book="test")["platform_losses"] == 0
    clean_books()


def said_otherwise(sandbox, name, status):
    """Stripe thinks again about a refund, and says so."""
    from billing.sandbox import events, store

    with store.changing():
        row = store.change(store.find("refund", name), status=status)
        events.tell("refund.updated", row.data, now=timezone.now())
    sandbox.deliver(copies=2)
    follow_all()


@pytest.mark.parametrize("spent", [0, 20 * USD])
def test_a_refund_that_failed_and_went_through_after_all_and_came_back(stripe_sandbox, ada, spent):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 25 * USD, by=None)
    stripe_sandbox.modes(refunds="pending")
    refunds.send(refund.uid)
    refund.refresh_from_db()
    said_otherwise(stripe_sandbox, refund.refund_id, "failed")
    refund.refresh_from_db()
    assert (refund.status, available(ada)) == ("failed", 25 * USD)
    if spent:
        spend(ada, spent)
    said_otherwise(stripe_sandbox, refund.refund_id, "succeeded")
    refund.refresh_from_db()
    row.refresh_from_db()
    assert (refund.status, available(ada), row.refunded_micros) == ("done", 0, 25 * USD)
    assert ledger.totals()["platform_losses"] == -spent
    clean_books()
    said_otherwise(stripe_sandbox, refund.refund_id, "failed")
    refund.refresh_from_db()
    row.refresh_from_db()
    assert (refund.status, available(ada), row.refunded_micros) == ("returned", 25 * USD - spent, 0)
    assert ledger.totals()["platform_losses"] == 0
    clean_books()
    # Once more, and it is for a person to say what that means.
    said_otherwise(stripe_sandbox, refund.refund_id, "succeeded")
    refund.refresh_from_db()
    assert (refund.status, available(ada)) == ("returned", 25 * USD - spent)
    assert "left once more" in StripeEvent.objects.get(aside_at__isnull=False).last_error
    clean_books()


def test_a_refund_of_another_amount_than_was_asked_for_books_nothing(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    refund = refunds.start(row, 10 * USD, by=None)
    with calls.asking():
        stripe_sandbox.client().v1.refunds.create(
            {"payment_intent": row.intent_id, "amount": 900, "metadata": {"refund": refund.uid}}
        )
    report = topups.reconcile()
    assert [one for one in report.differences if "900" in one]
    refund.refresh_from_db()
    assert (refund.status, available(ada)) == ("started", 15 * USD)
