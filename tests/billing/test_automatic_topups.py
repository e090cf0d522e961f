"""Credit bought by itself: within what was agreed to, one attempt at a time, never twice, and paused with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import topups
from billing.gateway import calls
from billing.models.credit import AutoTopUp, StripeCustomer, TopUp
from billing.topups import Plan, automatic
from tests.at_once import at_once
from tests.billing.buyers import (
    USD,
    auto,
    available,
    bought,
    charge_of,
    clean_books,
    follow_all,
    in_parallel,
    low,
    mails,
    refill,
    spend,
)
from tests.billing.cast import new_workspace


def test_credit_is_bought_by_itself_below_the_threshold(stripe_sandbox, ada):
    bought(stripe_sandbox, ada, 5, saves_card=True)
    card = topups.customers.known(ada)
    assert (card.card_brand, card.card_last4) == ("visa", "4242")
    row = auto(ada, below=5, amount=25, month=60)
    assert row.agreed_at
    of_another = AutoTopUp.objects.create(
        workspace=new_workspace(),
        book="test",
        below_micros=USD,
        amount_micros=USD,
        month_micros=USD,
        failures=1,
    )
    assert refill(ada) == 0  # five are not less than five
    spend(ada, 1)
    assert refill(ada) == 1
    assert available(ada) == 5 * USD + 25 * USD - 1
    assert any("was bought automatically" in one for one in mails())
    of_another.refresh_from_db()
    assert of_another.failures == 1
    assert refill(ada) == 0
    stripe_sandbox.deliver(copies=3, order="random")
    follow_all()
    assert available(ada) == 30 * USD - 1
    clean_books()


def test_the_months_cap_holds_and_is_told_once(stripe_sandbox, ada):
    row = low(stripe_sandbox, ada, below=100, amount=25, month=60)
    TopUp.objects.create(
        workspace=new_workspace(),
        book="test",
        kind="automatic",
        amount_micros=60 * USD,
        expires_at=timezone.now(),
    )  # what others buy is no matter
    assert [refill(ada) for _ in range(4)] == [1, 1, 0, 0]
    assert available(ada) == 50 * USD
    row.refresh_from_db()
    assert row.not_before == row.capped_at + timedelta(minutes=5)  # and not at each tick until then
    later = timezone.now() + timedelta(minutes=10)
    refill(ada, now=later)
    assert sum("cap" in one for one in mails()) == 1
    next_month = (timezone.now().replace(day=1) + timedelta(days=32)).replace(day=2)
    assert refill(ada, now=next_month) == 1


@pytest.mark.parametrize(
    ("card", "pause"),
    [("authenticationRequired", "authentication_required"), ("chargeCustomerFail", "declined")],
)
def test_a_card_that_does_not_pay_pauses_and_is_told(stripe_sandbox, ada, card, pause):
    low(stripe_sandbox, ada, card)
    assert refill(ada) == 1
    row = AutoTopUp.objects.get()
    assert row.pause == pause
    assert TopUp.objects.get().status == "failed"
    assert any("paused" in one for one in mails())
    assert refill(ada, now=timezone.now() + timedelta(days=1)) == 0
    assert available(ada) == 0
    stripe_sandbox.deliver(order="reversed")
    follow_all()
    # The reason ends with another card, and so does the pause.
    bought(stripe_sandbox, ada, 5, saves_card=True)
    row.refresh_from_db()
    assert row.pause == ""
    assert refill(ada) == 1
    assert available(ada) == 30 * USD
    clean_books()


def test_one_passing_refusal_waits_and_the_second_pauses(stripe_sandbox, ada):
    row = low(stripe_sandbox, ada)
    for expected in ("", "declined"):
        at = timezone.now() + timedelta(hours=2)
        top_up = TopUp.objects.create(
            workspace=ada, book="test", kind="automatic", amount_micros=25 * USD, expires_at=at
        )
        topups.settling.fail(top_up, code="try_again_later", message="Later.", now=timezone.now())
        row.refresh_from_db()
        assert row.pause == expected
        assert refill(ada) == 0
    topups.resume(row)
    assert refill(ada) == 1


@pytest.mark.parametrize("fault", ["drop", "late_error", "error", "hang"])
def test_a_charge_whose_answer_is_lost_is_made_once(stripe_sandbox, ada, fault, monkeypatch):
    from billing.gateway import client as gateway

    monkeypatch.setattr(automatic, "client", lambda: gateway.client(seconds=0.3, retries=0))
    low(stripe_sandbox, ada)
    of_another = TopUp.objects.create(
        workspace=new_workspace(), book="test", kind="automatic", amount_micros=USD, expires_at=timezone.now()
    )
    stripe_sandbox.fault(fault, "post", "/v1/payment_intents", seconds=1)
    assert refill(ada) == 1
    row = TopUp.objects.get(workspace=ada)
    of_another.refresh_from_db()
    assert of_another.claimed_until is None
    assert row.status == "new"
    assert available(ada) == 0
    assert refill(ada) == 0  # one attempt at a time, and somebody is at it
    monkeypatch.undo()
    assert automatic.charge(row.uid, now=timezone.now() + timedelta(minutes=3))
    assert available(ada) == 25 * USD
    assert len(stripe_sandbox.things("charge")) == 1
    stripe_sandbox.deliver(copies=2)
    follow_all()
    assert available(ada) == 25 * USD
    clean_books()


def test_an_attempt_older_than_stripes_memory_is_looked_up(stripe_sandbox, ada, monkeypatch):
    """Asked again it would charge twice: what its key did is forgotten by then."""
    low(stripe_sandbox, ada, below=100)
    automatic.find_low()
    row = TopUp.objects.get()
    automatic._ask(row, topups.customers.known(ada))  # and dies here
    old = timezone.now() + timedelta(days=1)
    assert automatic.charge(row.uid, now=old)
    assert available(ada) == 25 * USD
    automatic.find_low()
    second = TopUp.objects.get(status="new")
    assert automatic.charge(second.uid, now=old)  # was never asked for
    second.refresh_from_db()
    assert (second.status, second.failure_code) == ("failed", "not_made")
    assert len(stripe_sandbox.things("charge")) == 1


def _turned_off(sandbox, ada):
    automatic.turn_off(ada)


def _closed(sandbox, ada):
    ada.closed_at = timezone.now()
    ada.save()


def _disputed(sandbox, ada):
    row = TopUp.objects.get(kind="checkout")
    topups.follow_dispute(sandbox.dispute(charge_of(row)))


@pytest.mark.parametrize("end", [_turned_off, _closed, _disputed])
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_not_wanted_any_more_is_not_charged(stripe_sandbox, ada, end, asked, monkeypatch):
    """An attempt that waits for control, or for Stripe, when the agreement to it ends."""
    bought(stripe_sandbox, ada, 5, saves_card=True)
    wanted = {"is_on": True, "below_micros": USD, "amount_micros": 25 * USD, "month_micros": 25 * USD}
    AutoTopUp.objects.create(
        workspace=new_workspace(bought=USD), book="test", agreed_at=timezone.now(), **wanted
    )
    auto(ada, below=10)
    assert automatic.find_low() == 1
    row, at = TopUp.objects.get(kind="automatic"), timezone.now()
    if asked:  # once, in vain
        with monkeypatch.context() as patched:
            patched.setattr(automatic, "_ask", _no_answer)
            assert not automatic.charge(row.uid)
        at += timedelta(minutes=3)
    end(stripe_sandbox, ada)
    assert automatic.charge(row.uid, now=at)
    row.refresh_from_db()
    assert (row.status, row.failure_code) == ("failed", "not_made" if asked else "stopped")
    assert len(stripe_sandbox.things("charge")) == 1  # the first one
    assert not any("paused" in one for one in mails()) or end is _disputed
    clean_books()


def test_a_pause_ends_with_its_own_reason_and_not_with_another(stripe_sandbox, ada):
    """What is wrong with the card, and a payment that is disputed, come and go in any order."""
    first = bought(stripe_sandbox, ada, 5, saves_card=True)
    row = auto(ada, below=100, amount=25, month=100)
    topups.pausing.pause(row, "declined", detail="No.")
    dispute = stripe_sandbox.dispute(charge_of(first))
    topups.follow_dispute(dispute)
    assert topups.reasons(AutoTopUp.objects.get()) == ["disputed", "declined"]
    assert sum("paused" in one for one in mails()) == 2
    # Another card ends the one, and a click does not end the other.
    topups.begin_card(ada)
    assert topups.look_card(ada, setup(stripe_sandbox, "mastercard"))
    topups.resume(row)
    assert topups.reasons(AutoTopUp.objects.get()) == ["disputed"]
    assert refill(ada) == 0
    # A dispute that is closed leaves what the card is the reason of.
    topups.pausing.pause(AutoTopUp.objects.get(), "authentication_required")
    stripe_sandbox.decide(dispute, "won")
    topups.follow_dispute(dispute)
    assert topups.reasons(AutoTopUp.objects.get()) == ["authentication_required"]
    assert refill(ada) == 0
    # The same card, used by hand as the mail says, ends it too; late words about an older page do not.
    known = topups.customers.known(ada)
    card = {"id": known.card_id, "customer": known.customer_id, "card": {"brand": "mastercard"}}
    paused_at = AutoTopUp.objects.get().paused_at
    topups.customers.save_card(ada.pk, card, book="test", from_at=paused_at - timedelta(minutes=1))
    assert topups.reasons(AutoTopUp.objects.get()) == ["authentication_required"]
    topups.customers.save_card(ada.pk, card, book="test", from_at=paused_at + timedelta(minutes=1))
    assert refill(ada) == 1
    clean_books()


def _no_answer(row, customer):
    raise calls.Unreachable("no answer")


def test_what_was_charged_before_it_ended_is_booked(stripe_sandbox, ada):
    low(stripe_sandbox, ada)
    automatic.find_low()
    row = TopUp.objects.get()
    TopUp.objects.update(claimed_until=timezone.now())
    automatic._ask(row, topups.customers.known(ada))  # and dies here
    automatic.turn_off(ada)
    assert automatic.charge(row.uid, now=timezone.now() + timedelta(minutes=3))
    assert available(ada) == 25 * USD
    clean_books()


def test_another_card_was_saved_between_the_charge_and_the_books(stripe_sandbox, ada):
    low(stripe_sandbox, ada)
    automatic.find_low()
    row = TopUp.objects.get()
    automatic._ask(row, topups.customers.known(ada))  # and dies here
    low(stripe_sandbox, ada, "mastercard")
    assert automatic.charge(row.uid)
    row.refresh_from_db()
    assert row.is_paid
    assert len(stripe_sandbox.things("charge")) == 1
    assert available(ada) == 25 * USD


def test_ten_clocks_begin_one_attempt(stripe_sandbox, ada):
    low(stripe_sandbox, ada, below=30)
    assert sum(at_once(*[automatic.find_low] * 6)) == 1
    rows = TopUp.objects.filter(kind="automatic")
    assert rows.count() == 1
    in_parallel([lambda: automatic.charge(rows[0].uid)] * 4)
    assert available(ada) == 25 * USD
    assert len(stripe_sandbox.things("charge")) == 1
    clean_books()


def test_without_a_card_nothing_is_agreed_to(stripe_sandbox, ada):
    eve = new_workspace()
    StripeCustomer.objects.create(workspace=eve, book="test", customer_id="cus_eve", card_id="pm_eve")
    with pytest.raises(topups.Refused, match="Save a card"):
        auto(ada)
    low(stripe_sandbox, ada)
    most = topups.checkout.most()
    for plan in (
        Plan(0, 25 * USD, 25 * USD),
        Plan(most + 1, 25 * USD, 25 * USD),
        Plan(USD, 25 * USD, 24 * USD),
        Plan(USD, USD, 9 * USD),
        Plan(USD, 25 * USD, 100 * most + 1),
    ):
        with pytest.raises(topups.Refused):
            automatic.turn_on(ada, plan, by=None)
    assert automatic.turn_on(ada, Plan(USD, 25 * USD, 100 * most), by=None).month_micros == 100 * most
    mal = new_workspace()
    assert (topups.customers.known(mal), automatic.known(mal)) == (None, None)
    assert topups.forget_card(ada)
    assert automatic.find_low() == 1
    assert automatic.charge(TopUp.objects.get().uid)
    assert AutoTopUp.objects.get().pause == "no_card"
    automatic.turn_off(ada)
    assert refill(ada) == 0


def test_a_closed_workspace_is_not_charged(stripe_sandbox, ada):
    low(stripe_sandbox, ada)
    ada.closed_at = timezone.now()
    ada.save()
    assert refill(ada) == 0


def test_a_card_is_saved_without_paying_and_taken_away_at_stripe(stripe_sandbox, ada):
    url = topups.begin_card(ada)
    session = stripe_sandbox.things("checkout.session")[-1]
    assert url == session["url"]
    stripe_sandbox.pay(session["id"], "mastercard")
    assert not topups.look_card(new_workspace(), session["id"])
    assert topups.look_card(ada, session["id"])
    card = topups.customers.known(ada)
    assert card.card_last4 == "4444"
    stripe_sandbox.client().v1.payment_methods.detach(card.card_id)
    stripe_sandbox.deliver()
    follow_all()
    assert not topups.customers.known(ada).has_card


def test_late_words_bring_back_no_card_that_was_replaced_or_taken_away(stripe_sandbox, ada):
    first = bought(stripe_sandbox, ada, 5, saves_card=True)
    session = calls.session(first.session_id) | {"created": int(timezone.now().timestamp()) - 60}
    topups.begin_card(ada)
    assert topups.look_card(ada, setup(stripe_sandbox, "mastercard"))
    topups.settling.take_session(session)
    assert topups.customers.known(ada).card_brand == "mastercard"
    topups.forget_card(ada)
    topups.settling.take_session(session)
    assert not topups.customers.known(ada).has_card


def setup(sandbox, card):
    """The page that was opened last to save a card, and is done."""
    name = sandbox.things("checkout.session")[-1]["id"]
    assert sandbox.pay(name, card) is None
    return name
