"""What publishers earn: it matures once, is paid out once, and comes back when a payout does not arrive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from billing import ledger
from billing.models import LedgerTransaction, Maturity
from marketplace.models import Publisher, Workspace
from tests.billing.cast import USAGE, new_publisher, new_workspace

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(autouse=True)
def books_are_clean(db: None) -> Iterator[None]:
    yield
    if not connection.needs_rollback:
        assert ledger.verify() == []


def earn(workspace: Workspace, publisher: Publisher, amount: int, at: datetime, book: str = "test") -> None:
    """The publisher earns half of a run."""
    reference = uuid4()
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount, now=at, book=book)
    share = ledger.Share(publisher.pk, Decimal("0.5"))
    ledger.capture(reference=reference, amount_micros=amount, share=share, usage=USAGE, now=at)


def balances(publisher: Publisher, book: str = "test") -> tuple[int, ...]:
    found = ledger.publisher_balance(publisher.pk, book=book)
    return (found.pending_micros, found.payable_micros, found.in_transit_micros, found.paid_out_micros)


@pytest.fixture
def buyer() -> Workspace:
    return new_workspace(bought=1_000_000)


@pytest.fixture
def rich(buyer: Workspace) -> Publisher:
    """A publisher with a thousand payable."""
    publisher = new_publisher()
    earn(buyer, publisher, 2000, NOON - 2 * WEEK)
    assert ledger.mature(publisher.pk, delay=WEEK, now=NOON) == 1000
    return publisher


def test_earnings_mature_when_they_are_old_enough_and_once(buyer: Workspace) -> None:
    publisher = new_publisher()
    earn(buyer, publisher, 200, NOON)
    earn(buyer, publisher, 400, NOON + timedelta(days=1))
    assert ledger.maturing(publisher.pk) == {date(2026, 5, 13): 100, date(2026, 5, 14): 200}
    just_before = NOON + WEEK - timedelta(microseconds=1)
    assert ledger.mature(publisher.pk, delay=WEEK, now=just_before) == 0
    assert ledger.mature(publisher.pk, delay=WEEK, now=NOON + WEEK) == 100
    assert ledger.mature(publisher.pk, delay=WEEK, now=NOON + WEEK) == 0
    assert balances(publisher) == (200, 100, 0, 0)
    assert ledger.maturing(publisher.pk) == {date(2026, 5, 14): 200}
    assert ledger.mature(publisher.pk, delay=2 * WEEK, now=NOON + WEEK) == 0  # what matured stays
    assert ledger.mature(publisher.pk, delay=timedelta(0), now=NOON + WEEK) == 200
    assert balances(publisher) == (0, 300, 0, 0)
    assert ledger.maturing(publisher.pk) == {}
    with pytest.raises(ValueError, match="before it is earned"):
        ledger.mature(publisher.pk, delay=-WEEK)


def test_an_earning_that_comes_late_is_not_left_behind(buyer: Workspace) -> None:
    publisher = new_publisher()
    earn(buyer, publisher, 200, NOON)
    ledger.mature(publisher.pk, delay=timedelta(0), now=NOON + WEEK)
    earn(buyer, publisher, 60, NOON)  # as if its transaction had taken a week
    assert ledger.mature(publisher.pk, delay=timedelta(0), now=NOON + WEEK) == 30
    assert balances(publisher) == (0, 130, 0, 0)


def test_all_publishers_mature_but_those_held_back(buyer: Workspace) -> None:
    one, two, held = new_publisher(), new_publisher(), new_publisher()
    for publisher, amount in ((one, 20), (two, 40), (held, 80)):
        earn(buyer, publisher, amount, NOON)
    assert ledger.mature(delay=WEEK, now=NOON + WEEK, held_back={held.pk}) == 30
    assert [balances(publisher)[:2] for publisher in (one, two, held)] == [(0, 10), (0, 20), (40, 0)]
    assert ledger.mature(delay=WEEK, now=NOON + WEEK) == 40


def test_books_of_a_publisher_never_meet(buyer: Workspace) -> None:
    publisher = new_publisher()
    ledger.credit(buyer.pk, 500, source="bought", key="topup:live", book="live")
    earn(buyer, publisher, 200, NOON, book="live")
    assert ledger.mature(publisher.pk, delay=WEEK, now=NOON + WEEK) == 0
    assert ledger.mature(publisher.pk, delay=WEEK, now=NOON + WEEK, book="live") == 100
    with pytest.raises(ledger.InsufficientEarnings):
        ledger.payout_started(uuid4(), publisher.pk, 1)
    payout = uuid4()
    ledger.payout_started(payout, publisher.pk, 100, book="live")
    with pytest.raises(ledger.NoSuchPayout):
        ledger.payout_done(payout)
    assert ledger.payout_done(payout, book="live")
    assert balances(publisher) == (0, 0, 0, 0)
    assert balances(publisher, "live") == (0, 0, 0, 100)


def test_a_payout_takes_what_is_payable_and_leaves(rich: Publisher) -> None:
    payout = uuid4()
    for amount in (1001, 10**18):
        with pytest.raises(ledger.InsufficientEarnings) as error:
            ledger.payout_started(payout, rich.pk, amount)
        assert (error.value.payable_micros, error.value.needed_micros) == (1000, amount)
    with pytest.raises(ValueError, match="positive"):
        ledger.payout_started(payout, rich.pk, 0)
    assert ledger.payout_started(payout, rich.pk, 700)
    assert balances(rich) == (0, 300, 700, 0)
    assert not ledger.payout_started(payout, rich.pk, 700)  # although 700 are not payable any more
    for publisher, amount in ((rich, 300), (new_publisher(), 700)):
        with pytest.raises((ledger.KeyReused, ledger.InsufficientEarnings)):
            ledger.payout_started(payout, publisher.pk, amount)
    assert ledger.payout_done(payout)
    assert not ledger.payout_done(payout)
    assert balances(rich) == (0, 300, 0, 700)
    assert ledger.totals()["stripe_clearing"] == -1_000_000 + 700


def test_done_and_failed_exclude_each_other(rich: Publisher) -> None:
    done, failed = uuid4(), uuid4()
    ledger.payout_started(done, rich.pk, 100)
    ledger.payout_started(failed, rich.pk, 200)
    assert ledger.payout_done(done)
    assert ledger.payout_failed(failed)
    assert not ledger.payout_failed(failed)
    with transaction.atomic():
        with pytest.raises(ledger.PayoutSettled):
            ledger.payout_failed(done)
        with pytest.raises(ledger.PayoutSettled):
            ledger.payout_done(failed)
    assert balances(rich) == (0, 900, 0, 100)
    for end in (ledger.payout_done, ledger.payout_failed):
        with pytest.raises(ledger.NoSuchPayout):
            end(uuid4())


def test_a_payout_by_hand_leaves_from_the_bank_and_not_from_stripe(rich: Publisher) -> None:
    payout = uuid4()
    ledger.payout_started(payout, rich.pk, 400)
    ledger.payout_done(payout, paid_from="bank")
    totals = ledger.totals()
    assert (totals["platform_bank"], totals["stripe_clearing"]) == (400, -1_000_000)
    with pytest.raises(ledger.PayoutSettled):
        ledger.payout_done(payout)
    ledger.payout_returned(payout, 400, key="bounced")
    assert ledger.totals()["platform_bank"] == 0
    assert balances(rich) == (0, 1000, 0, 0)


def test_what_comes_back_of_a_payout_is_payable_again_and_no_more_than_was_paid(rich: Publisher) -> None:
    payout, open_ = uuid4(), uuid4()
    ledger.payout_started(payout, rich.pk, 600)
    ledger.payout_started(open_, rich.pk, 100)
    ledger.payout_done(payout)
    for unpaid in (open_, uuid4()):
        with pytest.raises(ledger.NoSuchPayout):
            ledger.payout_returned(unpaid, 1, key="trr_0")
    assert ledger.payout_returned(payout, 250, key="trr_1")
    assert not ledger.payout_returned(payout, 250, key="trr_1")
    with pytest.raises(ledger.KeyReused):
        ledger.payout_returned(payout, 251, key="trr_1")
    with pytest.raises(ValueError, match="more than is out"):
        ledger.payout_returned(payout, 351, key="trr_2")
    for amount, key in ((0, "trr_3"), (-1, "trr_3"), (1, ""), (1, "k" * 121)):
        with pytest.raises(ValueError, match="a key of its own"):
            ledger.payout_returned(payout, amount, key=key)
    assert ledger.payout_returned(payout, 349, key="trr_2")
    assert ledger.payout_returned(payout, 1, key="k" * 120)
    assert balances(rich) == (0, 900, 100, 0)


def test_maturity_never_goes_back(rich: Publisher) -> None:
    for change in (
        lambda: Maturity.objects.update(matured_until=NOON - 9 * WEEK),
        lambda: Maturity.objects.update(times=0),
        lambda: Maturity.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
            change()


def test_verify_sees_money_in_transit_that_no_payout_accounts_for(rich: Publisher) -> None:
    with transaction.atomic():
        ledger.payout_started(uuid4(), rich.pk, 100)
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE billing_ledgertransaction DISABLE TRIGGER ledger_transaction_append_only"
            )
            cursor.execute("UPDATE billing_ledgertransaction SET kind = 'paid_out' WHERE kind = 'payout'")
        found = {problem.check for problem in ledger.verify()}
        transaction.set_rollback(True)
    assert "in transit is what payouts under way amount to" in found
    assert LedgerTransaction.objects.filter(kind="payout").count() == 0
