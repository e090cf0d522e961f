"""What the database refuses by itself, with the ledger's own code out of the way."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing import ledger
from billing.models import Hold, LedgerAccount, LedgerEntry, LedgerTransaction
from tests.billing.cast import USAGE, new_workspace

pytestmark = pytest.mark.django_db


def check_now() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def written(book: str = "test") -> LedgerTransaction:
    return LedgerTransaction.objects.create(book=book, key=str(uuid4()), kind="grant")


def account(kind: str, book: str = "test") -> LedgerAccount:
    return LedgerAccount.objects.create(book=book, kind=kind, code=kind)


def test_a_transaction_that_does_not_sum_to_zero_is_refused_at_commit() -> None:
    posted, promo, revenue = written(), account("platform_promo"), account("platform_revenue")
    LedgerEntry.objects.create(transaction=posted, account=promo, amount_micros=-5)
    LedgerEntry.objects.create(transaction=posted, account=revenue, amount_micros=5)
    check_now()
    LedgerEntry.objects.create(transaction=posted, account=revenue, amount_micros=1)
    with pytest.raises(IntegrityError, match="sum to 1 instead of zero"), transaction.atomic():
        check_now()
    transaction.set_rollback(True)


def test_a_transaction_stays_in_its_book_and_on_accounts_that_exist() -> None:
    promo, live = account("platform_promo"), account("platform_revenue", "live")
    for other in (live.pk, live.pk + 1000):
        with transaction.atomic():
            posted = written()
            LedgerEntry.objects.create(transaction=posted, account=promo, amount_micros=-5)
            LedgerEntry.objects.create(transaction=posted, account_id=other, amount_micros=5)
            with pytest.raises(IntegrityError, match="outside of its book"), transaction.atomic():
                check_now()
            transaction.set_rollback(True)


def test_an_entry_of_zero_is_refused() -> None:
    with pytest.raises(IntegrityError, match="ledger_entry_not_zero"), transaction.atomic():
        LedgerEntry.objects.create(transaction=written(), account=account("platform_promo"), amount_micros=0)


def test_a_balance_is_never_negative_and_only_credit_has_one() -> None:
    workspace = new_workspace(bought=10)
    mine = LedgerAccount.objects.filter(workspace=workspace)
    for kind, amount in (("workspace_bought", -1), ("workspace_held", 1), ("workspace_held", -1)):
        with pytest.raises(IntegrityError, match="ledger_account_balance"), transaction.atomic():
            mine.filter(kind=kind).update(balance_micros=amount)


def test_an_account_has_the_owner_of_its_kind() -> None:
    workspace = new_workspace()
    for wrong in (
        {"kind": "platform_promo", "workspace": workspace},
        {"kind": "workspace_held"},
        {"kind": "publisher_pending", "workspace": workspace},
        {"kind": "pocket"},
    ):
        with pytest.raises(IntegrityError, match="ledger_account_owner"), transaction.atomic():
            LedgerAccount.objects.create(book="test", code="x", **wrong)


def test_the_past_is_not_edited() -> None:
    workspace = new_workspace(bought=100)
    open_, closed = uuid4(), uuid4()
    for reference in (open_, closed):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=10)
    ledger.capture(reference=closed, amount_micros=10, share=None, usage=USAGE)
    holds = Hold.objects.filter(reference=closed)
    attempts = [
        lambda: LedgerEntry.objects.update(amount_micros=1),
        lambda: LedgerEntry.objects.all()._raw_delete("default"),
        lambda: LedgerTransaction.objects.update(note="never happened"),
        lambda: LedgerTransaction.objects.all()._raw_delete("default"),
        lambda: LedgerAccount.objects.update(kind="platform_promo"),
        lambda: LedgerAccount.objects.all()._raw_delete("default"),
        lambda: holds.update(state="open", closed_at=None, captured_micros=0),
        lambda: holds.update(captured_micros=9),
        lambda: holds._raw_delete("default"),
        lambda: Hold.objects.filter(reference=open_).update(bought_micros=1),
    ]
    for attempt in attempts:
        with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
            attempt()


def test_a_key_is_used_once_per_book() -> None:
    posted = written()
    LedgerTransaction.objects.create(book="live", key=posted.key, kind="grant")
    with pytest.raises(IntegrityError, match="ledger_transaction_key"), transaction.atomic():
        LedgerTransaction.objects.create(book="test", key=posted.key, kind="grant")
