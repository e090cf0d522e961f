"""Credit bought at the hosted page: once, whatever gets lost, comes late, or comes five times."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from billing import arrivals, topups
from billing.gateway import calls, events
from billing.models.credit import StripeEvent, TopUp
from billing.sandbox import cards
from billing.topups import automatic, refunds
from billing.topups.reconcile import check_undecided
from marketplace.models import Outbox, Workspace
from tests.at_once import at_once
from tests.billing.buyers import (
    CENT,
    USD,
    available,
    bought,
    clean_books,
    follow_all,
    in_parallel,
    mails,
)


def test_a_payment_becomes_credit_once(stripe_sandbox, ada):
    row = topups.begin(ada, 25 * USD, by=None, back="/m/kiln/vase?prompt=a")
    assert row.status == "open"
    assert row.url.startswith(stripe_sandbox.url)
    assert available(ada) == 0
    stripe_sandbox.pay(row.session_id)
    assert set(stripe_sandbox.deliver()) == {200}
    follow_all()
    row.refresh_from_db()
    assert (row.status, row.paid_cents, row.tax_cents) == ("paid", 2500, 0)
    assert row.invoice_url
    assert available(ada) == 25 * USD
    clean_books()


@pytest.mark.parametrize("order", ["made", "reversed", "random"])
def test_every_word_five_times_at_once_in_any_order(stripe_sandbox, ada, order):
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id)
    assert set(stripe_sandbox.deliver(copies=5, order=order, at_once=5, seed=7)) == {200}
    names = list(StripeEvent.objects.values_list("event_id", flat=True))
    assert set(StripeEvent.objects.values_list("deliveries", flat=True)) == {5}
    in_parallel([lambda name=name: events.follow(name, arrivals.follow) for name in names])
    follow_all()
    assert available(ada) == 25 * USD
    assert not StripeEvent.objects.filter(handled_at=None).exists()
    clean_books()


def test_a_word_that_never_comes_changes_nothing(stripe_sandbox, ada):
    row = topups.begin(ada, 25 * USD, by=None)
    decided = topups.attempt(ada, 25 * USD, by=None)
    TopUp.objects.filter(pk=decided.pk).update(status="expired")
    stripe_sandbox.pay(row.session_id)
    assert check_undecided() == 1
    row.refresh_from_db()
    assert row.is_paid
    decided.refresh_from_db()
    assert (decided.status, decided.session_id, decided.checked_at) == ("expired", "", None)
    stripe_sandbox.deliver(copies=2, order="reversed")
    follow_all()
    assert available(ada) == 25 * USD
    clean_books()


def test_who_comes_back_needs_no_webhook(stripe_sandbox, ada):
    row = topups.begin(ada, 10 * USD, by=None)
    assert topups.look(row).status == "open"
    stripe_sandbox.pay(row.session_id)
    assert topups.look(row).is_paid
    assert topups.look(row).is_paid
    assert available(ada) == 10 * USD


def test_a_page_that_is_written_down_late_leaves_what_became_of_it_and_the_others(stripe_sandbox, ada):
    longest = "/" + "x" * 5999
    waits = topups.attempt(ada, 25 * USD, by=None, back=longest)
    assert (waits.back, topups.attempt(ada, 25 * USD, by=None, back=longest + "x").back) == (longest, "")
    row = topups.attempt(ada, 25 * USD, by=None)
    TopUp.objects.filter(pk=row.pk).update(status="processing")  # paid at a slow bank, and told already
    row = topups.open_page(row)
    assert (row.status, bool(row.session_id), bool(row.url)) == ("processing", True, True)
    TopUp.objects.filter(pk=row.pk).update(
        session_id="", url=""
    )  # whoever looks at the page has it written down
    assert topups.settling.follow_session(row.session_id) == "nothing new"
    again = TopUp.objects.get(pk=row.pk)
    assert (again.session_id, again.url) == (row.session_id, row.url)
    waits.refresh_from_db()
    assert (waits.status, waits.session_id, waits.url) == ("new", "", "")


def test_tax_is_paid_and_not_credited(stripe_sandbox, ada, settings):
    settings.STRIPE_TAX = True
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id, country="DE", name="Ada", email="ada@example.test")
    row = topups.look(row)
    assert (row.paid_cents, row.tax_cents) == (2975, 475)
    assert available(ada) == 25 * USD
    refund = refunds.start(row, 10 * USD, by=None)
    refunds.send(refund.uid)
    refund.refresh_from_db()
    assert (refund.status, refund.cents) == ("done", 1190)
    assert not automatic.is_possible()
    clean_books()


def test_a_slow_bank_and_one_that_says_no_later(stripe_sandbox, ada):
    slow = bought(stripe_sandbox, ada, card="slow")
    fails = bought(stripe_sandbox, ada, card="slowFails")
    assert (slow.status, fails.status) == ("processing", "processing")
    assert available(ada) == 0
    stripe_sandbox.advance(timezone.now() + timedelta(days=3))
    stripe_sandbox.deliver(order="reversed")
    follow_all()
    slow.refresh_from_db()
    fails.refresh_from_db()
    assert (slow.status, fails.status) == ("paid", "failed")
    assert (fails.failure_code, fails.failure) == ("generic_decline", cards.message("card_declined"))
    assert available(ada) == 25 * USD
    clean_books()


def test_a_page_that_was_left_expires(stripe_sandbox, ada):
    row = topups.begin(ada, 25 * USD, by=None)
    later = timezone.now() + timedelta(days=1)
    stripe_sandbox.advance(later)
    check_undecided(now=later)
    row.refresh_from_db()
    assert row.status == "expired"
    assert available(ada) == 0


@pytest.mark.parametrize("amount", [0, -5 * USD, 4_999_999, 5 * USD + 1, 2_000 * USD + CENT, 10**18])
def test_amounts_that_cannot_be_bought(stripe_sandbox, ada, amount):
    with pytest.raises(topups.Refused):
        topups.begin(ada, amount, by=None)
    assert not TopUp.objects.exists()


def test_a_deleted_workspace_buys_nothing(stripe_sandbox, ada):
    Workspace.objects.filter(pk=ada.pk).update(closed_at=timezone.now())
    with pytest.raises(topups.Refused, match="was deleted"):
        topups.begin(ada, 5 * USD, by=None)


def test_pages_are_not_made_by_the_thousand(stripe_sandbox, ada):
    for _ in range(20):
        topups.attempt(ada, 5 * USD, by=None)
    with pytest.raises(topups.Refused, match="wait to be paid"):
        topups.attempt(ada, 5 * USD, by=None)
    TopUp.objects.filter(pk=TopUp.objects.first().pk).update(status="failed")  # it waits for nobody any more
    found = at_once(*[lambda: topups.attempt(ada, 5 * USD, by=None)] * 4)
    assert sorted(type(one).__name__ for one in found) == ["Refused", "Refused", "Refused", "TopUp"]
    later = timezone.now() + timedelta(days=1)
    assert topups.attempt(ada, 5 * USD, by=None, now=later).status == "new"


# Between "Stripe has done it" and "we know it"


@pytest.mark.parametrize("fault", ["drop", "late_error", "error", "busy"])
def test_answers_that_get_lost(stripe_sandbox, ada, fault):
    times = 1 if fault in {"busy", "drop"} else 3  # the library tries the others again
    stripe_sandbox.fault(fault, "post", "/v1/checkout/sessions", times=times)
    with pytest.raises(topups.Unavailable):
        topups.begin(ada, 25 * USD, by=None)
    row = TopUp.objects.get()
    assert row.status == "new"
    assert len(stripe_sandbox.things("checkout.session")) == (1 if fault in {"drop", "late_error"} else 0)
    # The same attempt again is the same page.
    row = topups.open_page(row)
    assert row.status == "open"
    assert len(stripe_sandbox.things("checkout.session")) == 1
    stripe_sandbox.pay(row.session_id)
    assert topups.look(row).is_paid
    assert available(ada) == 25 * USD


def test_a_page_that_stripe_refuses_closes_its_attempt_alone(stripe_sandbox, ada, monkeypatch):
    def refused(row, customer_id):
        raise calls.Rejected("No such tax code.", code="parameter_invalid")

    waits = topups.attempt(ada, 25 * USD, by=None)
    with monkeypatch.context() as patched:
        patched.setattr(topups.checkout, "_create", refused)
        with pytest.raises(topups.Unavailable):
            topups.begin(ada, 10 * USD, by=None)
    row = TopUp.objects.exclude(pk=waits.pk).get()
    assert (row.status, row.failure_code, row.failure) == ("failed", "not_opened", "No such tax code.")
    assert topups.open_page(waits).status == "open"
    assert topups.open_page(row) == row  # it is over
    assert len(stripe_sandbox.things("checkout.session")) == 1


def test_an_attempt_whose_page_nobody_saw_is_closed(stripe_sandbox, ada):
    row = topups.attempt(ada, 25 * USD, by=None)
    check_undecided()
    row.refresh_from_db()
    assert row.status == "new"
    check_undecided(now=timezone.now() + timedelta(days=1))
    row.refresh_from_db()
    assert (row.status, row.failure_code) == ("failed", "not_opened")


def test_paid_although_we_never_wrote_down_which_page(stripe_sandbox, ada):
    """Killed after Stripe made the page, and somebody had it all the same: the books follow the money."""
    row = topups.begin(ada, 25 * USD, by=None)
    session = row.session_id
    TopUp.objects.update(session_id="", url="", status="failed", failure_code="not_opened")
    stripe_sandbox.pay(session)
    report = topups.reconcile()
    row.refresh_from_db()
    assert (row.status, row.session_id) == ("paid", session)
    assert available(ada) == 25 * USD
    assert report.differences == []
    clean_books()


def test_an_amount_or_currency_that_we_did_not_ask_for_is_not_credited(stripe_sandbox, ada):
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id)
    session = calls.session(row.session_id)
    for wrong in (
        {"currency": "jpy"},
        {"amount_subtotal": 2_500_000},
        {"amount_total": 1},
        {"amount_subtotal": None},
    ):
        with pytest.raises(topups.Mismatch):
            topups.settling.take_session({**session, **wrong})
    with pytest.raises(topups.Mismatch):
        topups.settling.take_session({**session, "payment_status": "no_payment_required"})
    assert available(ada) == 0
    assert topups.look(row).is_paid


def test_a_second_payment_for_the_same_attempt_is_told_and_not_credited(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    other = {**calls.session(row.session_id), "id": "cs_test_other"}
    with pytest.raises(topups.Mismatch):
        topups.settling.take_session(other)
    assert available(ada) == 25 * USD


def test_somebody_elses_payments_are_none_of_ours(stripe_sandbox, ada):
    session = stripe_sandbox.client().v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "x"}},
                }
            ],
            "success_url": "http://127.0.0.1/",
            "metadata": {"topup": "tu_nonsense"},
        }
    )
    stripe_sandbox.pay(session.id)
    stripe_sandbox.deliver()
    follow_all()
    assert topups.follow_session(session.id) == topups.Outcome.NOT_OURS
    assert topups.reconcile().differences == []
    assert available(ada) == 0


def test_a_customer_who_is_gone_at_stripe_is_made_anew(stripe_sandbox, ada):
    topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.client().v1.customers.delete(topups.customers.known(ada).customer_id)
    before = topups.customers.known(ada).customer_id
    assert topups.begin(ada, 25 * USD, by=None).status == "open"
    assert topups.customers.known(ada).customer_id != before


def test_what_waited_for_credit_goes_on(stripe_sandbox, ada):
    """The word to the room above is in the transaction that books, so that nobody waits for credit that is there."""
    row = bought(stripe_sandbox, ada)
    told = Outbox.objects.filter(task=topups.CREDIT_TASK)
    assert [one.payload for one in told] == [{"top_up": str(row.public_id)}]


def test_a_page_that_is_paid_after_its_workspace_closed_is_told_to_staff(stripe_sandbox, ada):
    assert ada.memberships.get().user.is_staff  # who comes first runs the site
    row = topups.begin(ada, 25 * USD, by=None)
    Workspace.objects.filter(pk=ada.pk).update(closed_at=timezone.now())
    assert stripe_sandbox.pay(row.session_id) is None
    stripe_sandbox.deliver(copies=2)
    follow_all()
    assert sum("a workspace that is closed" in one for one in mails()) == 1
    call_command("credit", "refund", row.uid, "25")
    row.refresh_from_db()
    assert (row.refunded_micros, available(ada)) == (25 * USD, 0)
    clean_books()
