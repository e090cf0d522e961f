"""The days of usage never drift from their records; the month ahead; the warning when credit runs low."""

from __future__ import annotations

import functools
import importlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing import ledger, low_balance, usage
from billing.models import LowBalance, UsageDay, UsageRecord
from billing.usage import Group, Sums
from marketplace.models import Membership, Outbox, User
from tests.at_once import at_once
from tests.billing.cast import new_publisher, new_workspace


def spend(workspace, amount: int, *, held: int | None = None, at: datetime | None = None, **more) -> None:
    """One run that is held, charged and recorded; nothing is charged where it failed."""
    reference, status = uuid4(), more.pop("status", "succeeded")
    said = ledger.Usage(model=more.pop("model", "maker/vase"), status=status, occurred_at=at, **more)
    with transaction.atomic():
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=held or amount)
    with transaction.atomic():
        if status == "succeeded":
            ledger.capture(reference=reference, amount_micros=amount, share=None, usage=said)
        else:
            ledger.release(reference=reference, usage=said)


@pytest.mark.django_db
def test_days_are_the_sums_of_their_records():
    workspace, other = new_workspace(bought=10_000), new_workspace(bought=10_000)
    midnight = datetime(2026, 5, 14, tzinfo=UTC)
    spend(workspace, 100, at=midnight - timedelta(microseconds=1), key_id=7)
    spend(workspace, 50, at=midnight, key_id=7)
    spend(workspace, 20, held=90, at=midnight, model="maker/bowl", user_id=3)
    spend(workspace, 30, at=midnight, status="failed", key_id=7)
    spend(other, 999, at=midnight)
    span = (date(2026, 5, 13), date(2026, 5, 14))
    assert usage.by(workspace.pk, Group.DAY, *span) == {
        date(2026, 5, 13): Sums(1, 0, 100),
        date(2026, 5, 14): Sums(3, 1, 70),
    }
    assert usage.by(workspace.pk, Group.MODEL, *span) == {
        "maker/vase": Sums(3, 1, 150),
        "maker/bowl": Sums(1, 0, 20),
    }
    assert usage.by(workspace.pk, Group.KEY, *span) == {7: Sums(3, 1, 150), 0: Sums(1, 0, 20)}
    assert usage.by(workspace.pk, Group.MEMBER, *span) == {0: Sums(3, 1, 150), 3: Sums(1, 0, 20)}
    assert usage.by_day(workspace.pk, Group.MODEL, *span)[date(2026, 5, 14)]["maker/bowl"] == Sums(1, 0, 20)
    # A tier goes by the month's runs of the model, without those that cost nothing.
    for now, runs in ((midnight - timedelta(days=1), 1), (midnight, 2), (midnight + timedelta(days=18), 0)):
        assert usage.runs_this_month(workspace.pk, "maker/vase", now=now) == runs
    assert ledger.verify() == []


@pytest.mark.django_db
@pytest.mark.parametrize("first", [date(2026, 5, 13), date(2000, 2, 27), date(2024, 12, 28)])
def test_weeks_are_the_sums_of_those_of_their_days_that_are_asked_for(first):
    workspace = new_workspace()
    rows = [
        UsageDay(
            workspace=workspace,
            book="test",
            day=first + timedelta(n),
            model="m",
            runs=1,
            not_charged=0,
            amount_micros=2**n,
        )
        for n in range(30)
    ]
    UsageDay.objects.bulk_create(rows)
    first, last = first + timedelta(3), first + timedelta(25)
    weeks: dict[date, int] = {}
    for row in rows[3:26]:
        monday = row.day - timedelta(row.day.weekday())
        weeks[monday] = weeks.get(monday, 0) + row.amount_micros
    found = usage.by_week(workspace.pk, Group.MODEL, first, last)
    assert {day: names["m"].amount_micros for day, names in found.items()} == weeks
    assert usage.by_week(workspace.pk, Group.DAY, first, last).keys() == weeks.keys()


@pytest.mark.django_db
def test_a_repeated_capture_is_counted_once_and_a_rolled_back_one_never():
    workspace, reference = new_workspace(bought=1_000), uuid4()
    said = ledger.Usage(model="maker/vase", status="succeeded")
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=10)

    def capture():
        return ledger.capture(reference=reference, amount_micros=10, share=None, usage=said)

    with transaction.atomic():
        capture()
        transaction.set_rollback(True)
    assert not UsageDay.objects.exists()
    capture()
    capture()
    assert UsageDay.objects.get().runs == 1


@pytest.mark.django_db
def test_records_are_never_changed_and_verify_sees_a_day_that_is_wrong():
    workspace = new_workspace(bought=1_000)
    spend(workspace, 10)
    for forbidden in (
        lambda: UsageRecord.objects.update(amount_micros=1),
        lambda: UsageRecord.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            forbidden()
    assert ledger.verify() == []
    UsageDay.objects.update(amount_micros=11)
    assert [problem.check for problem in ledger.verify()] == ["a day of usage is the sum of its records"]
    UsageDay.objects.all().delete()
    assert len(ledger.verify()) == 1


@pytest.mark.django_db
def test_the_migration_counts_what_was_there_before():
    workspace = new_workspace(bought=1_000)
    spend(workspace, 10, key_id=4)
    spend(workspace, 20, status="canceled")
    UsageDay.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(importlib.import_module("billing.migrations.0004_usage").BACKFILL)
    assert ledger.verify() == []
    assert UsageDay.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_many_settle_at_once_and_every_run_is_counted():
    workspace, maker = new_workspace(bought=10**9), new_publisher()
    share = ledger.Share(maker.pk, Decimal("0.8"))

    def work(number: int) -> None:
        for n in range(12):
            reference = uuid4()
            said = ledger.Usage(model=f"maker/{n % 2}", status="succeeded", key_id=number % 3)
            with transaction.atomic():
                ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=100)
            with transaction.atomic():
                ledger.capture(reference=reference, amount_micros=60, share=share, usage=said)

    assert at_once(*[functools.partial(work, number) for number in range(8)]) == [None] * 8
    today = timezone.now().astimezone(UTC).date()
    days = usage.by(
        workspace.pk, Group.DAY, today - timedelta(1), today
    )  # two, where midnight came in between
    assert functools.reduce(Sums.plus, days.values()) == Sums(96, 0, 5_760)
    assert ledger.verify() == []


@pytest.mark.django_db
def test_the_month_ahead_is_what_was_spent_and_the_average_of_the_last_full_days():
    workspace = new_workspace(bought=10**9)
    noon = datetime(2026, 5, 20, 12, tzinfo=UTC)
    assert usage.projection(workspace.pk, now=noon) == usage.Projection(0, 0, 0, 11)
    spend(workspace, 5_000, at=noon)
    assert usage.projection(workspace.pk, now=noon) == usage.Projection(5_000, 0, 0, 11)
    spend(workspace, 6_000, at=noon - timedelta(days=2))
    assert usage.projection(workspace.pk, now=noon) == usage.Projection(11_000, 3_000, 2, 11)
    spend(workspace, 70_000, at=noon - timedelta(days=30))
    found = usage.projection(workspace.pk, now=noon)
    assert found == usage.Projection(11_000, 900, 7, 11)  # 857 a day, as four decimals say it
    assert found.amount_micros == 11_000 + 11 * 900
    first = usage.projection(workspace.pk, now=datetime(2026, 5, 31, 23, 59, tzinfo=UTC))
    assert first.days_left == 0


@pytest.mark.django_db
def test_what_keys_spent_today_and_this_month():
    workspace = new_workspace(bought=10**6)
    noon = datetime(2026, 5, 20, 12, tzinfo=UTC)
    spend(workspace, 5, at=noon, key_id=1)
    spend(workspace, 7, at=noon - timedelta(days=19), key_id=1)
    spend(workspace, 100, at=noon - timedelta(days=20), key_id=1)
    spend(workspace, 9, at=noon - timedelta(days=1), key_id=2)
    assert usage.of_keys(workspace.pk, [1, 2, 3], now=noon) == {1: (5, 12), 2: (0, 9)}


@pytest.mark.django_db
def test_records_come_newest_first_in_chunks_that_neither_miss_nor_repeat(monkeypatch):
    monkeypatch.setattr(usage, "CHUNK", 3)
    workspace = new_workspace(bought=10**6)
    noon = datetime(2026, 5, 20, 12, tzinfo=UTC)
    for n in range(10):
        spend(workspace, n + 1, at=noon - timedelta(days=n // 4))  # several at the very same moment
    chunks = list(usage.records(workspace.pk, date(2026, 5, 18), date(2026, 5, 20)))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    assert sorted(row.amount_micros for chunk in chunks for row in chunk) == list(range(1, 11))
    assert list(usage.records(workspace.pk, date(2026, 5, 1), date(2026, 5, 2))) == []


# ---- Low balance


@pytest.fixture
def payer(db):
    workspace = new_workspace(bought=1_000_000)
    for name, role in (("owner", "owner"), ("dev", "developer"), ("money", "billing"), ("gone", "admin")):
        user = User.objects.create_user(f"{name}@example.test", "a long password")
        user.is_active = name != "gone"
        user.save()
        Membership.objects.create(workspace=workspace, user=user, role=role)
    return workspace


def tell_all() -> None:
    for message in Outbox.objects.filter(task=low_balance.TELL_TASK):
        low_balance.tell(message_id=message.pk)


def letters() -> list[dict[str, str]]:
    return [row.payload for row in Outbox.objects.filter(task="marketplace.send_mail").order_by("pk")]


def test_low_credit_is_told_once_until_credit_comes(payer):
    low_balance.set_threshold(payer.pk, 400_000)
    assert low_balance.find_low() == 0
    spend(payer, 700_000)
    assert (low_balance.find_low(), low_balance.find_low()) == (1, 0)
    tell_all()
    to_money, to_owner = sorted(letters(), key=lambda letter: letter["to"])
    assert (to_money["to"], to_owner["to"]) == ("money@example.test", "owner@example.test")
    assert to_money["subject"] == to_owner["subject"] == f"{payer.name}: $0.30 left"
    assert "/dashboard/usage" in to_money["body"]
    assert not Outbox.objects.filter(task=low_balance.TELL_TASK).exists()
    spend(payer, 100_000)
    assert low_balance.find_low() == 0
    ledger.credit(payer.pk, 50_000, source="bought", key="topup:a")
    ledger.credit(payer.pk, 50_000, source="bought", key="topup:a")
    assert (low_balance.find_low(), low_balance.find_low()) == (1, 0)
    ledger.credit(payer.pk, 5_000_000, source="bought", key="topup:b")
    tell_all()  # it came too late to be true
    assert len(letters()) == 2
    assert low_balance.find_low() == 0


def test_a_workspace_that_said_nothing_is_told_at_the_installations_own_threshold(payer, settings):
    settings.LOW_BALANCE_MICROS = 2_000_000
    assert ledger.balance(payer.pk).is_low
    assert low_balance.find_low() == 1
    assert LowBalance.objects.get().below_micros == 2_000_000
    low_balance.set_threshold(payer.pk, 0)
    assert not ledger.balance(payer.pk).is_low
    assert low_balance.find_low() == 0


def test_who_never_had_credit_is_not_warned(db):
    workspace = new_workspace()
    assert not ledger.balance(workspace.pk).is_low
    assert low_balance.find_low() == 0


def test_a_warning_that_fails_is_told_again(payer, monkeypatch):
    low_balance.set_threshold(payer.pk, 2_000_000)
    low_balance.find_low()

    def fail(*_: object, **__: object) -> None:
        raise OSError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(low_balance, "to_payers", fail)
        tell_all()
    assert Outbox.objects.get().attempts == 1
    tell_all()
    assert len(letters()) == 2
