"""Real threads on real connections, all at once: what was promised to one is never given to two."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from threading import Barrier, Event, Thread
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from billing import ledger
from billing.models import Hold, LedgerTransaction, SealedTransaction, SpendWindow, UsageRecord
from tests.billing.cast import USAGE, new_publisher, new_workspace

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 16
SOAK = int(os.environ.get("SOAK", "1"))  # so many times as long; `make soak` sets it
REFUSALS = (
    ledger.InsufficientCredit,
    ledger.LimitReached,
    ledger.AlreadyHeld,
    ledger.AlreadySettled,
    ledger.KeyReused,
    ledger.RefundExceedsCharge,
    ledger.RefundExceedsCredit,
    ledger.InsufficientEarnings,
    ledger.PayoutSettled,
    ledger.TopupRefundSettled,
    ledger.NoSuchDispute,
)


def all_at_once(calls: Sequence[Callable[[], object]], *, whole: bool = True) -> list[object]:
    """Runs the calls on 16 connections that start together; results in order, refusals as their class names.

    Each is a transaction, unless they are not `whole`: then they have their own.
    """
    barrier = Barrier(min(THREADS, len(calls)))

    def work(mine: Sequence[tuple[int, Callable[[], object]]]) -> list[tuple[int, object]]:
        connection.ensure_connection()
        barrier.wait()
        done: list[tuple[int, object]] = []
        try:
            for at, call in mine:
                try:
                    with transaction.atomic() if whole else nullcontext():
                        done.append((at, call()))
                except REFUSALS as refusal:
                    done.append((at, type(refusal).__name__))
        finally:
            connection.close()
        return done

    numbered = list(enumerate(calls))
    with ThreadPoolExecutor(barrier.parties) as pool:
        parts = pool.map(work, [numbered[start :: barrier.parties] for start in range(barrier.parties)])
        return [result for _, result in sorted(pair for part in parts for pair in part)]


def holding(workspace_id: int, reference: UUID, amount: int, **more: object) -> Callable[[], object]:
    return lambda: ledger.hold(workspace_id=workspace_id, reference=reference, amount_micros=amount, **more)


def test_two_hundred_holds_against_credit_for_fifty() -> None:
    workspace = new_workspace(granted=20 * 300 + 100, bought=30 * 300 - 100)
    results = Counter(all_at_once([holding(workspace.pk, uuid4(), 300) for _ in range(200)]))
    assert results == {None: 50, "InsufficientCredit": 150}
    assert ledger.balance(workspace.pk) == ledger.Balance(15_000, 15_000, 0, 0)
    assert ledger.verify() == []


def test_a_limit_for_fifty_lets_fifty_through() -> None:
    workspace = new_workspace(bought=1_000_000)
    scopes = [ledger.SpendScope("key", "1"), ledger.SpendScope("member", "1")]
    for scope, amount in zip(scopes, (5000, 5050), strict=True):
        ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="day", limit_micros=amount)
    results = Counter(all_at_once([holding(workspace.pk, uuid4(), 100, limits=scopes) for _ in range(120)]))
    assert results == {None: 50, "LimitReached": 70}
    assert set(SpendWindow.objects.values_list("spent_micros", flat=True)) == {5000}
    assert ledger.verify() == []


def test_the_same_hold_from_everywhere_is_held_once() -> None:
    workspace = new_workspace(bought=10_000)
    reference = uuid4()
    results = Counter(all_at_once([holding(workspace.pk, reference, 100) for _ in range(32)]))
    assert results == {None: 1, "AlreadyHeld": 31}
    assert ledger.balance(workspace.pk).held_micros == 100


def test_the_same_credit_from_everywhere_is_added_once() -> None:
    workspace = new_workspace()  # its accounts are opened in the race, too
    calls = [lambda: ledger.credit(workspace.pk, 700, source="bought", key="topup:one") for _ in range(32)]
    assert Counter(all_at_once(calls)) == {True: 1, False: 31}
    assert ledger.balance(workspace.pk).available_micros == 700
    assert ledger.verify() == []


def test_success_races_cancel() -> None:
    workspace, publisher = new_workspace(granted=3000, bought=7000), new_publisher()
    references = [uuid4() for _ in range(40)]
    for reference in references:
        ledger.hold(workspace_id=workspace.pk, reference=reference, amount_micros=250)
    share = ledger.Share(publisher.pk, Decimal("0.8"))

    def capturing(reference: UUID) -> Callable[[], object]:
        return lambda: (
            ledger.capture(reference=reference, amount_micros=200, share=share, usage=USAGE).amount_micros
        )

    def releasing(reference: UUID) -> Callable[[], object]:
        return lambda: ledger.release(reference=reference)

    calls = [
        make(reference) for reference in references for make in (capturing, releasing, capturing, releasing)
    ]
    results = all_at_once(calls)
    for at, reference in enumerate(references):
        outcomes = results[at * 4 : at * 4 + 4]
        if Hold.objects.get(reference=reference).state == "captured":
            assert outcomes == [200, "AlreadySettled", 200, "AlreadySettled"]
        else:
            assert outcomes[0] == outcomes[2] == "AlreadySettled"
            assert sorted([outcomes[1], outcomes[3]]) == [False, True]
    captured = Hold.objects.filter(state="captured").count()
    assert UsageRecord.objects.count() == captured
    assert LedgerTransaction.objects.filter(key__startswith="settle:").count() == 40
    assert ledger.balance(workspace.pk).balance_micros == 10_000 - 200 * captured
    assert ledger.balance(workspace.pk).held_micros == 0
    assert ledger.verify() == []


def test_many_workspaces_hold_and_settle_without_waiting_for_each_other_for_ever() -> None:
    """Every kind of lock in every order that the product takes them: a deadlock would raise out of a thread."""
    scopes = [ledger.SpendScope(kind, "1") for kind in ("workspace", "key", "model")]
    workspaces = [new_workspace(granted=5_000, bought=20_000) for _ in range(4)]
    for workspace in workspaces:
        for scope in scopes:
            ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="day", limit_micros=20_000)
    publisher = new_publisher(workspaces[0])

    def life(workspace_id: int, seed: int) -> Callable[[], object]:
        luck = random.Random(seed)

        def run() -> object:
            reference = uuid4()
            mine = luck.sample(scopes, k=luck.randint(0, 3))
            with transaction.atomic():
                ledger.hold(
                    workspace_id=workspace_id,
                    reference=reference,
                    amount_micros=luck.randint(1, 400),
                    limits=mine,
                )
            amount = luck.choice([0, 1])
            with transaction.atomic():
                if luck.random() < 0.3:
                    ledger.release(reference=reference)
                else:
                    share = ledger.Share(publisher.pk, Decimal("0.7"), workspace_id == workspaces[0].pk)
                    ledger.capture(reference=reference, amount_micros=amount, share=share, usage=USAGE)
            return "lived"

        return run

    results = Counter(all_at_once([life(workspaces[at % 4].pk, at) for at in range(320)], whole=False))
    assert results == {"lived": 320}
    assert not Hold.objects.filter(state="open").exists()
    assert ledger.verify() == []


def test_a_limit_that_is_set_while_runs_come_and_go_misses_none() -> None:
    """Each run is in the window once, whether it was settled before, was open, or had not seen the limit."""
    workspace, now = new_workspace(bought=1_000_000), timezone.now()
    scopes = [ledger.SpendScope("workspace", "1"), ledger.SpendScope("key", "1")]
    usage = replace(USAGE, key_id=1)

    def life(seed: int) -> Callable[[], object]:
        def run() -> object:
            luck, reference = random.Random(seed), uuid4()
            amount = luck.randint(1, 90)
            holding(workspace.pk, reference, amount, limits=scopes, now=now)()
            if luck.random() < 0.3:
                return ledger.release(reference=reference, now=now)
            charge = luck.randint(0, amount)
            done = ledger.capture(reference=reference, amount_micros=charge, share=None, usage=usage, now=now)
            return done.amount_micros

        return run

    def setting(scope: ledger.SpendScope, period: str) -> Callable[[], object]:
        return lambda: ledger.set_limit(
            workspace_id=workspace.pk, scope=scope, period=period, limit_micros=10**9, now=now
        )

    limits = [(scope, period) for scope in scopes for period in ("day", "week", "month", "lifetime")]
    calls = [life(seed) for seed in range(160)]
    for at, (scope, period) in enumerate(limits):
        calls.insert(16 + 20 * at, setting(scope, period))
    all_at_once(calls, whole=False)
    charged = sum(UsageRecord.objects.values_list("amount_micros", flat=True))
    assert list(SpendWindow.objects.values_list("spent_micros", flat=True)) == [charged] * len(limits)
    assert ledger.verify() == []


def charged(workspace_id: int, amount: int, publisher_id: int, **more: object) -> UUID:
    reference = uuid4()
    ledger.hold(workspace_id=workspace_id, reference=reference, amount_micros=amount, **more)
    share = ledger.Share(publisher_id, Decimal("0.8"))
    ledger.capture(reference=reference, amount_micros=amount, share=share, usage=USAGE)
    return reference


def refunding(reference: UUID, amount: int, key: str) -> Callable[[], object]:
    return lambda: ledger.refund(reference, amount, key=key, reason="fault").is_new


def test_refunds_from_everywhere_never_give_back_more_than_was_charged() -> None:
    workspace, publisher = new_workspace(granted=300, bought=700), new_publisher()
    reference = charged(workspace.pk, 1000, publisher.pk)
    results = Counter(all_at_once([refunding(reference, 90, str(uuid4())) for _ in range(32)]))
    assert results == {True: 11, "RefundExceedsCharge": 21}
    again = Counter(all_at_once([refunding(reference, 10, "the rest") for _ in range(16)]))
    assert again == {True: 1, False: 15}
    assert ledger.balance(workspace.pk) == ledger.Balance(1000, 0, 1000, 300)
    assert ledger.publisher_balance(publisher.pk) == ledger.Earnings(0, 0, 0, 0, 0)
    assert ledger.verify() == []


def test_payouts_from_everywhere_never_pay_the_same_earnings_twice() -> None:
    workspace, publisher = new_workspace(bought=1000), new_publisher()
    reference = charged(workspace.pk, 1000, publisher.pk)

    def maturing() -> object:
        return ledger.mature(publisher.pk, delay=timedelta(0))

    assert sorted(all_at_once([maturing] * 16)) == [0] * 15 + [800]  # type: ignore[type-var]
    payouts = [uuid4() for _ in range(8)]

    def paying(payout: UUID) -> Callable[[], object]:
        return lambda: ledger.payout_started(payout, publisher.pk, 300)

    calls = [paying(payout) for payout in payouts for _ in range(2)]
    results = Counter(all_at_once([*calls, refunding(reference, 250, "r")]))
    started = [payout for payout in payouts if ledger.legs_of(f"payout:{payout}", book="test")]
    assert len(started) in {1, 2}  # two, unless the refund was first
    assert results[True] == len(started) + 1
    ends = [
        lambda end=end, payout=payout: end(payout)
        for payout in started
        for end in (ledger.payout_done, ledger.payout_failed) * 4
    ]
    ended = Counter(all_at_once(ends))
    assert (ended[True], ended["PayoutSettled"]) == (len(started), 4 * len(started))
    assert ledger.verify() == []


def test_a_top_up_is_refunded_spent_and_disputed_at_once() -> None:
    workspace = new_workspace(bought=1000)
    calls: list[Callable[[], object]] = []
    for at in range(24):
        calls += [
            holding(workspace.pk, uuid4(), 100),
            lambda: ledger.topup_refund_started(uuid4(), workspace.pk, 150),
            lambda at=at: ledger.dispute_withdrawn(f"dp_{at % 3}", workspace.pk, 200).is_new,
            lambda at=at: ledger.dispute_reinstated(f"dp_{at % 3}"),
        ]
    all_at_once(calls)
    totals = ledger.totals()
    assert totals["workspace_bought"] >= 0
    assert totals["workspace_bought"] == ledger.balance(workspace.pk).available_micros
    assert sum(totals.values()) == 0
    assert ledger.verify() == []


def topped_up(workspace_id: int, amount: int, one: UUID) -> object:
    ledger.credit(workspace_id, 10 * amount, source="bought", key=f"topup:{one}")
    return ledger.fee(amount, key=str(one))


def paid_out(publisher_id: int, amount: int, payout: UUID, luck: random.Random) -> object:
    """A payout that fails, is done, or is done and comes back in part."""
    ledger.mature(delay=timedelta(0))
    ledger.payout_started(payout, publisher_id, amount)
    if luck.random() < 0.3:
        return ledger.payout_failed(payout)
    ledger.payout_done(payout)
    return luck.random() < 0.5 or ledger.payout_returned(payout, luck.randint(1, amount), key="back")


def sent_back(workspace_id: int, amount: int, refund: UUID, luck: random.Random) -> object:
    """A refund of credit that fails, is done, or is done and comes back."""
    ledger.topup_refund_started(refund, workspace_id, amount)
    if luck.random() < 0.3:
        return ledger.topup_refund_failed(refund)
    ledger.topup_refund_done(refund)
    return luck.random() < 0.5 or ledger.topup_refund_returned(refund)


def test_everything_at_once() -> None:
    """Every movement on a few owners from many connections, while seals are made: no deadlock, and clean books."""
    workspaces = [new_workspace(granted=3_000, bought=9_000) for _ in range(3)]
    publishers = [new_publisher() for _ in range(2)]
    scope = ledger.SpendScope("workspace", "1")
    for workspace in workspaces:
        ledger.set_limit(workspace_id=workspace.pk, scope=scope, period="day", limit_micros=10**9)
    luck = random.Random(7)
    references = [
        charged(luck.choice(workspaces).pk, luck.randint(50, 250), luck.choice(publishers).pk)
        for _ in range(12)
    ]
    later = timezone.now() + timedelta(days=2)

    def life(seed: int) -> Callable[[], object]:
        luck = random.Random(seed)
        workspace, publisher = luck.choice(workspaces).pk, luck.choice(publishers).pk
        one, amount = uuid4(), luck.randint(1, 120)
        reference, dispute = luck.choice(references), f"dp_{luck.randint(0, 5)}"
        soon = timezone.now() + timedelta(days=1)
        period, most = luck.choice(["day", "week", "lifetime"]), luck.choice([None, 10**9])
        return luck.choice(
            [
                lambda: charged(workspace, amount, publisher, limits=[scope]),
                lambda: ledger.set_limit(
                    workspace_id=workspace, scope=scope, period=period, limit_micros=most
                ),
                lambda: ledger.refund(reference, amount, key=str(one), reason="fault"),
                lambda: ledger.dispute_withdrawn(dispute, workspace, 400),
                lambda: ledger.dispute_reinstated(dispute),
                lambda: ledger.expire_grants(now=later),
                lambda: ledger.credit(workspace, amount, key=f"coupon:{one}", expires_at=soon),
                lambda: topped_up(workspace, amount, one),
                lambda: paid_out(publisher, amount, one, luck),
                lambda: sent_back(workspace, amount, one, luck),
            ]
        )

    stop = Event()

    def sealing() -> None:
        try:
            while not stop.is_set():
                ledger.seal()
        finally:
            connection.close()

    sealer = Thread(target=sealing)
    sealer.start()
    try:
        for turn in range(SOAK):
            all_at_once([life(turn * 1000 + at) for at in range(320)])
    finally:
        stop.set()
        sealer.join()
    assert ledger.verify() == []
    ledger.seal()
    assert not LedgerTransaction.objects.exclude(pk__in=SealedTransaction.objects.values("pk")).exists()
    ledger.expire_grants(now=later)
    assert ledger.verify() == []
