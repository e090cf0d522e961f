"""Our rows compared with Stripe's own lists."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import topups
from billing.gateway import calls
from billing.models.credit import Dispute, Reconciliation, StripeEvent, TopUp
from billing.topups.reconcile import CHECK_TASK, RECONCILE_TASK
from marketplace import dispatch
from marketplace.models import User
from tests.billing.buyers import (
    CENT,
    USD,
    available,
    bought,
    clean_books,
    follow_all,
    mails,
)


def test_the_report_agrees_and_books_fees_once(stripe_sandbox, ada):
    bought(stripe_sandbox, ada, 25)
    bought(stripe_sandbox, ada, 10, tell=False)  # nobody told us, nobody came back
    report = topups.reconcile()
    assert report.differences == []
    assert report.figures["payments_mended"] == 1
    assert available(ada) == 35 * USD
    at_stripe = stripe_sandbox.client().v1.balance.retrieve()
    cents = sum(one.amount for one in [*at_stripe.available, *at_stripe.pending])
    assert report.figures["stripe_clearing_micros"] == cents * CENT
    again = topups.reconcile()
    assert again.differences == []
    assert again.figures["stripe_clearing_micros"] == cents * CENT
    clean_books()


def test_events_that_never_came_are_kept_and_followed(stripe_sandbox, ada):
    bought(stripe_sandbox, ada, tell=False)
    report = topups.reconcile()
    assert report.figures["events_missed"] == StripeEvent.objects.count() > 0
    follow_all()
    assert not StripeEvent.objects.filter(handled_at=None).exists()
    assert topups.reconcile().figures.get("events_missed", 0) == 0
    assert available(ada) == 25 * USD


def test_what_cannot_be_mended_is_told_to_staff(stripe_sandbox, ada):
    User.objects.update(is_staff=True)
    row = bought(stripe_sandbox, ada, 25)
    later = timezone.now() + timedelta(minutes=20)
    TopUp.objects.filter(pk=row.pk).update(intent_id="pi_nowhere", created_at=timezone.now())
    of_the_other_book = TopUp.objects.create(
        workspace=ada, book="live", kind="checkout", status="paid", amount_micros=25 * USD, paid_cents=2500,
        intent_id="pi_elsewhere", settled_at=timezone.now(), expires_at=timezone.now(),
    )  # fmt: skip
    report = topups.reconcile(now=later, since=timezone.now() - timedelta(hours=1))
    assert any(row.uid in one for one in report.differences)
    assert not any(of_the_other_book.uid in one for one in report.differences)
    assert any("differ from Stripe" in one for one in mails())
    assert available(ada) == 25 * USD
    assert Reconciliation.objects.count() == 1


def test_a_dispute_that_was_open_when_we_looked_last_is_looked_at_however_old(stripe_sandbox, ada):
    bought(stripe_sandbox, ada, 25, tell=False)
    (charge,) = stripe_sandbox.things("charge")
    dispute = stripe_sandbox.dispute(charge["id"])
    assert topups.follow_dispute(dispute) == "booked"  # and the payment, of which nobody has told us
    stripe_sandbox.decide(dispute, "won")  # nor of this
    later = timezone.now() + timedelta(hours=2)
    assert topups.reconcile(since=later, now=later).figures["disputes_mended"] == 1
    assert Dispute.objects.get().status == "won"
    assert available(ada) == 25 * USD
    assert "disputes" not in topups.reconcile(since=later, now=later).figures  # it is over
    clean_books()


@pytest.mark.django_db
def test_the_clock_asks_for_a_look_each_minute_and_for_the_comparison_each_hour(settings):
    wanted = (CHECK_TASK, "undecided"), (RECONCILE_TASK, "all")

    def asked(now=None):
        for hint in wanted:
            dispatch.unhint(*hint)
        topups.hint_due(now=now)
        return [bool(dispatch.redis_client().exists(dispatch._hinted(*hint))) for hint in wanted]

    at = timezone.now()
    assert asked(at) == [True, True]
    Reconciliation.objects.create(book="live", since=at, until=at, made_at=at)
    assert asked(at) == [True, True]  # of the other book
    Reconciliation.objects.create(book="test", since=at, until=at, made_at=at)
    assert asked(at + timedelta(minutes=59)) == [True, False]
    assert asked(at + timedelta(hours=1)) == [True, True]
    settings.STRIPE_SECRET_KEY = ""
    assert asked(at + timedelta(hours=1)) == [False, False]


def test_a_reconciliation_that_cannot_ask_reports_nothing(stripe_sandbox, ada):
    stripe_sandbox.fault("error", "get", "/v1/events", times=3)
    with pytest.raises(calls.Unreachable):
        topups.reconcile()
    assert not Reconciliation.objects.exists()


def test_money_that_the_operator_put_in_is_counted_and_no_difference(stripe_sandbox, ada):
    bought(stripe_sandbox, ada, 25)
    stripe_sandbox.add_funds(10_000)
    report = topups.reconcile()
    assert report.differences == []
    assert report.figures["topup_cents"] == 10_000
    assert available(ada) == 25 * USD
