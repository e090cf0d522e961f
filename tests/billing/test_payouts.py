"""Publishers are paid: connected, gated, matured, by Stripe or by hand, and clawed back in our own books."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from billing import ledger, payouts, receipts
from billing.models.payouts import Payout, PayoutAccount
from billing.payouts import sending, starting
from marketplace.models import Outbox, User
from playground import webhooks
from playground.models import Delivery
from tests.billing.buyers import clean_books, follow_all, mails
from tests.billing.cast import new_workspace
from tests.billing.makers import (
    DAY,
    LATER,
    USD,
    WAYS,
    balance,
    connected,
    earn,
    errors_of,
    owner,
    rich,
)

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
    assert made["display_name"] == pia.name
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
    PayoutAccount.objects.create(publisher=pia, book="live", method="stripe", account_id="acct_elsewhere")
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
    assert sending.send(row.uid)
    assert not sending.send(row.uid)
    assert not sending.send("po_x")
    assert sending.hint_waiting(now=timezone.now() + DAY) == 0
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
    errors = errors_of([lambda: payouts.start(pia, by=None)] * 5 + [lambda: payouts.run()] * 2)
    assert all(isinstance(error, payouts.Refused) for error in errors)
    row = Payout.objects.get()
    assert row.amount_micros == 80 * USD
    errors_of([lambda: sending.send(row.uid)] * 5)
    assert len(stripe_sandbox.things("transfer")) == 1
    assert balance(pia) == (0, 0, 0, 80 * USD)
    clean_books()


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
    assert receipts.earned(bad).kept_micros == 0
    with pytest.raises(payouts.Refused, match="after it had been paid out"):
        payouts.start(pia, by=None)
    earn(pia, 100 * USD, now=now - LATER)
    second = payouts.start(pia, by=None)
    assert second.amount_micros == 40 * USD
    sending.send(second.uid)
    assert balance(pia) == (0, 0, 0, 120 * USD)
    clean_books()


# By hand


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


def test_programs_are_told_once_what_became_of_a_payout(by_hand):
    hook = webhooks.make(by_hand.workspace, url="https://example.test/hook")
    webhooks.make(by_hand.workspace, url="https://example.test/other", events=["credit.added"])
    webhooks.make(new_workspace(), url="https://example.test/mals")
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    payouts.mark_failed(payouts.start(by_hand, by=None), "the account is closed")
    row = payouts.start(by_hand, by=None)
    payouts.mark_paid(row)
    for key in ("first", "second"):
        payouts.mark_returned(row, 10 * USD, key=key)
    for message in list(Outbox.objects.filter(task=payouts.CLOSED_TASK).order_by("pk")):
        again = Outbox.objects.create(task=message.task, payload=message.payload, send_after=timezone.now())
        for one in (message, again):
            webhooks.payout_closed(one.pk)
    told = list(Delivery.objects.order_by("pk"))
    assert {one.webhook for one in told} == {hook}
    assert [one.event for one in told] == [
        "payout.failed",
        "payout.paid",
        "payout.returned",
        "payout.returned",
    ]
    data = [json.loads(one.body)["data"] for one in told]
    assert [one["returned_micros"] for one in data] == [0, 0, 10 * USD, 20 * USD]
    assert data[0]["failure"] == "the account is closed"
    assert (data[1]["payout"], data[1]["publisher"]) == (row.uid, by_hand.name)
    assert data[1]["urls"]["page"].endswith(f"/publish/payouts?publisher={by_hand.name}")


def test_what_the_clock_asks_for_lets_mature_and_pays_nobody_who_wants_to_ask(by_hand):
    payouts.set_wishes(by_hand, is_automatic=False, least_micros=None)
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    for _ in range(2):
        starting.follow_run("all")
        assert balance(by_hand) == (0, 80 * USD, 0, 0)
    assert not Payout.objects.exists()


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
    for percent in ("0", "0.5", "72.5"):
        told("share", name, percent)
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
