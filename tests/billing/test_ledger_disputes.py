"""What a disputed payment had bought and was spent: borne by those who had it, made good for, and given back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing import ledger
from billing.ledger import bearing
from billing.models import DisputedPayment, DisputedShare
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
    # What counted for one that is won counts for another that has more to be counted, and is taken from nobody twice.
    assert ledger.dispute_reinstated("dp_2")
    assert has(maker) == (800 + 720, -800)
    assert ledger.dispute_reinstated("dp_3")
    assert has(maker) == (800 + 720, -240)
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
    read = bearing.runs

    def runs(*args: Any, **more: Any) -> Any:
        # A capture of all that was held touches no credit, and so waits for nobody.
        share = ledger.Share(other.pk, Decimal("0.8"))
        ledger.capture(reference=late, amount_micros=300, share=share, usage=USAGE)
        return read(*args, **more)

    monkeypatch.setattr(bearing, "runs", runs)
    taken = withdraw(payer, 500)
    # It ended after the payment was disputed: it is left to whom it is of.
    assert (taken.shares_micros, taken.lost_micros) == (400, 100)
    assert (has(maker), has(other), losses()) == ((560, -400), (240, 0), -100)
    assert ledger.verify() == []


def paid_twice() -> tuple[Workspace, Publisher, Publisher, dict[str, tuple[int, timedelta]]]:
    """A payment of 400 and its run, then one of 600 and its run; and what either dispute would be of."""
    payer, old, new = new_workspace(bought=1_000), new_publisher(), new_publisher()
    run(payer, 400, old, day=1)
    run(payer, 600, new, day=3)
    return payer, old, new, {"dp_first": (400, timedelta(0)), "dp_second": (600, 2 * DAY)}


@pytest.mark.parametrize("order", [["dp_first", "dp_second"], ["dp_second", "dp_first"]])
@pytest.mark.parametrize("wins", ["", "dp_first", "dp_second"])
def test_disputes_that_overlap_in_runs_spare_nobody_in_whatever_order(order: list[str], wins: str) -> None:
    payer, old, new, payments = paid_twice()
    for name in order:
        micros, later = payments[name]
        ledger.dispute_withdrawn(name, payer.pk, micros, paid_at=PAID_AT + later)
        assert ledger.verify() == []
    assert (has(old), has(new), losses()) == ((320, -320), (480, -480), -200)
    if wins:
        assert ledger.dispute_reinstated(wins)
        # Of the one that is left the newest runs bear what was spent, as if it had been the only one.
        left = {"dp_first": (0, -480), "dp_second": (0, -320)}[wins]
        assert (has(old)[1], has(new)[1]) == left
        assert ledger.verify() == []
    for name in order:
        ledger.dispute_reinstated(name)
    assert (has(old), has(new), losses()) == ((320, 0), (480, 0), 0)
    assert ledger.balance(payer.pk).available_micros == 0
    assert ledger.verify() == []


@pytest.mark.parametrize("order", [["dp_first", "dp_second"], ["dp_second", "dp_first"]])
def test_what_was_made_good_of_one_dispute_is_not_asked_for_by_another(order: list[str]) -> None:
    payer, old, new, payments = paid_twice()

    def dispute(name: str) -> None:
        micros, later = payments[name]
        ledger.dispute_withdrawn(name, payer.pk, micros, paid_at=PAID_AT + later)

    dispute(order[0])
    dispute(order[1])
    ledger.credit(payer.pk, 300, source="bought", key="topup:1")
    assert ledger.dispute_recovered("dp_second", payer.pk) == 300
    assert (has(old)[1], has(new)[1], losses()) == (-320, -240, -140)
    assert ledger.dispute_reinstated("dp_first")
    assert (has(old)[1], has(new)[1], losses()) == (0, -240, -60)
    assert ledger.verify() == []


def test_what_an_older_dispute_found_unspent_was_the_newer_payments() -> None:
    """100, spent; then 100, of which 60 are spent: the first dispute finds 40 unspent, which the second pays for."""
    payer, old, new = new_workspace(bought=200), new_publisher(), new_publisher()
    run(payer, 100, old, day=1)
    run(payer, 60, new, day=3)
    first = ledger.dispute_withdrawn("dp_1", payer.pk, 100, paid_at=PAID_AT, now=PAID_AT + 4 * DAY)
    assert (first.bought_micros, first.shares_micros) == (40, 48)
    second = ledger.dispute_withdrawn("dp_2", payer.pk, 100, paid_at=PAID_AT + 2 * DAY)
    assert second.owed_micros == 100
    assert (has(old), has(new), losses()) == ((80, -80), (48, -48), -32)
    assert ledger.verify() == []
    assert ledger.dispute_reinstated("dp_1")
    assert (has(old)[1], has(new)[1], losses()) == (0, -48, -52)
    assert ledger.verify() == []


def test_what_a_publisher_did_not_have_is_not_asked_for_by_the_next_dispute() -> None:
    payer, maker, payout = new_workspace(bought=1_000), new_publisher(), uuid4()
    run(payer, 400, maker, day=1)
    run(payer, 600, maker, day=3)
    ledger.mature(delay=timedelta(0))
    ledger.payout_started(payout, maker.pk, 700)
    ledger.payout_done(payout)
    assert withdraw(payer, 600).shares_micros == 100
    run(new_workspace(bought=5_000), 5_000, maker, day=4)
    # Of the newest run 380 had been paid out by then; of the other one nothing counted.
    assert withdraw(payer, 400, "dp_2").shares_micros == 320
    assert has(maker) == (4_000, 100 - 100 - 320)
    assert ledger.verify() == []


@pytest.mark.parametrize("of", ["nobody", "a share of nothing", "themselves"])
def test_a_run_that_nobody_had_a_share_of_makes_good_all_the_same(of: str) -> None:
    payer = new_workspace(bought=1_000)
    maker = None if of == "nobody" else new_publisher(payer)
    bad, at = uuid4(), PAID_AT + DAY
    ledger.hold(workspace_id=payer.pk, reference=bad, amount_micros=600, now=at)
    part = Decimal(0) if of == "a share of nothing" else Decimal("0.8")
    share = ledger.Share(maker.pk, part, own_workspace=of == "themselves") if maker else None
    ledger.capture(reference=bad, amount_micros=600, share=share, usage=USAGE, now=at)
    assert withdraw(payer, 1_000) == ledger.Withdrawn(400, 0, 600, is_new=True)
    # The bank gave the payment back already.
    assert give_back(bad, 250, "part").made_good_micros == 250
    assert give_back(bad, 350, "rest").made_good_micros == 350
    assert (ledger.balance(payer.pk).available_micros, ledger.dispute_owed("dp_1"), losses()) == (0, 0, 0)
    assert ledger.verify() == []
    assert ledger.dispute_reinstated("dp_1")
    assert ledger.balance(payer.pk).bought_micros == 1_000
    assert ledger.verify() == []


@pytest.mark.parametrize("comes", ["refund", "release", "capture"])
def test_bought_credit_that_comes_back_of_a_run_makes_good_for_a_lost_dispute(comes: str) -> None:
    payer, maker, held = new_workspace(granted=50, bought=1_000), new_publisher(), uuid4()
    early = run(payer, 250, maker, day=-1)  # 50 of it are granted
    run(payer, 400, maker)
    ledger.hold(workspace_id=payer.pk, reference=held, amount_micros=400)
    withdraw(payer, 500)
    ledger.dispute_lost("dp_1")
    assert ledger.make_good(payer.pk) == 0
    assert (ledger.owed(payer.pk), has(maker)[1]) == (500, -320)
    if comes == "refund":
        assert give_back(early, 250).made_good_micros == 200
    elif comes == "release":
        assert ledger.release(reference=held)
    else:
        ledger.capture(reference=held, amount_micros=200, share=None, usage=USAGE)
    back = 400 if comes == "release" else 200
    assert (ledger.owed(payer.pk), has(maker)[1]) == (500 - back, -320 + 320 * back // 500)
    assert ledger.balance(payer.pk).bought_micros == 0
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


def test_of_the_largest_runs_too_what_earlier_disputes_took_is_written_down() -> None:
    payer, maker = new_workspace(bought=5_000_000_000), new_publisher()
    run(payer, 5_000_000_000, maker)
    withdraw(payer, 5_000_000_000)
    DisputedShare.objects.update(counted_micros=0, unpaid_micros=0)
    with connection.cursor() as cursor:
        cursor.execute(import_module("billing.migrations.0018_disputed_payments").PAST)
    row = DisputedShare.objects.get()
    assert (row.counted_micros, row.unpaid_micros) == (5_000_000_000, 5_000_000_000)
    assert ledger.verify() == []


def test_who_owes_nothing_pays_no_statement_for_it(django_assert_num_queries: Any) -> None:
    """Neither does who was disputed, and has made good for it."""
    payer, maker = new_workspace(bought=1_000), new_publisher()
    run(payer, 500, maker)
    withdraw(payer, 600)
    ledger.dispute_lost("dp_1")
    ledger.credit(payer.pk, 400, source="bought", key="topup:1")
    assert ledger.make_good(payer.pk) == 100
    held = [uuid4() for _ in range(4)]
    for reference in held:
        ledger.hold(workspace_id=payer.pk, reference=reference, amount_micros=50)
    with django_assert_num_queries(2):
        assert ledger.release(reference=held[0])
    with django_assert_num_queries(2):
        ledger.capture(reference=held[1], amount_micros=10, share=None, usage=USAGE)
    # Who owes something again makes good with what comes.
    withdraw(payer, 1_000, "dp_2")
    ledger.dispute_lost("dp_2")
    assert ledger.release(reference=held[2])
    ledger.capture(reference=held[3], amount_micros=10, share=None, usage=USAGE)
    assert ledger.balance(payer.pk).bought_micros == 0
    assert ledger.owed(payer.pk) == 1_000 - 190 - 50 - 40
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
        DisputedShare.objects.update(reference=uuid4())
    with pytest.raises(DatabaseError, match="are not edited"), transaction.atomic():
        DisputedPayment.objects.update(left_micros=1)
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
