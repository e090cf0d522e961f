"""`ledger verify` finds each thing that can be wrong in the books, whoever wrote it past the ledger."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection

from billing import ledger
from tests.billing.cast import USAGE, new_publisher, new_workspace

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)
GUARDED = ("account", "transaction", "entry")
MORE = ("hold", "usagerecord", "refund", "grant", "maturity")
OF = "transaction_id IN (SELECT id FROM billing_ledgertransaction WHERE kind = '"


def books_of_all_kinds() -> None:
    """A movement of each kind, ended and under way, in a few accounts."""
    workspace, publisher = new_workspace(granted=100, bought=1000), new_publisher()
    charged, open_, released = uuid4(), uuid4(), uuid4()
    for reference, amount in ((charged, 300), (open_, 40), (released, 30)):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount, now=NOON)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    ledger.capture(reference=charged, amount_micros=300, share=share, usage=USAGE, now=NOON)
    ledger.release(reference=released, now=NOON)
    ledger.refund(charged, 50, key="r", reason="fault", now=NOON)
    ledger.mature(delay=timedelta(0), now=NOON)
    done, waiting = uuid4(), uuid4()
    for payout, amount in ((done, 60), (waiting, 20)):
        ledger.payout_started(payout, publisher.pk, amount)
    ledger.payout_done(done)
    ledger.payout_returned(done, 30, key="back")
    ledger.topup_refund_started(uuid4(), workspace.pk, 10)
    ledger.dispute_withdrawn("dp_1", workspace.pk, 5)
    ledger.dispute_reinstated("dp_1")
    ledger.fee(3, key="txn_1")
    ledger.credit(workspace.pk, 25, key="coupon:1", now=NOON)


def found(*deeds: str) -> set[str]:
    """What the audit says once these were done with all guards off."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in (*(f"ledger{name}" for name in GUARDED), *MORE):
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER USER")
        for deed in deeds:
            cursor.execute(deed)
            assert cursor.rowcount > 0, deed
    return {problem.check for problem in ledger.verify()}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("check", "table", "change"),
    [
        ("a transaction's entries", "ledgerentry", "SET amount_micros = 9 WHERE amount_micros > 0 AND OF fee"),
        ("entries stay in the book", "ledgertransaction", "SET book = 'live' WHERE kind = 'fee'"),
        ("entries stay in the book", "ledgerentry", "SET account_id = 0 WHERE OF fee"),
        ("a cached balance", "ledgeraccount", "SET balance_micros = 1 WHERE kind = 'workspace_bought'"),
        ("an account is named", "ledgeraccount", "SET code = code || '0' WHERE kind = 'platform_revenue'"),
        ("held equals", "hold", "SET bought_micros = bought_micros + 1 WHERE state = 'open'"),
        ("held equals", "hold", "SET state = 'released', closed_at = now() WHERE state = 'open'"),
        ("held equals", "ledgeraccount", "SET kind = 'workspace_refunding' WHERE kind = 'workspace_held'"),
        ("a hold was opened", "hold", "SET state = 'released', closed_at = now() WHERE state = 'open'"),
        ("a hold was opened", "hold", "SET state = 'open', closed_at = NULL WHERE state = 'released'"),
        ("a hold was opened", "hold", "SET book = 'live' WHERE state = 'open'"),
        ("a hold was opened", "hold", "SET opened_by_id = (SELECT max(id) FROM billing_ledgertransaction)"),
        ("holds and settlements", "hold", "WHERE state = 'released'"),
        ("holds and settlements", "hold", "SET book = 'live' WHERE state = 'released'"),
        ("a charge is", "hold", "SET captured_micros = captured_micros - 1 WHERE state = 'captured'"),
        ("usage is", "usagerecord", "SET amount_micros = amount_micros + 1"),
        ("usage is", "hold", "SET state = 'open', closed_at = NULL, captured_micros = 0 WHERE state = 'captured'"),
        ("usage is", "usagerecord", "SET reference = gen_random_uuid()"),
        ("usage is", "usagerecord", "SET workspace_id = (SELECT max(id) FROM marketplace_workspace)"),
        ("a day of usage is the sum of its rec", "usageday", "SET runs = runs + 1 WHERE runs > 0"),
        ("a day of usage is the sum of its rec", "usageday", "SET not_charged = 1 WHERE runs > 0"),
        ("a day of usage is the sum of its rec", "usageday", "WHERE runs > 0"),
        ("a day of usage is the sum of its ref", "usageday", "SET refunded_micros = 0"),
        ("no more was refunded", "hold", "SET captured_micros = 49 WHERE state = 'captured'"),
        ("no more was refunded", "hold", "SET granted_micros = 300, bought_micros = 0 WHERE state = 'captured'"),
        ("no more was refunded", "ledgertransaction", "SET kind = 'release' WHERE kind = 'capture'"),
        ("no more was refunded", "refund", "SET reference = gen_random_uuid()"),
        ("a refund is what", "refund", "SET payable_micros = payable_micros + 1, pending_micros = pending_micros - 1"),
        ("a refund is what", "refund", "SET granted_micros = 1"),
        ("a refund is what", "refund", "SET publisher_id = NULL"),
        ("a refund is what", "refund", ""),
        ("pending, in transit", "ledgerentry", "SET amount_micros = -99 WHERE amount_micros = 10"),
        ("in transit is", "ledgertransaction", "SET kind = 'hold' WHERE kind = 'payout'"),
        ("refunding is", "ledgertransaction", "SET kind = 'hold' WHERE kind = 'topup_refund'"),
        ("no more came back", "ledgerentry", "SET amount_micros = 3 * amount_micros WHERE OF payout_returned"),
        ("no more came back", "ledgertransaction", "SET kind = 'payout_failed' WHERE kind = 'paid_out'"),
        ("a dispute that was won", "ledgerentry", "SET amount_micros = 2 * amount_micros WHERE OF reinstated"),
        ("granted credit comes", "grant", "SET left_micros = 0"),
        ("a grant is what", "grant", "SET amount_micros = amount_micros + 1"),
        ("a grant is what", "grant", "WHERE amount_micros = 25"),
        ("movements have", "ledgertransaction", "SET kind = 'fee' WHERE kind = 'purchase'"),
        ("movements have", "ledgertransaction", "SET kind = 'wish' WHERE kind = 'fee'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(check: str, table: str, change: str) -> None:
    """`change` is what an UPDATE sets, or which rows are deleted; OF is entries of that kind of movement."""
    books_of_all_kinds()
    change = re.sub(r"OF (\w+)", rf"{OF}\1')", change)
    verb = "UPDATE" if change.startswith("SET") else "DELETE FROM"
    assert any(one.startswith(check) for one in found(f"{verb} billing_{table} {change}"))


@pytest.mark.django_db
def test_the_audit_says_nothing_of_books_that_are_right() -> None:
    books_of_all_kinds()
    assert found("SELECT 1") == set()


@pytest.mark.django_db
def test_the_parts_of_a_refund_are_bounded_each_by_itself() -> None:
    books_of_all_kinds()
    more_granted = (
        "UPDATE billing_hold SET granted_micros = 0, bought_micros = 300 WHERE state = 'captured'",
        "UPDATE billing_refund SET granted_micros = amount_micros",
    )
    assert any(one.startswith("no more was refunded") for one in found(*more_granted))


@pytest.mark.django_db
def test_earnings_that_matured_too_soon_are_found() -> None:
    workspace, publisher, reference = new_workspace(bought=100), new_publisher(), uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=100, now=NOON)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=100, share=share, usage=USAGE, now=NOON)
    ledger.mature(delay=timedelta(0), now=NOON)
    undo = "UPDATE billing_maturity SET matured_until = matured_until - interval '1 microsecond'"
    assert found(undo) == {"what matured was earned before and not refunded"}
