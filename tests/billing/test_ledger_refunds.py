"""A charge given back: what goes where, how often, and never more of it than was charged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from billing import ledger, usage
from billing.models import Grant, Refund, SpendWindow, UsageDay, UsageRecord
from billing.usage import Group
from marketplace.models import Publisher, Workspace
from tests.billing.cast import new_publisher, new_workspace

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)
SHARE = Decimal("0.8")


@pytest.fixture(autouse=True)
def books_are_clean(db: None) -> Iterator[None]:
    yield
    if not connection.needs_rollback:
        assert ledger.verify() == []


def charged(
    workspace: Workspace,
    amount: int,
    *,
    publisher: Publisher | None = None,
    own: bool = False,
    fraction: Decimal = SHARE,
    at: datetime = NOON,
    **more: object,
) -> UUID:
    reference = uuid4()
    share = ledger.Share(publisher.pk, fraction, own_workspace=own) if publisher else None
    said = ledger.Usage("maker/vase", "succeeded", key_id=7, user_id=3, occurred_at=at)
    ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=amount, now=at, **more)
    ledger.capture(reference=reference, amount_micros=amount, share=share, usage=said, now=at)
    return reference


def give_back(reference: UUID, amount: int, **more: object) -> ledger.Refunded:
    asked = {"key": str(uuid4()), "reason": "fault", "by": 3, "now": NOON, **more}
    return ledger.refund(reference, amount, **asked)


def test_a_whole_refund_undoes_the_charge() -> None:
    workspace, publisher = new_workspace(granted=50, bought=1000), new_publisher()
    before = ledger.totals()
    reference = charged(workspace, 250, publisher=publisher)
    done = give_back(reference, 250)
    assert (done.amount_micros, done.granted_micros, done.bought_micros) == (250, 50, 200)
    assert (done.share_micros, done.payable_share_micros, done.fee_micros) == (200, 160, 50)
    assert (done.total_micros, done.charged_micros, done.is_new) == (250, 250, True)
    assert ledger.totals() == before
    assert ledger.balance(workspace.pk) == ledger.Balance(1050, 0, 1050, 50)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(0, 0, 0, 0, 0)


def test_bought_credit_comes_back_first_and_with_it_the_payable_share() -> None:
    workspace, publisher = new_workspace(granted=50, bought=50), new_publisher()
    reference = charged(workspace, 100, publisher=publisher)
    first = give_back(reference, 50)
    assert (first.bought_micros, first.payable_share_micros, first.share_micros) == (50, 40, 40)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(0, 0, 0, 40, 0)
    second = give_back(reference, 25)
    assert (second.granted_micros, second.payable_share_micros, second.share_micros) == (25, 0, 20)
    assert ledger.balance(workspace.pk) == ledger.Balance(75, 0, 75, 25)


def test_many_small_refunds_come_to_what_one_large_one_does() -> None:
    publisher = new_publisher()
    for granted, bought, own, fraction in (
        (0, 97, False, Decimal("0.333")),
        (3, 94, False, Decimal("0.5")),
        (60, 37, False, Decimal("0.999")),
        (96, 1, False, Decimal("0.7")),
        (40, 57, True, Decimal("0.8")),
        (97, 0, False, Decimal(1)),
        (97, 0, False, Decimal(0)),
    ):
        workspace = new_workspace(granted=granted, bought=bought)
        before = ledger.totals()
        reference = charged(workspace, 97, publisher=publisher, own=own, fraction=fraction)
        for amount in (1, 1, 30, 2, 62, 1):
            done = give_back(reference, amount)
            assert 0 <= done.payable_share_micros <= done.share_micros <= amount
        assert ledger.totals() == before
        assert ledger.balance(workspace.pk) == ledger.Balance(97, 0, 97, granted)


def test_no_more_is_given_back_than_was_charged() -> None:
    workspace = new_workspace(bought=100)
    reference = charged(workspace, 60)
    with transaction.atomic():
        with pytest.raises(ledger.RefundExceedsCharge) as error:
            give_back(reference, 61)
        assert error.value.left_micros == 60
        give_back(reference, 40)
        with pytest.raises(ledger.RefundExceedsCharge) as error:
            give_back(reference, 10**18)
        assert error.value.left_micros == 20
        give_back(reference, 20)
    with pytest.raises(ledger.RefundExceedsCharge):
        give_back(reference, 1)
    assert ledger.balance(workspace.pk).available_micros == 100


def test_what_was_not_charged_is_not_refunded() -> None:
    workspace = new_workspace(bought=100)
    open_, released, free = uuid4(), uuid4(), charged(workspace, 0)
    for reference in (open_, released):
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=10)
    ledger.release(reference=released)
    for reference in (open_, released, free):
        with pytest.raises(ledger.RefundExceedsCharge):
            give_back(reference, 1)
    with pytest.raises(ledger.NoSuchHold):
        give_back(uuid4(), 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 0},
        {"amount": -5},
        {"reason": "because"},
        {"reason": ""},
        {"side": "buyer"},
        {"key": ""},
        {"key": "x" * 181},
    ],
)
def test_a_refund_is_positive_and_has_a_key_and_a_known_reason(wrong: dict[str, object]) -> None:
    reference = charged(new_workspace(bought=100), 60)
    with pytest.raises(ValueError, match="refund"):
        give_back(reference, wrong.pop("amount", 5), **wrong)
    assert not Refund.objects.exists()
    give_back(reference, 5, key="x" * 180, note="n" * 600, side="publisher", reason="goodwill", by=9)
    row = Refund.objects.get()
    assert (row.note, row.side, row.reason, row.by_user_id) == ("n" * 500, "publisher", "goodwill", 9)


def test_a_refund_happens_once_per_key() -> None:
    workspace = new_workspace(bought=100)
    reference, other = charged(workspace, 30), charged(workspace, 30)
    first = give_back(reference, 10, key="one")
    again = give_back(reference, 10, key="one", reason="goodwill")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.amount_micros == again.total_micros == 10
    for changed, amount in ((reference, 11), (other, 10)):
        with pytest.raises(ledger.KeyReused):
            give_back(changed, amount, key="one")
    assert Refund.objects.get().reason == "fault"
    assert ledger.balance(workspace.pk).available_micros == 50


def test_what_has_matured_is_taken_from_what_is_payable_even_below_zero() -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    old, young = charged(workspace, 100, publisher=publisher), uuid4()
    young = charged(workspace, 200, publisher=publisher, at=NOON + timedelta(days=9))
    assert ledger.mature(publisher.pk, delay=timedelta(days=7), now=NOON + timedelta(days=10)) == 80
    payout = uuid4()
    assert ledger.payout_started(payout, publisher.pk, 80)
    assert ledger.payout_done(payout)
    later = NOON + timedelta(days=11)
    assert give_back(old, 50, now=later).payable_share_micros == 40
    give_back(young, 100, now=later)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(80, -40, 0, 0, 80)
    assert ledger.maturing(publisher.pk) == {date(2026, 5, 22): 80}
    # The next earnings make up for it first.
    assert ledger.mature(publisher.pk, delay=timedelta(days=7), now=NOON + timedelta(days=17)) == 80
    assert ledger.publisher_balance(publisher.pk).payable_micros == 40
    with pytest.raises(ledger.InsufficientEarnings):
        ledger.payout_started(uuid4(), publisher.pk, 41)


def test_a_refund_at_the_very_edge_of_what_has_matured_leaves_nothing_behind() -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    edge, after = (
        charged(workspace, 100, publisher=publisher, at=NOON + timedelta(microseconds=more))
        for more in (0, 1)
    )
    assert ledger.mature(publisher.pk, delay=timedelta(0), now=NOON) == 80
    give_back(edge, 50)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(80, 40, 0, 0, 0)
    give_back(after, 50)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(40, 40, 0, 0, 0)


def test_usage_shows_a_refund_on_its_own_day_and_the_past_stays() -> None:
    workspace = new_workspace(bought=1000)
    reference = charged(workspace, 100)
    later = datetime(2026, 6, 2, 9, tzinfo=UTC)
    give_back(reference, 60, now=later)
    give_back(reference, 15, now=later)
    may = usage.by(workspace.pk, Group.KEY, date(2026, 5, 1), date(2026, 5, 31))
    june = usage.by(workspace.pk, Group.KEY, date(2026, 6, 1), date(2026, 6, 30))
    assert may == {7: usage.Sums(1, 0, 100)}
    assert june == {7: usage.Sums(0, 0, 0, 75)}
    assert usage.refunds(workspace.pk, [reference]) == {reference: 75}
    assert UsageRecord.objects.get(reference=reference).amount_micros == 100


def test_limits_on_spending_do_not_get_the_amount_back() -> None:
    workspace, scope = new_workspace(bought=1000), ledger.SpendScope("key", "7")
    ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="lifetime", limit_micros=100)
    reference = charged(workspace, 100, limits=[scope])
    give_back(reference, 100)
    assert SpendWindow.objects.get().spent_micros == 100
    with pytest.raises(ledger.LimitReached):
        charged(workspace, 1, limits=[scope])


IN_A_MONTH = NOON + timedelta(days=30)


def grants(origin: str) -> list[tuple[datetime | None, int]]:
    """Of all grants of that origin in order: until when, and what is left."""
    rows = Grant.objects.filter(origin=origin).order_by("pk")
    return [(one.expires_at, one.left_micros) for one in rows]


def test_granted_credit_that_comes_back_ends_when_what_it_was_spent_of_does() -> None:
    workspace = new_workspace()
    ledger.credit(workspace.pk, 100, key="promo:start", now=NOON)
    charged(workspace, 100)  # spent before the coupon came: nothing comes back to it
    ledger.credit(workspace.pk, 100, key="coupon:1", expires_at=IN_A_MONTH, now=NOON + timedelta(hours=1))
    reference = charged(workspace, 80, at=NOON + timedelta(hours=2))
    give_back(reference, 30, now=NOON + timedelta(hours=3))
    give_back(reference, 50, now=NOON + timedelta(hours=3))
    assert grants("refund") == [(IN_A_MONTH, 30), (IN_A_MONTH, 50)]
    assert ledger.expire_grants(now=IN_A_MONTH - timedelta(seconds=1)) == 0
    assert ledger.expire_grants(now=IN_A_MONTH) == 100
    assert ledger.balance(workspace.pk).granted_micros == 0


def test_what_comes_back_is_as_if_it_had_not_been_spent() -> None:
    """Of two grants the one that lasts was spent last, so it is whole again first, and each only once."""
    workspace = new_workspace()
    ledger.credit(workspace.pk, 100, key="promo:start", now=NOON)
    ledger.credit(workspace.pk, 40, key="coupon:1", expires_at=IN_A_MONTH, now=NOON)
    first, second = charged(workspace, 35), charged(workspace, 25)
    give_back(first, 30)
    assert grants("refund") == [(None, 20), (IN_A_MONTH, 10)]
    give_back(second, 25)
    assert grants("refund")[2:] == [(IN_A_MONTH, 25)]
    assert ledger.verify() == []
    assert ledger.expire_grants(now=IN_A_MONTH) == 35
    assert ledger.balance(workspace.pk).granted_micros == 100


def test_what_comes_back_of_a_grant_that_has_ended_can_be_spent_for_a_week() -> None:
    workspace = new_workspace()
    ledger.credit(workspace.pk, 100, key="coupon:1", expires_at=NOON + timedelta(days=1), now=NOON)
    reference = charged(workspace, 60)
    late = NOON + timedelta(days=3)
    assert ledger.expire_grants(now=late) == 40  # what expired was not spent: it does not come back
    give_back(reference, 60, now=late)
    assert grants("refund") == [(late + timedelta(days=7), 60)]
    assert ledger.expire_grants(now=late + timedelta(days=7)) == 60
    give_back(charged(new_workspace(granted=5), 5), 5)
    assert grants("refund")[1:] == [(None, 5)]


def test_credit_that_came_after_the_charge_is_not_what_was_charged() -> None:
    workspace = new_workspace()
    ledger.credit(workspace.pk, 50, key="coupon:1", expires_at=IN_A_MONTH, now=NOON)
    reference = charged(workspace, 50)
    later = NOON + timedelta(hours=1)
    ledger.credit(workspace.pk, 50, key="promo:later", now=later)
    charged(workspace, 50, at=later)
    give_back(reference, 50, now=later)
    assert grants("refund") == [(IN_A_MONTH, 50)]


def test_a_refund_is_not_edited() -> None:
    give_back(charged(new_workspace(bought=100), 60), 10)
    for attempt in (
        lambda: Refund.objects.update(amount_micros=1),
        lambda: Refund.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
            attempt()


def test_verify_sees_a_refund_that_does_not_agree() -> None:
    reference = charged(new_workspace(bought=100), 60)
    with transaction.atomic():
        give_back(reference, 10)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE billing_refund DISABLE TRIGGER refund_append_only")
        Refund.objects.update(amount_micros=61)
        UsageDay.objects.update(refunded_micros=9)
        checks = {problem.check for problem in ledger.verify()}
        transaction.set_rollback(True)
    assert checks == {
        "a refund is what its movement moved",
        "no more was refunded than was charged",
        "a day of usage is the sum of its refunds",
    }
