"""Random walks through every movement, replayed, reordered and doubled, against a model that is a few dictionaries."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import ledger
from billing.ledger.limits import window_start
from billing.models import Hold, LedgerEntry, LedgerTransaction, SpendWindow, UsageRecord
from tests.billing.cast import USAGE, new_publisher, new_workspace

amounts = st.one_of(st.integers(0, 60), st.integers(0, 2000))
places = st.integers(0, 1)
spots = st.integers(0, 7)
#: A release (None), or a capture: the part of the hold, who earns, and what fraction.
Settlement = tuple[Fraction, int | None, Fraction]
settlements = st.one_of(
    st.none(),
    st.tuples(
        st.fractions(0, Fraction(5, 4), max_denominator=8),
        st.sampled_from([None, 0, 1]),
        st.fractions(0, 1, max_denominator=10),
    ),
)
PERIODS = ("day", "week", "month", "lifetime")


@dataclass
class ModelHold:
    payer: int
    granted: int
    bought: int
    windows: list[tuple[object, ...]]
    state: str = "open"
    charge: ledger.Charge | None = None


@dataclass
class ModelPayer:
    granted: int = 0
    bought: int = 0
    limits: dict[tuple[ledger.SpendScope, str], int] = field(default_factory=dict)


class Walk(RuleBasedStateMachine):
    """Two payers, of which the first also publishes; references are also used before they are held."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = transaction.atomic()
        self.scratch.__enter__()
        self.workspaces = [new_workspace() for _ in range(2)]
        self.publishers = [new_publisher(self.workspaces[0]), new_publisher()]
        self.payers = [ModelPayer() for _ in range(2)]
        self.references = [uuid4() for _ in range(60)]
        self.holds: dict[UUID, ModelHold] = {}
        self.credits: dict[str, tuple[int, int, str]] = {}
        self.windows: dict[tuple[object, ...], int] = {}
        self.earned = {"pending": 0, "unpayable": 0, "revenue": 0}
        self.now = datetime(2026, 1, 30, 23, tzinfo=UTC)
        for payer in (0, 1):  # enough for most holds, and both sources in most of them
            self.credit(payer, 300, "granted")
            self.credit(payer, 3000, "bought")
        self.set_limit(0, "key", "day", 500)
        self.set_limit(1, "workspace", "month", 1500)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.scratch.__exit__(None, None, None)

    @rule(payer=places, amount=st.integers(1, 400), source=st.sampled_from(["granted", "bought"]))
    def credit(self, payer: int, amount: int, source: str) -> None:
        key = f"credit:{uuid4()}"
        assert ledger.credit(self.workspaces[payer].pk, amount, source=source, key=key)
        self.credits[key] = (payer, amount, source)
        setattr(self.payers[payer], source, getattr(self.payers[payer], source) + amount)

    @precondition(lambda self: self.credits)
    @rule(data=st.data(), more=st.integers(0, 1))
    def credit_again(self, data: st.DataObject, more: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.credits)))
        payer, amount, source = self.credits[key]
        if more:
            with pytest.raises(ledger.KeyReused):
                ledger.credit(self.workspaces[payer].pk, amount + more, source=source, key=key)
        else:
            assert not ledger.credit(self.workspaces[payer].pk, amount, source=source, key=key)

    @rule(
        payer=places,
        kind=st.sampled_from(["key", "workspace"]),
        period=st.sampled_from(PERIODS),
        limit=amounts,
    )
    def set_limit(self, payer: int, kind: str, period: str, limit: int) -> None:
        scope = ledger.SpendScope(kind, "1")
        ledger.set_limit(
            workspace_id=self.workspaces[payer].pk, scope=scope, period=period, limit_micros=limit or None
        )
        self.payers[payer].limits.pop((scope, period), None)
        if limit:
            self.payers[payer].limits[scope, period] = limit

    @rule(hours=st.integers(1, 400))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(
        payer=places,
        at=spots,
        amount=amounts,
        kinds=st.sets(st.sampled_from(["key", "workspace"])),
        endings=st.lists(settlements, max_size=3),
    )
    def run(
        self, payer: int, at: int, amount: int, kinds: set[str], endings: list[Settlement | None]
    ) -> None:
        """A hold of a reference that is mostly fresh, and what is then tried on it, in whatever order."""
        reference = self.references[at] if at < 2 else self.references[len(self.holds)]
        self.hold(reference, payer, amount, kinds)
        for ending in endings:
            self.settle(reference, ending)

    @rule(at=spots, ending=settlements)
    def settle_later(self, at: int, ending: Settlement | None) -> None:
        """On a reference with an open hold, else on any: not held yet, or settled before."""
        open_ = [reference for reference, hold in self.holds.items() if hold.state == "open"]
        self.settle(open_[at % len(open_)] if open_ and at > 1 else self.references[at], ending)

    def hold(self, reference: UUID, payer: int, amount: int, kinds: set[str]) -> None:
        model = self.payers[payer]
        scopes = [ledger.SpendScope(kind, "1") for kind in sorted(kinds)]
        windows = []
        if amount:
            for (scope, period), limit in model.limits.items():
                if scope in scopes:
                    windows.append(((payer, scope, period, window_start(period, self.now)), limit))
        over = [name for name, limit in windows if self.windows.get(name, 0) + amount > limit]
        expected: type[Exception] | None = None
        if reference in self.holds:
            expected = ledger.AlreadyHeld
        elif over:
            expected = ledger.LimitReached
        elif model.granted + model.bought < amount:
            expected = ledger.InsufficientCredit
        with pytest.raises(expected) if expected else nullcontext():
            ledger.hold(
                workspace_id=self.workspaces[payer].pk,
                reference=reference,
                amount_micros=amount,
                limits=scopes,
                now=self.now,
            )
        if expected:
            return
        granted = min(model.granted, amount)
        model.granted -= granted
        model.bought -= amount - granted
        names = [name for name, _ in windows]
        for name in names:
            self.windows[name] = self.windows.get(name, 0) + amount
        self.holds[reference] = ModelHold(payer, granted, amount - granted, names)

    def settle(self, reference: UUID, ending: Settlement | None) -> None:
        if ending is None:
            self.release(reference)
        else:
            self.capture(reference, *ending)

    def capture(self, reference: UUID, part: Fraction, maker: int | None, fraction: Fraction) -> None:
        hold = self.holds.get(reference)
        total = hold.granted + hold.bought if hold else 10
        amount = int(total * part)
        own = hold is not None and hold.payer == maker == 0
        share = (
            None if maker is None else ledger.Share(self.publishers[maker].pk, fraction, own_workspace=own)
        )

        def attempt() -> ledger.Charge:
            return ledger.capture(
                reference=reference, amount_micros=amount, share=share, usage=USAGE, now=self.now
            )

        if hold is None or hold.state == "released" or (hold.state == "open" and amount > total):
            with pytest.raises((ledger.NoSuchHold, ledger.AlreadySettled, ledger.CaptureExceedsHold)):
                attempt()
            return
        charge = attempt()
        if hold.state == "captured":
            assert charge == hold.charge
            return
        hold.state, hold.charge = "captured", charge
        from_granted = min(amount, hold.granted)
        earned = int(amount * fraction) if share else 0
        payable = int((amount - from_granted) * fraction) if share and not own else 0
        expected = ledger.Charge(reference, amount, earned, payable, amount - earned, total - amount)
        assert charge == expected
        self.earned["pending"] += payable
        self.earned["unpayable"] += earned - payable
        self.earned["revenue"] += amount - earned
        self.give_back(hold, hold.granted - from_granted, hold.bought - (amount - from_granted))

    def release(self, reference: UUID) -> None:
        hold = self.holds.get(reference)
        if hold is None or hold.state == "captured":
            with pytest.raises((ledger.NoSuchHold, ledger.AlreadySettled)):
                ledger.release(reference=reference)
            return
        assert ledger.release(reference=reference, now=self.now) is (hold.state == "open")
        if hold.state == "open":
            hold.state = "released"
            self.give_back(hold, hold.granted, hold.bought)

    def give_back(self, hold: ModelHold, granted: int, bought: int) -> None:
        self.payers[hold.payer].granted += granted
        self.payers[hold.payer].bought += bought
        for name in hold.windows:
            self.windows[name] -= granted + bought

    @invariant()
    def books_are_clean(self) -> None:
        with connection.cursor() as cursor:  # what a commit would check
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        assert ledger.verify() == []

    @invariant()
    def balances_are_the_model_s(self) -> None:
        for at, (workspace, model) in enumerate(zip(self.workspaces, self.payers, strict=True)):
            held = sum(
                h.granted + h.bought for h in self.holds.values() if h.payer == at and h.state == "open"
            )
            available = model.granted + model.bought
            assert ledger.balance(workspace.pk) == ledger.Balance(
                available + held, held, available, model.granted
            )

    @invariant()
    def everything_that_came_in_is_somewhere(self) -> None:
        sums = dict(
            LedgerEntry.objects.values("account__kind")
            .annotate(total=Sum("amount_micros"))
            .values_list("account__kind", "total")
        )
        assert sum(sums.values()) == 0
        credited = dict.fromkeys(("granted", "bought"), 0)
        for _, amount, source in self.credits.values():
            credited[source] += amount
        assert -sums.get("platform_promo", 0) == credited["granted"]
        assert -sums.get("stripe_clearing", 0) == credited["bought"]
        assert sums.get("publisher_pending", 0) == self.earned["pending"]
        assert sums.get("publisher_unpayable", 0) == self.earned["unpayable"]
        assert sums.get("platform_revenue", 0) == self.earned["revenue"]
        charged = sum(hold.charge.amount_micros for hold in self.holds.values() if hold.charge)
        left = sum(payer.granted + payer.bought for payer in self.payers)
        held = sum(h.granted + h.bought for h in self.holds.values() if h.state == "open")
        assert sum(credited.values()) == left + held + charged

    @invariant()
    def every_reference_is_settled_at_most_once(self) -> None:
        settled = [h for h in self.holds.values() if h.state != "open"]
        assert LedgerTransaction.objects.filter(key__startswith="settle:").count() == len(settled)
        assert Hold.objects.filter(state="open").count() == len(self.holds) - len(settled)
        assert UsageRecord.objects.count() == sum(h.state == "captured" for h in settled)

    @invariant()
    def windows_are_the_model_s(self) -> None:
        spent = {name: amount for name, amount in self.windows.items() if amount}
        ids = {workspace.pk: at for at, workspace in enumerate(self.workspaces)}
        rows = {
            (
                ids[w.workspace_id],
                ledger.SpendScope(w.scope_kind, w.scope_id),
                w.period,
                w.starts_at,
            ): w.spent_micros
            for w in SpendWindow.objects.filter(spent_micros__gt=0)
        }
        assert rows == spent


@pytest.mark.django_db
def test_no_sequence_of_movements_breaks_the_books() -> None:
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
