"""Each movement of the ledger by itself: what it moves, what it refuses, what repeating it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Sum

from billing import ledger
from billing.ledger.crediting import RESERVED
from billing.ledger.limits import window_end, window_start
from billing.models import (
    Grant,
    Hold,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    SpendWindow,
    UsageRecord,
)
from tests.billing.cast import USAGE, new_publisher, new_workspace

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)  # a Wednesday


def held(workspace_id: int, amount: int, **more: object) -> UUID:
    reference = uuid4()
    ledger.hold(workspace_id=workspace_id, reference=reference, amount_micros=amount, **more)
    return reference


def account_sum(kind: str, **owner: int) -> int:
    entries = LedgerEntry.objects.filter(account__in=LedgerAccount.objects.filter(kind=kind, **owner))
    return entries.aggregate(total=Sum("amount_micros", default=0))["total"]


@pytest.fixture(autouse=True)
def books_are_clean(db: None) -> object:
    yield
    if not connection.needs_rollback:
        assert ledger.verify() == []


def test_a_workspace_never_credited_has_nothing() -> None:
    workspace = new_workspace()
    assert ledger.balance(workspace.pk) == ledger.Balance(0, 0, 0, 0)
    ledger.open_workspace(workspace.pk)
    ledger.open_workspace(workspace.pk)
    assert LedgerAccount.objects.filter(workspace=workspace).count() == 3
    assert ledger.balance(workspace.pk) == ledger.Balance(0, 0, 0, 0)


def test_credit_is_added_once_per_key() -> None:
    workspace, other = new_workspace(), new_workspace()
    assert ledger.credit(workspace.pk, 500, key="promo:1", note="welcome")
    assert not ledger.credit(workspace.pk, 500, key="promo:1")
    for change in ((workspace.pk, 501, "granted"), (other.pk, 500, "granted"), (workspace.pk, 500, "bought")):
        with pytest.raises(ledger.KeyReused):
            ledger.credit(change[0], change[1], source=change[2], key="promo:1")
    assert ledger.credit(workspace.pk, 70, source="bought", key="topup:1")
    assert ledger.balance(workspace.pk) == ledger.Balance(570, 0, 570, 500)
    assert ledger.balance(workspace.pk).bought_micros == 70
    assert account_sum("platform_promo") == -500
    assert account_sum("stripe_clearing") == -70


@pytest.mark.parametrize("amount", [0, -1])
def test_credit_is_positive(amount: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        ledger.credit(new_workspace().pk, amount, key="promo:2")


def test_credit_keys_are_its_own() -> None:
    workspace = new_workspace()
    for key in ("", "x" * 201, *(f"{first}1" for first in RESERVED)):
        with pytest.raises(ValueError, match="key of its own"):
            ledger.credit(workspace.pk, 5, key=key)
    assert ledger.credit(workspace.pk, 5, key="x" * 200, note="n" * 300, origin="o" * 50)
    grant = Grant.objects.get()
    assert (grant.transaction.note, grant.origin) == ("n" * 200, "o" * 40)
    assert not LedgerTransaction.objects.exclude(pk=grant.transaction_id).exists()


def test_what_the_ledger_itself_writes_is_reserved() -> None:
    """No credit takes the key that a movement will need."""
    workspace, publisher, one = new_workspace(granted=50, bought=1000), new_publisher(), uuid4()
    reference = held(workspace.pk, 500, now=NOON)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=500, share=share, usage=USAGE, now=NOON)
    ledger.refund(reference, 10, key="r", reason="fault")
    ledger.mature(delay=timedelta(0), now=NOON)
    ledger.payout_started(one, publisher.pk, 100)
    ledger.payout_done(one)
    ledger.payout_returned(one, 10, key="r")
    ledger.topup_refund_started(one, workspace.pk, 10)
    ledger.topup_refund_done(one)
    ledger.topup_refund_returned(one)
    ledger.dispute_withdrawn("dp_1", workspace.pk, 10)
    ledger.dispute_reinstated("dp_1")
    ledger.fee(5, key="txn_1")
    ledger.credit(workspace.pk, 5, key="coupon:1", expires_at=NOON + timedelta(days=1), now=NOON)
    ledger.expire_grants(now=NOON + timedelta(days=1))
    ours = LedgerTransaction.objects.exclude(kind__in=["grant", "purchase"]).values_list("key", flat=True)
    firsts = {key[: key.index(":") + 1] for key in ours}
    assert firsts == set(RESERVED)


def test_credit_has_a_known_source() -> None:
    with pytest.raises(ValueError, match="granted or bought"):
        ledger.credit(new_workspace().pk, 5, key="promo:3", source="found")  # type: ignore[arg-type]


def test_a_hold_takes_granted_credit_first_and_a_release_puts_each_back() -> None:
    workspace = new_workspace(granted=100, bought=100)
    reference = held(workspace.pk, 130)
    assert ledger.balance(workspace.pk) == ledger.Balance(200, 130, 70, 0)
    hold = Hold.objects.get(reference=reference)
    assert (hold.granted_micros, hold.bought_micros) == (100, 30)
    assert account_sum("workspace_held", workspace=workspace.pk) == 130
    assert ledger.release(reference=reference)
    assert ledger.balance(workspace.pk) == ledger.Balance(200, 0, 200, 100)
    assert not ledger.release(reference=reference)
    assert not UsageRecord.objects.exists()


def test_a_refused_hold_writes_nothing_and_leaves_the_transaction_usable() -> None:
    workspace = new_workspace(granted=40, bought=50)
    held(workspace.pk, 10)
    before = LedgerTransaction.objects.count()
    with transaction.atomic():
        with pytest.raises(ledger.InsufficientCredit) as refused:
            held(workspace.pk, 81)
        held(workspace.pk, 80)
    error = refused.value
    amounts = (error.balance_micros, error.held_micros, error.available_micros, error.needed_micros)
    assert amounts == (90, 10, 80, 81)
    assert LedgerTransaction.objects.count() == before + 1
    with pytest.raises(ledger.InsufficientCredit):
        held(workspace.pk, 1)


def test_a_reference_is_held_once_ever() -> None:
    workspace = new_workspace(bought=100)
    reference = held(workspace.pk, 60)
    for amount in (60, 10, 0, 1000):
        with pytest.raises(ledger.AlreadyHeld):
            ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount)
    ledger.release(reference=reference)
    with pytest.raises(ledger.AlreadyHeld):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=60)
    assert ledger.balance(workspace.pk).available_micros == 100


def test_negative_amounts_are_refused() -> None:
    workspace = new_workspace(bought=100)
    reference = held(workspace.pk, 10)
    with pytest.raises(ValueError, match="zero or more"):
        held(workspace.pk, -1)
    with pytest.raises(ValueError, match="zero or more"):
        ledger.capture(reference=reference, amount_micros=-1, share=None, usage=USAGE)
    with pytest.raises(ValueError, match="zero or more"):
        ledger.set_limit(
            workspace_id=workspace.pk, scope=ledger.SpendScope("key", "1"), period="day", limit_micros=-1
        )


def test_a_capture_charges_returns_the_rest_and_records_the_usage() -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    reference = held(workspace.pk, 333)
    share = ledger.Share(publisher.pk, Decimal("0.8"))
    usage = ledger.Usage(
        "maker/vase", "succeeded", {"amount_micros": 111}, {"image": "1"}, key_id=3, user_id=4
    )
    charge = ledger.capture(reference=reference, amount_micros=111, share=share, usage=usage)
    assert charge == ledger.Charge(reference, 111, 88, 88, 23, 222)
    assert ledger.balance(workspace.pk) == ledger.Balance(889, 0, 889, 0)
    assert account_sum("publisher_pending", publisher=publisher.pk) == 88
    assert account_sum("platform_revenue") == 23
    record = UsageRecord.objects.get(reference=reference)
    assert (record.amount_micros, record.model, record.key_id, record.user_id) == (111, "maker/vase", 3, 4)
    assert record.quote == {"amount_micros": 111}
    assert record.units == {"image": "1"}
    assert ledger.capture(reference=reference, amount_micros=5, share=None, usage=USAGE) == charge
    assert UsageRecord.objects.count() == 1


def test_what_granted_credit_or_the_own_workspace_earns_is_never_payable() -> None:
    publisher = new_publisher()
    workspace = new_workspace(granted=50, bought=100)
    mixed = ledger.capture(
        reference=held(workspace.pk, 120),
        amount_micros=101,
        share=ledger.Share(publisher.pk, Decimal("0.8")),
        usage=USAGE,
    )
    assert (mixed.share_micros, mixed.payable_share_micros) == (80, 40)
    own = new_workspace(bought=1000)
    charge = ledger.capture(
        reference=held(own.pk, 1000),
        amount_micros=1000,
        share=ledger.Share(new_publisher(own).pk, Decimal("0.8"), own_workspace=True),
        usage=USAGE,
    )
    assert (charge.share_micros, charge.payable_share_micros, charge.fee_micros) == (800, 0, 200)
    assert account_sum("publisher_unpayable") == 40 + 800
    assert account_sum("publisher_pending") == 40


def test_capture_and_release_exclude_each_other() -> None:
    workspace = new_workspace(bought=100)
    captured, released = held(workspace.pk, 50), held(workspace.pk, 50)
    with transaction.atomic():
        ledger.capture(reference=captured, amount_micros=20, share=None, usage=USAGE)
        ledger.release(reference=released)
        with pytest.raises(ledger.AlreadySettled) as error:
            ledger.release(reference=captured)
        assert error.value.state == "captured"
        with pytest.raises(ledger.AlreadySettled) as error:
            ledger.capture(reference=released, amount_micros=20, share=None, usage=USAGE)
        assert error.value.state == "released"
    assert ledger.balance(workspace.pk) == ledger.Balance(80, 0, 80, 0)


def test_a_capture_never_exceeds_its_hold() -> None:
    workspace = new_workspace(bought=100)
    reference = held(workspace.pk, 50)
    with transaction.atomic():
        with pytest.raises(ledger.CaptureExceedsHold):
            ledger.capture(reference=reference, amount_micros=51, share=None, usage=USAGE)
        assert not UsageRecord.objects.exists()
        ledger.capture(reference=reference, amount_micros=50, share=None, usage=USAGE)


def test_what_was_never_held_cannot_be_settled() -> None:
    for settle in (
        lambda: ledger.release(reference=uuid4()),
        lambda: ledger.capture(reference=uuid4(), amount_micros=0, share=None, usage=USAGE),
    ):
        with pytest.raises(ledger.NoSuchHold):
            settle()


@pytest.mark.parametrize("credit", [0, 100])
def test_free_runs_hold_and_charge_nothing(credit: int) -> None:
    workspace = new_workspace(bought=credit)
    scope = ledger.SpendScope("workspace", str(workspace.pk))
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="day", limit_micros=0)
    free, dropped = held(workspace.pk, 0, limits=[scope]), held(workspace.pk, 0)
    share = ledger.Share(new_publisher().pk, Decimal("0.8"))
    assert ledger.capture(reference=free, amount_micros=0, share=share, usage=USAGE) == ledger.Charge(
        free, 0, 0, 0, 0, 0
    )
    assert ledger.capture(reference=free, amount_micros=0, share=share, usage=USAGE).amount_micros == 0
    assert ledger.release(reference=dropped, usage=ledger.Usage("maker/vase", "canceled"))
    assert UsageRecord.objects.count() == 2
    assert ledger.balance(workspace.pk).available_micros == credit


def test_books_never_meet(settings: object) -> None:
    workspace = new_workspace(bought=100)
    ledger.credit(workspace.pk, 900, key="promo:live", book="live")
    reference = held(workspace.pk, 900, book="live")
    with pytest.raises(ledger.InsufficientCredit):
        held(workspace.pk, 101)
    ledger.capture(reference=reference, amount_micros=900, share=None, usage=USAGE)
    assert ledger.balance(workspace.pk).available_micros == 100
    assert ledger.balance(workspace.pk, book="live") == ledger.Balance(0, 0, 0, 0)


def test_limits_count_holds_and_get_back_what_is_not_charged() -> None:
    workspace = new_workspace(bought=10_000)
    key, member = ledger.SpendScope("key", "7"), ledger.SpendScope("member", "2")
    ledger.set_limit(workspace_id=workspace.pk, scope=key, period="day", limit_micros=100)
    ledger.set_limit(workspace_id=workspace.pk, scope=key, period="month", limit_micros=150)
    scopes = [key, member]
    first = held(workspace.pk, 60, limits=scopes, now=NOON)
    with pytest.raises(ledger.LimitReached) as error:
        held(workspace.pk, 41, limits=scopes, now=NOON)
    refused = error.value
    assert (refused.scope, refused.period) == (key, "day")
    assert (refused.limit_micros, refused.spent_micros) == (100, 60)
    assert refused.resets_at == datetime(2026, 5, 14, tzinfo=UTC)
    ledger.capture(reference=first, amount_micros=50, share=None, usage=USAGE)
    second = held(workspace.pk, 50, limits=scopes, now=NOON)
    ledger.release(reference=second)
    held(workspace.pk, 50, limits=scopes, now=NOON)
    held(workspace.pk, 1000, limits=[member], now=NOON)
    tomorrow = datetime(2026, 5, 14, tzinfo=UTC)
    held(workspace.pk, 50, limits=scopes, now=tomorrow)
    with pytest.raises(ledger.LimitReached) as error:
        held(workspace.pk, 1, limits=scopes, now=tomorrow)
    assert error.value.period == "month"
    assert error.value.resets_at == datetime(2026, 6, 1, tzinfo=UTC)
    assert SpendWindow.objects.count() == 3


def test_a_limit_that_changes_counts_at_once_and_one_removed_is_forgotten() -> None:
    workspace, other = new_workspace(bought=1000), new_workspace(bought=1000)
    scope = ledger.SpendScope("model", "maker/vase")
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=10)
    reference = held(workspace.pk, 10, limits=[scope])
    held(other.pk, 500, limits=[scope])
    with pytest.raises(ledger.LimitReached) as error:
        held(workspace.pk, 1, limits=[scope])
    assert error.value.resets_at is None
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=11)
    held(workspace.pk, 1, limits=[scope])
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=None)
    held(workspace.pk, 500, limits=[scope])
    assert ledger.release(reference=reference)
    assert SpendWindow.objects.get().spent_micros == 1


def test_the_smallest_of_several_limits_refuses_and_counts_nothing_anywhere() -> None:
    workspace = new_workspace(bought=1000)
    wide, narrow = ledger.SpendScope("workspace", "1"), ledger.SpendScope("key", "1")
    ledger.set_limit(workspace_id=workspace.pk, scope=wide, period="week", limit_micros=500)
    ledger.set_limit(workspace_id=workspace.pk, scope=narrow, period="week", limit_micros=5)
    with pytest.raises(ledger.LimitReached) as error:
        held(workspace.pk, 6, limits=[wide, narrow])
    assert error.value.scope == narrow
    assert set(SpendWindow.objects.values_list("spent_micros", flat=True)) == {0}
    with pytest.raises(ledger.InsufficientCredit):
        held(new_workspace().pk, 5, limits=[wide, narrow])


def test_a_limit_needs_a_known_scope_and_period() -> None:
    for scope, period in ((ledger.SpendScope("planet", "1"), "day"), (ledger.SpendScope("key", "1"), "year")):
        with pytest.raises(ValueError, match="no limit on"):
            ledger.set_limit(workspace_id=1, scope=scope, period=period, limit_micros=1)


@pytest.mark.parametrize(
    ("period", "starts", "ends"),
    [
        ("day", datetime(2026, 5, 13, tzinfo=UTC), datetime(2026, 5, 14, tzinfo=UTC)),
        ("week", datetime(2026, 5, 11, tzinfo=UTC), datetime(2026, 5, 18, tzinfo=UTC)),
        ("month", datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        ("lifetime", datetime(1970, 1, 1, tzinfo=UTC), None),
    ],
)
def test_periods(period: str, starts: datetime, ends: datetime | None) -> None:
    assert window_start(period, NOON) == starts
    assert window_start(period, starts) == starts
    assert window_end(period, starts) == ends


def test_the_audit_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    workspace = new_workspace(bought=1000)
    call_command("ledger", "verify")
    assert "clean" in capsys.readouterr().out
    with transaction.atomic():
        LedgerAccount.objects.filter(kind="workspace_bought", workspace=workspace).update(balance_micros=999)
        with pytest.raises(CommandError, match=f"workspace_bought:{workspace.pk}: cached 999, entries 1000"):
            call_command("ledger", "verify")
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("deed", "check"),
    [
        ("UPDATE billing_ledgeraccount SET open_bound = 0", "the bound of a workspace"),
        ("UPDATE billing_spendwindow SET spent_micros = spent_micros + 1", "a window counts"),
        (
            "UPDATE billing_spendwindow SET spent_micros = spent_micros + 1, before_micros = before_micros + 1",
            "what a window has from before",
        ),
    ],
)
def test_the_audit_recomputes_bounds_and_windows(deed: str, check: str) -> None:
    workspace, scope = new_workspace(bought=100), ledger.SpendScope("workspace", "1")
    ledger.capture(reference=held(workspace.pk, 10), amount_micros=10, share=None, usage=USAGE)
    for period in ("day", "week", "month", "lifetime"):
        ledger.set_limit(workspace_id=workspace.pk, scope=scope, period=period, limit_micros=99)
    held(workspace.pk, 10, limits=[scope])
    assert ledger.verify() == []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(deed)
        found = {problem.check for problem in ledger.verify()}
        transaction.set_rollback(True)
    assert [one[: len(check)] for one in found] == [check]
