"""Bought credit that leaves again, by a refund or a dispute; and what the payment processor keeps."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction

from billing import ledger
from billing.models import Grant, LedgerTransaction
from tests.billing.cast import new_workspace

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def books_are_clean(db: None) -> Iterator[None]:
    yield
    if not connection.needs_rollback:
        assert ledger.verify() == []


def test_a_refund_of_credit_takes_only_what_was_bought_and_nothing_holds() -> None:
    workspace = new_workspace(granted=500, bought=100)
    ledger.hold(workspace_id=workspace.pk, reference=uuid4(), amount_micros=530)
    for amount in (71, 10**18):
        with pytest.raises(ledger.RefundExceedsCredit) as error:
            ledger.topup_refund_started(uuid4(), workspace.pk, amount)
        assert error.value.bought_micros == 70
    with pytest.raises(ledger.RefundExceedsCredit):
        ledger.topup_refund_started(uuid4(), new_workspace().pk, 1)
    with pytest.raises(ValueError, match="positive"):
        ledger.topup_refund_started(uuid4(), workspace.pk, 0)
    refund = uuid4()
    assert ledger.topup_refund_started(refund, workspace.pk, 70)
    assert ledger.balance(workspace.pk) == ledger.Balance(530, 530, 0, 0)
    assert not ledger.topup_refund_started(refund, workspace.pk, 70)
    for other, amount in ((workspace, 60), (new_workspace(bought=70), 70)):
        with pytest.raises((ledger.KeyReused, ledger.RefundExceedsCredit)):
            ledger.topup_refund_started(refund, other.pk, amount)
    assert ledger.totals()["workspace_refunding"] == 70


def test_a_refund_of_credit_ends_once() -> None:
    workspace = new_workspace(bought=100)
    done, failed = uuid4(), uuid4()
    ledger.topup_refund_started(done, workspace.pk, 30)
    ledger.topup_refund_started(failed, workspace.pk, 50)
    assert ledger.topup_refund_done(done)
    assert not ledger.topup_refund_done(done)
    assert ledger.topup_refund_failed(failed)
    assert not ledger.topup_refund_failed(failed)
    with transaction.atomic():
        with pytest.raises(ledger.TopupRefundSettled):
            ledger.topup_refund_failed(done)
        with pytest.raises(ledger.TopupRefundSettled):
            ledger.topup_refund_done(failed)
        with pytest.raises(ledger.NoSuchTopupRefund):
            ledger.topup_refund_returned(failed)
    for end in (ledger.topup_refund_done, ledger.topup_refund_failed, ledger.topup_refund_returned):
        with pytest.raises(ledger.NoSuchTopupRefund):
            end(uuid4())
    assert ledger.balance(workspace.pk).available_micros == 70
    assert ledger.totals()["stripe_clearing"] == -70
    # A bank may send it back days after it was done.
    assert ledger.topup_refund_returned(done)
    assert not ledger.topup_refund_returned(done)
    assert ledger.balance(workspace.pk).available_micros == 100


def test_a_dispute_takes_bought_then_granted_credit_and_the_rest_is_a_loss() -> None:
    workspace = new_workspace(granted=40, bought=100)
    ledger.hold(workspace_id=workspace.pk, reference=uuid4(), amount_micros=50)  # 40 granted, 10 bought
    ledger.credit(workspace.pk, 25, key="promo:more")
    assert ledger.dispute_withdrawn("dp_1", workspace.pk, 100) == ledger.Withdrawn(90, 10, 0, is_new=True)
    assert ledger.dispute_withdrawn("dp_1", workspace.pk, 100) == ledger.Withdrawn(90, 10, 0, is_new=False)
    assert ledger.dispute_withdrawn("dp_2", workspace.pk, 100) == ledger.Withdrawn(0, 15, 85, is_new=True)
    assert ledger.balance(workspace.pk) == ledger.Balance(50, 50, 0, 0)
    assert ledger.totals()["platform_losses"] == -85
    for other, amount in ((workspace, 101), (new_workspace(bought=100), 100)):
        with pytest.raises(ledger.KeyReused):
            ledger.dispute_withdrawn("dp_1", other.pk, amount)
    stranger = new_workspace()
    assert ledger.dispute_withdrawn("dp_3", stranger.pk, 7).lost_micros == 7
    with pytest.raises(ledger.KeyReused):  # who lost nothing is known all the same
        ledger.dispute_withdrawn("dp_3", new_workspace().pk, 7)


@pytest.mark.parametrize(("dispute", "amount"), [("", 5), ("dp_1", 0), ("dp_1", -5), ("d" * 151, 5)])
def test_a_dispute_is_an_id_and_an_amount(dispute: str, amount: int) -> None:
    with pytest.raises(ValueError, match="a dispute is"):
        ledger.dispute_withdrawn(dispute, new_workspace(bought=10).pk, amount)


def test_a_dispute_that_is_won_gives_everybody_back_what_it_took() -> None:
    workspace = new_workspace(granted=40, bought=50)
    before = ledger.totals()
    ledger.dispute_withdrawn("dp_1", workspace.pk, 100)
    assert ledger.dispute_reinstated("dp_1")
    assert not ledger.dispute_reinstated("dp_1")
    assert ledger.totals() == before
    assert ledger.balance(workspace.pk) == ledger.Balance(90, 0, 90, 40)
    with pytest.raises(ledger.NoSuchDispute):
        ledger.dispute_reinstated("dp_2")
    assert sum(Grant.objects.values_list("left_micros", flat=True)) == 40


def test_what_the_processor_keeps_is_booked_once() -> None:
    new_workspace(bought=1000)
    assert ledger.fee(59, key="txn_1", note="card")
    assert not ledger.fee(59, key="txn_1")
    with pytest.raises(ledger.KeyReused):
        ledger.fee(60, key="txn_1")
    assert ledger.fee(-9, key="txn_2")
    for amount, key in ((0, "txn_3"), (5, ""), (5, "t" * 181)):
        with pytest.raises(ValueError, match="other than zero"):
            ledger.fee(amount, key=key)
    assert ledger.fee(7, key="t" * 180)
    totals = ledger.totals()
    assert (totals["platform_fees"], totals["stripe_clearing"]) == (-57, -943)
    assert LedgerTransaction.objects.get(key="fee:txn_1").note == "card"


def test_grants_that_expire_first_are_spent_first() -> None:
    workspace = new_workspace()
    days = [NOON + timedelta(days=n) for n in range(10)]
    ledger.credit(workspace.pk, 100, key="promo:forever", now=NOON)
    ledger.credit(workspace.pk, 50, key="coupon:late", expires_at=days[8], now=NOON)
    ledger.credit(workspace.pk, 70, key="coupon:soon", expires_at=days[4], now=NOON)
    spend(workspace.pk, 90)  # all of `soon`, and 20 of `late`
    assert ledger.expire_grants(now=days[4]) == 0
    assert ledger.expire_grants(now=days[8] - timedelta(seconds=1)) == 0
    assert ledger.expire_grants(now=days[8]) == 30
    assert ledger.expire_grants(now=days[9]) == 0
    assert ledger.balance(workspace.pk).granted_micros == 100
    assert ledger.totals()["platform_promo"] == -190


def test_a_grant_that_was_spent_long_ago_does_not_keep_a_new_one_alive() -> None:
    workspace = new_workspace()
    ledger.credit(workspace.pk, 100, key="promo:old", now=NOON)
    spend(workspace.pk, 100)
    ledger.credit(workspace.pk, 10, key="coupon:new", expires_at=NOON + timedelta(days=1), now=NOON)
    assert ledger.expire_grants(now=NOON + timedelta(days=1)) == 10
    assert ledger.balance(workspace.pk).granted_micros == 0


def test_what_a_run_holds_of_an_expired_grant_is_taken_only_once_it_is_released() -> None:
    workspace = new_workspace()
    end = NOON + timedelta(days=1)
    ledger.credit(workspace.pk, 10, key="promo:forever", now=NOON)
    ledger.credit(workspace.pk, 10, key="coupon:soon", expires_at=end, now=NOON)
    captured, released = uuid4(), uuid4()
    for reference, amount in ((captured, 4), (released, 3)):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount)
    assert ledger.expire_grants(now=end) == 3
    assert ledger.balance(workspace.pk) == ledger.Balance(17, 7, 10, 10)
    usage = ledger.Usage("maker/vase", "succeeded")
    ledger.capture(reference=captured, amount_micros=4, share=None, usage=usage)
    assert ledger.expire_grants(now=end) == 0
    ledger.release(reference=released)
    assert ledger.expire_grants(now=end) == 3
    assert ledger.balance(workspace.pk) == ledger.Balance(10, 0, 10, 10)
    assert ledger.expire_grants(now=end) == 0


def test_only_grants_expire_and_never_in_the_past() -> None:
    workspace = new_workspace()
    with pytest.raises(ValueError, match="expired already"):
        ledger.credit(workspace.pk, 5, key="coupon:1", expires_at=NOON, now=NOON)
    with pytest.raises(ValueError, match="neither expires"):
        ledger.credit(
            workspace.pk, 5, source="bought", key="topup:1", expires_at=NOON + timedelta(1), now=NOON
        )
    assert ledger.balance(workspace.pk).balance_micros == 0


def test_grants_of_the_past_get_their_rows_with_what_can_be_left_of_them() -> None:
    workspace, held = new_workspace(bought=500), uuid4()
    for at, amount in enumerate((100, 50, 30)):
        ledger.credit(workspace.pk, amount, key=f"promo:{at}")
    spend(workspace.pk, 110)
    ledger.hold(workspace_id=workspace.pk, reference=held, amount_micros=15)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_grant DISABLE TRIGGER USER")
        Grant.objects.all()._raw_delete("default")
        cursor.execute("ALTER TABLE billing_grant ENABLE TRIGGER USER")
        cursor.execute(importlib.import_module("billing.migrations.0005_ledger_movements").BACKFILL)
    rows = Grant.objects.order_by("pk").values_list("origin", "amount_micros", "left_micros")
    assert sorted(rows) == [("promo", 30, 30), ("promo", 50, 40), ("promo", 100, 0)]


def test_of_grants_of_the_past_is_known_what_was_spent() -> None:
    workspace, end = new_workspace(), NOON + timedelta(days=1)
    ledger.credit(workspace.pk, 100, key="coupon:1", expires_at=end, now=NOON)
    ledger.credit(workspace.pk, 50, key="promo:1", now=NOON)
    spend(workspace.pk, 70)
    ledger.expire_grants(now=end)
    spend(workspace.pk, 20)
    ledger.credit(workspace.pk, 5, key="promo:2", now=end)
    known = list(Grant.objects.order_by("pk").values_list("left_micros", "spent_micros"))
    assert known == [(0, 70), (30, 20), (5, 0)]
    Grant.objects.update(spent_micros=0, gone_at=None)
    with connection.cursor() as cursor:
        cursor.execute(importlib.import_module("billing.migrations.0012_spent_before").SPENT)
    assert list(Grant.objects.order_by("pk").values_list("left_micros", "spent_micros")) == known
    assert [one is None for one in Grant.objects.order_by("pk").values_list("gone_at", flat=True)] == [
        False,
        True,
        True,
    ]


def spend(workspace_id: int, amount: int) -> None:
    reference = uuid4()
    ledger.hold(workspace_id=workspace_id, reference=reference, amount_micros=amount)
    usage = ledger.Usage("maker/vase", "succeeded")
    ledger.capture(reference=reference, amount_micros=amount, share=None, usage=usage)
