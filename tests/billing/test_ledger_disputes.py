"""What a disputed payment had bought and was spent: borne by those who had it, made good for, and given back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from billing import ledger
from billing.ledger import bearing
from billing.models import DisputedShare
from marketplace.models import Publisher, Workspace
from tests.billing.cast import USAGE, new_publisher, new_workspace

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
PAID_AT = timezone.now() - 30 * DAY


def run(
    payer: Workspace, micros: int, publisher: Publisher | None = None, *, day: int = 1, part: str = "0.8"
) -> UUID:
    """A run so many days after the payment, of which its publisher gets four fifths."""
    reference, at = uuid4(), PAID_AT + day * DAY
    ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=micros, now=at)
    share = ledger.Share(publisher.pk, Decimal(part)) if publisher else None
    ledger.capture(reference=reference, amount_micros=micros, share=share, usage=USAGE, now=at)
    return reference


def withdraw(payer: Workspace, micros: int, name: str = "dp_1") -> ledger.Withdrawn:
    return ledger.dispute_withdrawn(name, payer.pk, micros, paid_at=PAID_AT)


def has(publisher: Publisher) -> tuple[int, int]:
    found = ledger.publisher_balance(publisher.pk)
    return found.pending_micros, found.payable_micros


def losses() -> int:
    return ledger.totals()["platform_losses"]


def test_the_newest_runs_bear_what_was_spent_and_nothing_of_it_can_be_paid_out() -> None:
    payer, old, new = new_workspace(bought=1_000), new_publisher(), new_publisher()
    run(payer, 500, old, day=-1)
    run(payer, 100, old, day=1)
    run(payer, 200, day=2)
    run(payer, 150, new, day=3)
    assert withdraw(payer, 400) == ledger.Withdrawn(50, 0, 230, is_new=True, shares_micros=120)
    # 350 were spent: 150 of the newest, 200 of which nobody had a share, and nothing of the oldest.
    assert (has(old), has(new), losses()) == ((480, 0), (120, -120), -230)
    assert withdraw(payer, 400) == ledger.Withdrawn(50, 0, 230, is_new=False, shares_micros=120)
    ledger.mature(delay=timedelta(0))
    assert (has(old), has(new)) == ((0, 480), (0, 0))
    with pytest.raises(ledger.InsufficientEarnings):
        ledger.payout_started(uuid4(), new.pk, 1)
    assert ledger.verify() == []
    assert ledger.dispute_reinstated("dp_1")
    assert (has(old), has(new), losses()) == ((0, 480), (0, 120), 0)
    assert not ledger.dispute_reinstated("dp_1")
    assert ledger.verify() == []


def test_what_was_paid_out_stays_paid() -> None:
    payer, maker, payout = new_workspace(bought=1_000), new_publisher(), uuid4()
    run(payer, 1_000, maker)
    ledger.mature(delay=timedelta(0))
    ledger.payout_started(payout, maker.pk, 700)
    ledger.payout_done(payout)
    assert withdraw(payer, 1_000).shares_micros == 100
    assert (has(maker), losses()) == ((0, 0), -900)
    assert ledger.verify() == []


def test_granted_credit_own_runs_and_refunds_are_not_counted() -> None:
    payer, maker = new_workspace(granted=300, bought=700), new_publisher()
    run(payer, 300, maker, day=1)  # granted credit is spent first
    run(payer, 500, maker, day=2)
    bad = run(payer, 200, maker, day=3)
    ledger.refund(bad, 100, key="bad", reason=ledger.RefundReason.FAULT)
    assert withdraw(payer, 700).shares_micros == 80 + 400
    assert has(maker) == (480, -480)
    assert ledger.verify() == []


def test_no_run_is_taken_for_two_disputes() -> None:
    payer, maker = new_workspace(bought=1_000), new_publisher()
    run(payer, 600, maker, day=1)
    run(payer, 400, maker, day=2)
    assert withdraw(payer, 300).shares_micros == 240
    run(new_workspace(bought=900), 900, maker, day=3)  # another buyer's is nobody's but its own
    assert withdraw(payer, 500, "dp_2").shares_micros == 400
    assert withdraw(payer, 900, "dp_3").shares_micros == 160
    assert has(maker) == (800 + 720, -800)
    assert ledger.dispute_reinstated("dp_2")
    assert has(maker) == (800 + 720, -400)
    assert ledger.verify() == []


def test_a_payment_from_after_a_dispute_is_borne_by_the_runs_it_paid_for() -> None:
    payer, maker = new_workspace(bought=1_000), new_publisher()
    run(payer, 1_000, maker, day=1)
    ledger.dispute_withdrawn("dp_1", payer.pk, 1_000, paid_at=PAID_AT, now=PAID_AT + 2 * DAY)
    ledger.credit(payer.pk, 1_000, source="bought", key="topup:2", now=PAID_AT + 3 * DAY)
    run(payer, 1_000, maker, day=4)
    second = ledger.dispute_withdrawn("dp_2", payer.pk, 1_000, paid_at=PAID_AT + 3 * DAY)
    assert (second.shares_micros, second.lost_micros) == (800, 200)
    assert (has(maker), losses()) == ((1_600, -1_600), -400)
    assert ledger.verify() == []


def test_a_run_that_ends_while_shares_are_taken_changes_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    payer, maker, other, late = new_workspace(bought=1_000), new_publisher(), new_publisher(), uuid4()
    run(payer, 700, maker)
    ledger.hold(workspace_id=payer.pk, reference=late, amount_micros=300)
    counted = bearing.Counted.shares

    def shares(self: bearing.Counted) -> list[tuple[int, int]]:
        found = counted(self)  # a capture of all that was held touches no credit, and so waits for nobody
        share = ledger.Share(other.pk, Decimal("0.8"))
        ledger.capture(reference=late, amount_micros=300, share=share, usage=USAGE)
        return found

    monkeypatch.setattr(bearing.Counted, "shares", shares)
    taken = withdraw(payer, 500)
    # The newest 500 are now 300 of the other's, whom this dispute came too early for, and 200 of the maker's.
    assert (taken.shares_micros, taken.lost_micros) == (160, 340)
    assert (has(maker), has(other), losses()) == ((560, -160), (240, 0), -340)
    assert ledger.verify() == []


def test_what_is_made_good_goes_to_those_who_bore_it() -> None:
    payer, maker, other = new_workspace(bought=1_000), new_publisher(), new_publisher()
    run(payer, 700, maker, day=1)
    run(payer, 300, other, day=2)
    withdraw(payer, 1_000)
    assert (ledger.dispute_owed("dp_1"), has(maker)[1], has(other)[1], losses()) == (1_000, -560, -240, -200)
    assert ledger.dispute_recovered("dp_1", payer.pk) == 0
    ledger.credit(payer.pk, 333, source="bought", key="topup:1")
    assert ledger.dispute_recovered("dp_1", payer.pk) == 333
    assert ledger.balance(payer.pk).available_micros == 0
    assert (ledger.dispute_owed("dp_1"), has(maker)[1], has(other)[1], losses()) == (667, -373, -160, -134)
    ledger.credit(payer.pk, 1_000, source="bought", key="topup:2")
    assert ledger.dispute_recovered("dp_1", payer.pk) == 667
    assert ledger.dispute_recovered("dp_1", payer.pk) == 0
    assert (ledger.dispute_owed("dp_1"), has(maker)[1], has(other)[1], losses()) == (0, 0, 0, 0)
    assert ledger.verify() == []
    # Lost, made good for, and won after all: the buyer has both payments, and everybody else what they had.
    assert ledger.dispute_reinstated("dp_1")
    assert ledger.balance(payer.pk).bought_micros == 333 + 1_000
    assert (ledger.dispute_owed("dp_1"), has(maker), has(other), losses()) == (0, (560, 0), (240, 0), 0)
    assert ledger.dispute_recovered("dp_1", payer.pk) == 0
    assert ledger.verify() == []


def give_back(reference: UUID, micros: int, key: str = "all") -> ledger.Refunded:
    return ledger.refund(reference, micros, key=key, reason=ledger.RefundReason.FAULT)


def test_a_run_that_is_given_back_after_a_dispute_took_its_share_costs_its_publisher_once() -> None:
    payer, maker, other = new_workspace(bought=1_000), new_publisher(), new_publisher()
    run(payer, 700, maker, day=1)
    bad = run(payer, 300, other, day=2)
    withdraw(payer, 1_000)
    # The bank gave the payment back already: what is given back of the run makes good for it, and is no credit.
    done = give_back(bad, 100, "part")
    assert (done.payable_share_micros, done.made_good_micros) == (80, 100)
    assert (has(other), ledger.dispute_owed("dp_1")) == ((160, -160), 900)
    assert give_back(bad, 100, "part") == replace(done, is_new=False, made_good_micros=0)
    assert give_back(bad, 200, "rest").made_good_micros == 200
    assert (has(other), has(maker), losses()) == ((0, 0), (560, -560), -140)
    assert (ledger.balance(payer.pk).available_micros, ledger.dispute_owed("dp_1")) == (0, 700)
    assert ledger.verify() == []
    # Won after all, everything is as if there had been the refund alone.
    assert ledger.dispute_reinstated("dp_1")
    assert (has(other), has(maker), losses()) == ((0, 0), (560, 0), 0)
    assert ledger.balance(payer.pk).bought_micros == 300
    assert ledger.verify() == []


def test_a_run_that_was_given_back_before_a_dispute_came_costs_its_publisher_once() -> None:
    payer, maker, other = new_workspace(bought=1_000), new_publisher(), new_publisher()
    run(payer, 700, maker, day=1)
    bad = run(payer, 300, other, day=2)
    give_back(bad, 200, "part")
    # Of what is there 200 goes first; of 800 that were spent the newest run has 100 left, the other one the rest.
    assert withdraw(payer, 1_000) == ledger.Withdrawn(200, 0, 160, is_new=True, shares_micros=640)
    assert (has(other), has(maker)) == ((80, -80), (560, -560))
    assert give_back(bad, 100, "rest").made_good_micros == 100
    assert (has(other), has(maker), losses()) == ((0, 0), (560, -560), -140)
    assert ledger.verify() == []
    assert ledger.dispute_reinstated("dp_1")
    assert (has(other), has(maker), losses()) == ((0, 0), (560, 0), 0)
    assert ledger.balance(payer.pk).bought_micros == 300
    assert ledger.verify() == []


def test_what_was_made_good_of_a_run_is_not_made_good_by_its_refund_again() -> None:
    payer, maker = new_workspace(bought=1_000), new_publisher()
    bad = run(payer, 1_000, maker)
    withdraw(payer, 1_000)
    ledger.credit(payer.pk, 500, source="bought", key="topup:1")
    assert ledger.dispute_recovered("dp_1", payer.pk) == 500
    done = give_back(bad, 1_000)
    assert (done.made_good_micros, ledger.dispute_owed("dp_1")) == (500, 0)
    assert (has(maker), losses(), ledger.balance(payer.pk).bought_micros) == ((0, 0), 0, 500)
    assert ledger.verify() == []
    assert ledger.dispute_reinstated("dp_1")
    assert (has(maker), losses(), ledger.balance(payer.pk).bought_micros) == ((0, 0), 0, 1_500)
    assert ledger.verify() == []


def test_of_two_disputes_that_have_parts_of_a_run_the_older_is_made_good_first() -> None:
    payer, maker = new_workspace(bought=1_000), new_publisher()
    bad = run(payer, 1_000, maker)
    withdraw(payer, 300)
    withdraw(payer, 500, "dp_2")
    assert give_back(bad, 500, "part").made_good_micros == 300
    assert (has(maker), ledger.dispute_owed("dp_1"), ledger.dispute_owed("dp_2")) == ((400, -400), 0, 500)
    assert ledger.balance(payer.pk).bought_micros == 200
    assert give_back(bad, 500, "rest").made_good_micros == 500
    assert (has(maker), losses()) == ((0, 0), 0)
    assert ledger.verify() == []
    with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
        DisputedShare.objects.update(left_micros=1)
    with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
        DisputedShare.objects.all().delete()


def test_the_platform_gets_no_more_back_than_it_bore() -> None:
    payer, makers = new_workspace(bought=3), [new_publisher() for _ in range(3)]
    for maker in makers:
        run(payer, 1, maker, part="1")
    assert withdraw(payer, 3).lost_micros == 0
    for number in range(3):
        ledger.credit(payer.pk, 1, source="bought", key=f"topup:{number}")
        assert ledger.dispute_recovered("dp_1", payer.pk) == 1
        assert ledger.dispute_owed("dp_1") == 2 - number
        assert losses() <= 0
        assert ledger.verify() == []
    assert ([has(maker) for maker in makers], losses()) == ([(1, 0)] * 3, 0)


def test_a_publisher_does_not_learn_whose_dispute_it_was() -> None:
    payer, maker = new_workspace(bought=100), new_publisher()
    run(payer, 100, maker)
    withdraw(payer, 100)
    ledger.credit(payer.pk, 50, source="bought", key="topup:1")
    ledger.dispute_recovered("dp_1", payer.pk)
    ledger.dispute_reinstated("dp_1")
    seen = "".join(ledger.export_publisher(maker.pk, maker.public_id))
    assert seen.count('"kind":"dispute"') == 2
    assert seen.count('"kind":"reinstated"') == 1
    assert "workspace" not in seen
    assert str(payer.public_id) not in seen


def test_more_recoveries_than_are_looked_for_at_once() -> None:
    payer = new_workspace(bought=100)
    run(payer, 100)
    withdraw(payer, 100)
    for number in range(45):
        ledger.credit(payer.pk, 1, source="bought", key=f"topup:{number}")
        assert ledger.dispute_recovered("dp_1", payer.pk) == 1
    assert ledger.dispute_owed("dp_1") == 55
    assert ledger.verify() == []


def test_a_refund_at_stripe_is_the_operators_and_takes_no_share() -> None:
    payer, maker = new_workspace(bought=100), new_publisher()
    run(payer, 100, maker)
    assert ledger.dispute_withdrawn("re_1", payer.pk, 100) == ledger.Withdrawn(0, 0, 100, is_new=True)
    assert has(maker) == (80, 0)


def test_granted_credit_that_a_dispute_took_ends_as_it_would_have() -> None:
    workspace, began = new_workspace(), PAID_AT
    end = began + timedelta(days=30)
    ledger.credit(workspace.pk, 40, key="coupon:1", expires_at=end, now=began)
    ledger.dispute_withdrawn("dp_1", workspace.pk, 30, now=began)
    assert ledger.dispute_reinstated("dp_1", now=began + timedelta(days=1))
    assert ledger.expire_grants(now=end - timedelta(seconds=1)) == 0
    assert ledger.expire_grants(now=end) == 40
    assert ledger.balance(workspace.pk).granted_micros == 0
