"""What a publisher gets of each charge, and statements that add up to the micro-dollar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing import earnings, ledger, payouts, topups
from billing.models import LedgerEntry, MonthEnd
from billing.models.payouts import BankArrival, Payout
from billing.months import following
from billing.payouts import sending
from marketplace.models import Publisher
from tests.billing.buyers import clean_books, follow_all
from tests.billing.cast import new_publisher, new_workspace
from tests.billing.makers import (
    CENT,
    DAY,
    LATER,
    USD,
    connected,
    earn,
)


def test_earnings_that_were_being_written_as_moments_came_get_theirs(db, pia):
    earn(pia, 100 * USD)
    told = earnings.statements(pia.pk)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_ledgerentry DISABLE TRIGGER USER")
        LedgerEntry.objects.update(moved_at=None)
        cursor.execute("ALTER TABLE billing_ledgerentry ENABLE TRIGGER USER")
        assert earnings.statements(pia.pk) == []
        cursor.execute(import_module("billing.migrations.0017_earned_when_late").LATE)
    assert earnings.statements(pia.pk) == told
    assert told
    clean_books()


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
        last_day = following(first_day) - DAY
        lines = [line for some in earnings.lines(pia.pk, first_day, last_day, chunk=2) for line in some]
        assert sum(line.change_micros for line in lines) == one.closing_micros - one.opening_micros
        assert sum(line.unpayable_micros for line in lines) == one.unpayable_micros
        assert len([line for line in lines if line.kind == "capture"]) == one.runs
    assert earnings.months(pia.pk, now=july) == [
        datetime(2031, month, 1, tzinfo=UTC).date() for month in (7, 6, 5)
    ]
    assert earnings.statements(pia.pk, now=july) == [third, second, first]
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


def test_a_statement_begins_with_what_the_last_month_that_is_closed_ended_with(db):
    """Closed once it is over and sealed; then no month before it is read, and the audit makes it again to compare."""
    pia, mal = new_publisher(), new_publisher()
    march, may, june, july = (datetime(2026, month, 10, tzinfo=UTC) for month in (3, 5, 6, 7))
    for at, amount in ((march, 10 * USD), (may, 7 * USD), (june, 5 * USD)):
        earn(pia, amount, now=at)
    earn(mal, 3 * USD, now=may)
    own = new_workspace(granted=2 * USD)
    earn(pia, 2 * USD, payer=own, now=march)
    ledger.mature(pia.pk, delay=timedelta(days=7), now=may)
    told = earnings.statements(pia.pk, now=july)
    assert ledger.close_months(now=july) == 0  # nothing is sealed
    connection.check_constraints()
    with connection.cursor() as cursor:  # as if these had been committed long ago
        cursor.execute(
            "INSERT INTO billing_seal (book, number, previous, root, count, hash, sealed_at, reach_id, reach_xid,"
            " horizon_xid) VALUES ('test', 1, '', '', 1, 'x', now(), 0, 0, 0) RETURNING id"
        )
        (seal,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO billing_sealedtransaction (transaction_id, seal_id, position, seed, leaf)"
            " SELECT id, %s, id, '', '' FROM billing_ledgertransaction",
            [seal],
        )
    assert ledger.close_months(now=datetime(2026, 7, 1, 0, 59, tzinfo=UTC)) == 3
    assert ledger.close_months(now=july) == 1
    assert ledger.close_months(now=july) == 0
    rows = MonthEnd.objects.filter(publisher=pia).order_by("month")
    assert [
        (row.month.month, row.pending_micros, row.payable_micros, row.unpayable_micros) for row in rows
    ] == [
        (3, 8 * USD, 0, 1_600_000),
        (5, 5_600_000, 8 * USD, 1_600_000),
        (6, 9_600_000, 8 * USD, 1_600_000),
    ]
    assert earnings.statements(pia.pk, now=july) == told
    assert [earnings.statement(pia.pk, one.month) for one in told] == told
    sums = "a month ended with what its entries say, and no month before it is missing"

    def wrong():
        return {one.detail for one in ledger.verify() if one.check == sums}

    assert wrong() == set()
    with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
        rows.filter(month=may.date().replace(day=1)).update(payable_micros=1)
    # One that is missing is no harm, is found, and is made again; one that is wrong is found.
    MonthEnd.objects.filter(month=may.date().replace(day=1)).delete()
    assert earnings.statements(pia.pk, now=july) == told
    assert wrong() == {f"publisher {one.pk}, book test, month 2026-05" for one in (pia, mal)}
    assert ledger.close_months(now=july) == 2
    assert wrong() == set()
    last = rows.get(month=june.date().replace(day=1))
    last.delete()
    last.pk, last.payable_micros = None, 1
    last.save()
    assert earnings.statement(pia.pk, july.date()).opening_micros == 9_600_001  # its month alone was read
    assert wrong() == {f"publisher {pia.pk}, book test, month 2026-06"}
