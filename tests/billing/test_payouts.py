"""Publishers are paid: connected, gated, matured, paid once whatever breaks, and clawed back in our own books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.utils import timezone

from billing import arrivals, earnings, ledger, payouts, topups
from billing.gateway import events
from billing.models.credit import StripeEvent
from billing.models.payouts import BankArrival, Payout
from billing.payouts import sending
from marketplace.models import Membership, Outbox, Publisher, User
from tests.billing.cast import USAGE, new_publisher, new_workspace

USD = 1_000_000
CENT = 10_000
DAY = timedelta(days=1)
WAYS = {"return_url": "http://127.0.0.1/back", "refresh_url": "http://127.0.0.1/again"}
LATER = timedelta(days=8)  # everything that is earned now has matured


@pytest.fixture
def pia(stripe_sandbox):
    """A publisher with an owner; not connected yet."""
    publisher = new_publisher()
    user = User.objects.create_user(f"pia-{publisher.pk}@example.test", "a long password", name="Pia")
    Membership.objects.create(workspace=publisher.workspace, user=user, role="owner")
    return publisher


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


def mails():
    return [
        row.payload["subject"] for row in Outbox.objects.filter(task="marketplace.send_mail").order_by("pk")
    ]


def follow_all(now=None):
    """What control does about the events that are kept."""
    for _ in range(3):
        names = list(StripeEvent.objects.filter(handled_at=None).values_list("event_id", flat=True))
        for name in names:
            events.follow(name, arrivals.follow, now=timezone.now() + 2 * DAY)


def balance(publisher):
    found = ledger.publisher_balance(publisher.pk)
    return found.pending_micros, found.payable_micros, found.in_transit_micros, found.paid_out_micros


def clean_books():
    assert ledger.verify() == []


def in_parallel(acts):
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


# Connecting


def test_a_publisher_is_connected_and_only_the_capability_opens_the_way(stripe_sandbox, pia):
    rich(stripe_sandbox, pia)
    url = payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    assert url.startswith(f"{stripe_sandbox.url}/-/stripe/onboarding/")
    row = payouts.account_of(pia)
    assert (row.method, row.state, row.is_connected) == ("stripe", "restricted", False)
    assert row.due
    with pytest.raises(payouts.Refused, match="not ready"):
        payouts.start(pia, by=None)
    stripe_sandbox.onboard(row.account_id, "pending")
    assert payouts.look(row, now=timezone.now()).state == "pending"
    with pytest.raises(payouts.Refused, match="not ready"):
        payouts.start(pia, by=None)
    stripe_sandbox.set_capability(row.account_id, "active")
    stripe_sandbox.deliver()
    follow_all()
    row.refresh_from_db()
    assert row.is_connected
    assert payouts.start(pia, by=None).amount_micros == 80 * USD
    assert f"{pia.name}: payouts are set up" in mails()
    clean_books()


def test_the_account_is_made_once_although_its_answer_is_lost(stripe_sandbox, pia):
    stripe_sandbox.fault("drop", "post", "/v2/core/accounts")
    with pytest.raises(payouts.Unavailable):
        payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    (made,) = stripe_sandbox.things("v2.core.account")
    assert payouts.account_of(pia).account_id == made["id"]


@pytest.mark.parametrize("country", ["", "xx", "usa", "U$", "\0\0"])
def test_countries_are_those_of_the_list(stripe_sandbox, pia, country):
    with pytest.raises(payouts.Refused):
        payouts.connect(pia, by=owner(pia), country=country, **WAYS)
    assert not stripe_sandbox.things("v2.core.account")


@pytest.mark.parametrize("order", ["made", "reversed", "random"])
def test_what_is_said_of_an_account_in_any_order_and_five_times(stripe_sandbox, pia, order):
    row = connected(stripe_sandbox, pia)
    for status in ("restricted", "active", "restricted"):
        stripe_sandbox.set_capability(row.account_id, status)
    stripe_sandbox.deliver(copies=5, order=order, at_once=5, seed=3)
    follow_all()
    row.refresh_from_db()
    assert (row.state, row.is_connected) == ("restricted", False)
    stripe_sandbox.set_capability(row.account_id, "active")
    assert payouts.check_due(now=timezone.now() + DAY) == 1  # no webhook came
    row.refresh_from_db()
    assert row.is_connected


# When and how much


def test_nothing_is_paid_before_it_has_matured(stripe_sandbox, pia, settings):
    settings.PAYOUT_DELAY_DAYS = 14
    connected(stripe_sandbox, pia)
    now = timezone.now()
    earn(pia, 100 * USD, now=now - 10 * DAY)
    with pytest.raises(payouts.Refused, match="has matured"):
        payouts.start(pia, by=None, now=now)
    payouts.set_delay(pia, 9)
    assert payouts.start(pia, by=None, now=now).amount_micros == 80 * USD


def test_whole_cents_are_paid_and_the_rest_is_kept(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia, 100 * USD + 7_771)
    row = payouts.start(pia, by=None)
    assert row.amount_micros == 80 * USD
    sending.send(row.uid)
    assert balance(pia) == (0, 6_216, 0, 80 * USD)
    clean_books()


def test_granted_credit_and_own_runs_are_never_paid_out(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    long_ago = timezone.now() - LATER
    earn(pia, 100 * USD, payer=new_workspace(granted=100 * USD), now=long_ago)
    ledger.credit(pia.workspace_id, 100 * USD, source="bought", key="topup:own")
    earn(pia, 100 * USD, payer=pia.workspace, now=long_ago, own=True)
    payouts.run(now=timezone.now() + 60 * DAY)
    assert balance(pia) == (0, 0, 0, 0)
    assert ledger.publisher_balance(pia.pk).unpayable_micros == 160 * USD
    with pytest.raises(payouts.Refused):
        payouts.start(pia, by=None)


def test_a_minimum_is_the_installations_or_higher(stripe_sandbox, pia, settings):
    settings.PAYOUT_LEAST_MICROS = 25 * USD
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia, 40 * USD)
    with pytest.raises(payouts.Refused):
        payouts.set_wishes(pia, is_automatic=True, least_micros=24 * USD)
    payouts.set_wishes(pia, is_automatic=True, least_micros=33 * USD)
    with pytest.raises(payouts.Refused, match=r"\$33"):
        payouts.start(pia, by=None)
    payouts.set_wishes(pia, is_automatic=True, least_micros=None)
    assert payouts.start(pia, by=None).amount_micros == 32 * USD


def test_the_months_payout_comes_by_itself_and_once(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    first = datetime(2030, 3, 1, 5, tzinfo=UTC)
    earn(pia, 100 * USD, now=first - LATER)
    stripe_sandbox.add_funds(100_000)
    assert payouts.next_on(payouts.account_of(pia), now=first - DAY) is not None
    matured, (row,) = payouts.run(now=first)
    assert (matured, row.kind, row.amount_micros) == (80 * USD, "automatic", 80 * USD)
    sending.send(row.uid, now=first)
    earn(pia, 100 * USD, now=first)
    assert payouts.run(now=first + 20 * DAY) == (80 * USD, [])  # it waits for April
    assert payouts.next_on(payouts.account_of(pia), now=first + DAY).isoformat() == "2030-04-01"
    _, (later,) = payouts.run(now=first + 31 * DAY)
    assert later.amount_micros == 80 * USD
    clean_books()


def test_who_connects_after_the_day_is_paid_then_and_who_is_too_poor_next_month(stripe_sandbox, pia):
    earn(pia, 10 * USD, now=datetime(2030, 2, 1, tzinfo=UTC))
    tenth = datetime(2030, 3, 10, tzinfo=UTC)
    assert payouts.run(now=tenth)[1] == []
    connected(stripe_sandbox, pia)
    assert payouts.run(now=tenth)[1] == []  # $8 is below the minimum
    earn(pia, 10 * USD, now=datetime(2030, 2, 2, tzinfo=UTC))
    assert payouts.run(now=tenth + DAY)[1] == []
    (row,) = payouts.run(now=tenth + 30 * DAY)[1]
    assert row.amount_micros == 16 * USD


def test_not_by_itself_where_it_is_not_wanted(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    payouts.set_wishes(pia, is_automatic=False, least_micros=None)
    assert payouts.run(now=timezone.now() + 60 * DAY)[1] == []
    assert payouts.start(pia, by=owner(pia)).kind == "requested"


def test_a_hold_stops_maturing_and_paying_until_it_is_lifted(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    with pytest.raises(payouts.Refused):
        payouts.hold(pia, "  ", by=None)
    payouts.hold(pia, "The weights are somebody else's.", by=None)
    assert payouts.run(now=timezone.now() + 60 * DAY) == (0, [])
    with pytest.raises(payouts.Refused, match="somebody else"):
        payouts.start(pia, by=None)
    assert balance(pia)[:2] == (80 * USD, 0)
    assert payouts.lift(pia)
    assert not payouts.lift(pia)
    assert payouts.start(pia, by=None).amount_micros == 80 * USD
    assert [one for one in mails() if "hold" in one or "go on" in one] == [
        f"{pia.name}: payouts are on hold",
        f"{pia.name}: payouts go on",
    ]


def test_a_hold_stops_a_payout_that_nobody_has_asked_stripe_for(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    row = payouts.start(pia, by=None)
    payouts.hold(pia, "a question", by=None)
    assert sending.send(row.uid)
    row.refresh_from_db()
    assert (row.status, balance(pia)) == ("failed", (0, 80 * USD, 0, 0))
    assert not stripe_sandbox.things("transfer")


def test_of_many_requests_at_once_one_is_a_payout(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)
    errors = in_parallel([lambda: payouts.start(pia, by=None)] * 5 + [lambda: payouts.run()] * 2)
    assert all(isinstance(error, payouts.Refused) for error in errors)
    row = Payout.objects.get()
    assert row.amount_micros == 80 * USD
    in_parallel([lambda: sending.send(row.uid)] * 5)
    assert len(stripe_sandbox.things("transfer")) == 1
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


# What breaks on the way


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

    class Killed(BaseException):
        pass

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


def test_a_payout_waits_for_the_platforms_balance(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    User.objects.update(is_staff=True)
    earn(pia, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(pia, by=None)
    assert not sending.send(row.uid)
    row.refresh_from_db()
    assert (row.status, row.wait, row.attempt) == ("new", "balance", 2)
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
    assert not in_parallel([lambda name=name: events.follow(name, arrivals.follow) for name in names])
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


def test_no_two_movements_without_their_row_and_no_row_without_them(stripe_sandbox, pia, monkeypatch):
    """What is in the middle of a transaction when the process dies never was."""
    connected(stripe_sandbox, pia)
    rich(stripe_sandbox, pia)

    class Killed(BaseException):
        pass

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


# Claw-back


def test_a_refund_after_the_payout_is_carried_and_netted(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    now = timezone.now()
    bad = earn(pia, 50 * USD, now=now - LATER)
    earn(pia, 50 * USD, now=now - LATER)
    stripe_sandbox.add_funds(100_000)
    first = payouts.start(pia, by=None)
    sending.send(first.uid)
    ledger.refund(bad, 50 * USD, key="bad", reason=ledger.RefundReason.BAD_OUTPUT)
    assert balance(pia) == (0, -40 * USD, 0, 80 * USD)
    with pytest.raises(payouts.Refused, match="after it had been paid out"):
        payouts.start(pia, by=None)
    earn(pia, 100 * USD, now=now - LATER)
    second = payouts.start(pia, by=None)
    assert second.amount_micros == 40 * USD
    sending.send(second.uid)
    assert balance(pia) == (0, 0, 0, 120 * USD)
    clean_books()


# By hand


@pytest.fixture
def by_hand(db, settings):
    settings.PAYOUT_METHODS = ["manual"]
    publisher = new_publisher()
    payouts.set_method(publisher, "manual", bank_details="Pia Pub\nIBAN DE00 1234", by=None)
    return publisher


def test_a_payout_by_hand(by_hand):
    User.objects.create_user("boss@example.test", "a long password")
    User.objects.update(is_staff=True)
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(by_hand, by=None)
    assert f"{by_hand.name} is to be paid $80.00" in mails()
    assert payouts.open_by_hand() == [row]
    assert row.destination.startswith("Pia Pub")
    assert not sending.send(row.uid)  # nothing for Stripe
    with pytest.raises(payouts.Refused, match="why"):
        payouts.mark_failed(row, " ")
    assert payouts.mark_failed(row, "the account is closed")
    assert balance(by_hand) == (0, 80 * USD, 0, 0)
    again = payouts.start(by_hand, by=None)
    assert payouts.mark_paid(again, reference="TX 17")
    assert not payouts.mark_paid(again, reference="TX 18")
    assert not payouts.mark_failed(again, "no")
    assert balance(by_hand) == (0, 0, 0, 80 * USD)
    assert ledger.totals()["platform_bank"] == 80 * USD
    assert payouts.mark_returned(again, 30 * USD, key="TX 17 back")
    assert not payouts.mark_returned(again, 30 * USD, key="TX 17 back")
    for amount, key in ((60 * USD, "more"), (1, ""), (-1, "less"), (20 * USD, "TX 17 back")):
        with pytest.raises(payouts.Refused):
            payouts.mark_returned(again, amount, key=key)
    assert balance(by_hand) == (0, 30 * USD, 0, 50 * USD)
    clean_books()


def test_where_it_goes_is_plain_text_that_is_there(by_hand):
    for text in ("", " \n ", "x" * 1001, "a\0b", "a\u202eb"):
        with pytest.raises(payouts.Refused):
            payouts.set_method(by_hand, "manual", bank_details=text, by=None)
    for method in ("stripe", "", "bitcoin"):
        with pytest.raises(payouts.Refused):
            payouts.set_method(by_hand, method, bank_details="x", by=None)


def test_a_payout_goes_where_it_was_to_go_when_it_began(by_hand):
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(by_hand, by=None)
    payouts.set_method(by_hand, "manual", bank_details="Mal", by=None)
    row.refresh_from_db()
    assert row.destination.startswith("Pia Pub")


def test_the_operators_command(by_hand, capsys, settings):
    def told(*words):
        call_command("payouts", *words)
        return capsys.readouterr().out

    earn(by_hand, 100 * USD)
    name = by_hand.name
    assert "matured $0.00" in told("run")
    assert "matured $80.00" in told("run", "--at", f"{timezone.now() + LATER:%Y-%m-%d}")
    row = Payout.objects.first() or payouts.start(by_hand, by=None)
    assert "IBAN DE00 1234" in told("list")
    assert "Paid" in told("paid", row.uid, "--reference", "TX 1")
    told("hold", name, "a question")
    assert "a question" in told("list")
    told("lift", name)
    told("share", name, "72.5")
    told("delay", name, "3")
    by_hand.refresh_from_db()
    assert (by_hand.share_percent, payouts.account_of(by_hand).delay_days) == (Decimal("72.5"), 3)
    told("delay", name, "usual")
    assert payouts.account_of(by_hand).delay_days is None
    for wrong in (["share", name, "101"], ["share", "nobody", "1"], ["paid", "po_x"], ["hold", name, " "]):
        with pytest.raises(CommandError):
            call_command("payouts", *wrong)
    settings.LEDGER_BOOK = "live"
    with pytest.raises(CommandError, match="real money"):
        call_command("payouts", "run", "--at", "2099-01-01")


# Shares


def test_a_share_is_the_settings_for_new_publishers_and_ones_own_afterwards(db, settings):
    settings.PUBLISHER_SHARE_PERCENT = 65
    newer = Publisher.objects.create(workspace=new_workspace(), name="newer")
    assert newer.share_percent == 65
    settings.PUBLISHER_SHARE_PERCENT = 90
    newer.refresh_from_db()
    assert newer.share_percent == 65
    payouts.set_share(newer, Decimal("70.25"))
    newer.refresh_from_db()
    assert newer.share_percent == Decimal("70.25")
    for wrong in ("-1", "100.01", "1.234", "NaN", "Infinity"):
        with pytest.raises(payouts.Refused):
            payouts.set_share(newer, Decimal(wrong))


# Statements


def test_a_statement_adds_up_to_the_micro_dollar(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    stripe_sandbox.add_funds(1_000_000)
    may, june, july = (datetime(2031, month, 10, tzinfo=UTC) for month in (5, 6, 7))
    runs = [earn(pia, 33 * USD + 1_234_567 * n, now=may + n * DAY) for n in range(5)]
    earn(pia, 9 * USD, payer=new_workspace(granted=9 * USD), now=may)
    _, (row,) = payouts.run(now=june)
    sending.send(row.uid, now=june)
    ledger.refund(runs[0], 11 * USD + 1, key="r0", reason=ledger.RefundReason.FAULT, now=june)
    earn(pia, 3_333_333, now=june)
    found = {month: earnings.statement(pia.pk, month.date().replace(day=1)) for month in (may, june, july)}
    assert all(one.adds_up for one in found.values())
    first, second, third = found.values()
    assert (first.opening_micros, first.runs, first.paid_out_micros) == (0, 6, 0)
    assert first.unpayable_micros == 7_200_000
    assert second.opening_micros == first.closing_micros
    assert (second.paid_out_micros, second.refunded_micros) == (row.amount_micros, 8_800_000)
    assert (third.opening_micros, third.earned_micros) == (second.closing_micros, 0)
    now = ledger.publisher_balance(pia.pk)
    assert third.closing_micros == now.pending_micros + now.payable_micros + now.in_transit_micros
    for month, one in found.items():
        first_day = month.date().replace(day=1)
        last_day = earnings.next_month(first_day) - DAY
        lines = [line for some in earnings.lines(pia.pk, first_day, last_day, chunk=2) for line in some]
        assert sum(line.change_micros for line in lines) == one.closing_micros - one.opening_micros
        assert sum(line.unpayable_micros for line in lines) == one.unpayable_micros
        assert len([line for line in lines if line.kind == "capture"]) == one.runs
    assert earnings.months(pia.pk, now=july) == [
        datetime(2031, month, 1, tzinfo=UTC).date() for month in (7, 6, 5)
    ]
    clean_books()


def test_earnings_by_day_listing_and_unit_are_the_same_money(db):
    pia, day = new_publisher(), datetime(2031, 5, 10, 12, tzinfo=UTC)
    quote = {"lines": [{"unit": "image", "amount_micros": 7}, {"unit": "step", "amount_micros": 4}]}
    total = 0
    for n in range(6):
        reference = uuid4()
        payer = new_workspace(bought=1_000)
        amount = 11 + n
        ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=amount)
        usage = ledger.Usage(
            model=f"maker/{'vase' if n % 2 else 'jug'}", status="succeeded", quote=quote, occurred_at=day
        )
        share = ledger.Share(pia.pk, Decimal("0.77"))
        total += ledger.capture(
            reference=reference, amount_micros=amount, share=share, usage=usage, now=day + n * DAY
        ).share_micros
    for group, names in (("model", {"maker/vase", "maker/jug"}), ("unit", {"image", "step"})):
        found = earnings.by_day(pia.pk, earnings.Group(group), day.date(), day.date() + 9 * DAY)
        assert len(found) == 6
        assert {name for groups in found.values() for name in groups} == names
        assert sum(one.share_micros for groups in found.values() for one in groups.values()) == total
        assert sum(one.charged_micros for groups in found.values() for one in groups.values()) == 81
    assert earnings.by_day(pia.pk, earnings.Group.MODEL, day.date() - DAY, day.date() - DAY) == {}


def test_one_publishers_books_say_nothing_of_anothers(db):
    pia, mal = new_publisher(), new_publisher()
    earn(pia, USD)
    today = timezone.now().date()
    assert earnings.by_day(mal.pk, earnings.Group.MODEL, today - DAY, today) == {}
    assert earnings.months(mal.pk) == []
    assert earnings.statement(mal.pk, today).closing_micros == 0


def test_from_the_buyers_card_to_the_publishers_bank(stripe_sandbox, pia):
    """The whole way, each webhook in any order, and the hourly comparison finds nothing to mend."""
    connected(stripe_sandbox, pia)
    ada = new_workspace()
    bought = topups.begin(ada, 100 * USD, by=None)
    assert stripe_sandbox.pay(bought.session_id) is None
    stripe_sandbox.deliver(order="random", seed=5)
    follow_all()
    earn(pia, 100 * USD, payer=ada, now=timezone.now() - LATER)
    row = payouts.start(pia, by=None)
    assert sending.send(row.uid)
    for minutes in (2, 3):
        stripe_sandbox.advance(timezone.now() + timedelta(minutes=minutes))
    stripe_sandbox.deliver(copies=2, order="reversed")
    follow_all()
    report = topups.reconcile(now=timezone.now() + timedelta(hours=1))
    assert report.differences == []
    assert report.figures["payouts_cents"] == 8_000
    assert report.figures["payouts_mended"] == report.figures["arrivals_mended"] == 0
    assert BankArrival.objects.get().status == "paid"
    at_stripe = stripe_sandbox.client().v1.balance.retrieve().available[0].amount * CENT
    assert -ledger.totals()["stripe_clearing"] == at_stripe  # to the cent, fees and all
    found = earnings.statement(pia.pk, timezone.now().date())
    assert found.adds_up
    assert found.paid_out_micros == row.amount_micros
    clean_books()


def test_what_is_begun_as_if_it_were_later_is_paid_now(stripe_sandbox, pia):
    connected(stripe_sandbox, pia)
    earn(pia, 100 * USD)
    stripe_sandbox.add_funds(10_000)
    call_command("payouts", "run", "--at", f"{timezone.now() + LATER:%Y-%m-%d}")
    row = Payout.objects.get()
    assert sending.hint_waiting() == 1
    assert sending.send(row.uid)
    row.refresh_from_db()
    assert row.status == Payout.Status.PAID
    clean_books()
