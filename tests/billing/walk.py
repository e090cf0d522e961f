"""The first half of the random walk through the ledger: a model of some dictionaries, and runs up to their refunds."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from billing import ledger
from billing.ledger.granting import AT_LEAST
from billing.ledger.limits import window_start
from billing.models import DisputedShare, Grant
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
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
PERIODS = ("day", "week", "month", "lifetime")


@dataclass
class ModelHold:
    payer: int
    granted: int
    bought: int
    windows: list[tuple[object, ...]]
    has_key: bool
    opened_at: datetime
    state: str = "open"
    charge: ledger.Charge | None = None
    maker: int | None = None
    at: datetime | None = None
    refunds: dict[str, ledger.Refunded] = field(default_factory=dict)

    @property
    def counts(self) -> int:
        """What it counts in limits: what it holds or was charged."""
        return self.charge.amount_micros if self.charge else self.granted + self.bought

    @property
    def paid(self) -> int:
        """What is left of the charge that was paid from bought credit."""
        if not self.charge:
            return 0
        charged = self.charge.amount_micros
        return charged - min(charged, self.granted) - self.refunded("bought")

    @property
    def share(self) -> int:
        """What its publisher could be paid of that."""
        return self.charge.payable_share_micros - self.refunded("payable_share") if self.charge else 0

    def refunded(self, part: str) -> int:
        return sum(getattr(done, f"{part}_micros") for done in self.refunds.values())


@dataclass
class ModelMaker:
    """What has moved between a publisher's accounts; what is pending is known from its charges."""

    matured_until: datetime = LONG_AGO
    was_short: bool = False  # once it had nothing left that a dispute could take
    payable: int = 0
    in_transit: int = 0
    paid_out: int = 0


@dataclass
class ModelDispute:
    """What a dispute took, and what of it nobody has made good for: by whom it is borne is the ledger's to work out, as
    far as its sums are right, and nobody is spared."""

    payer: int
    taken: ledger.Withdrawn
    paid_at: datetime | None
    at: datetime
    borne: list[int] = field(default_factory=lambda: [0, 0])  # by each maker
    lost: int = 0
    recovered: int = 0
    is_open: bool = True
    is_due: bool = False

    @property
    def owed(self) -> int:
        return self.lost + sum(self.borne) if self.is_open else 0


@dataclass
class ModelPayer:
    granted: int = 0
    bought: int = 0
    grants: list[tuple[datetime | None, int]] = field(default_factory=list)
    limits: dict[tuple[ledger.SpendScope, str], int] = field(default_factory=dict)


class Runs(RuleBasedStateMachine):
    """Credit, limits, runs and their refunds, of two payers, of which the first also publishes; references are used
    before they are held, too."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = transaction.atomic()
        self.scratch.__enter__()
        self.workspaces = [new_workspace() for _ in range(2)]
        self.publishers = [new_publisher(self.workspaces[0]), new_publisher()]
        self.payers = [ModelPayer() for _ in range(2)]
        self.references = [uuid4() for _ in range(160)]
        self.holds: dict[UUID, ModelHold] = {}
        self.credits: dict[str, tuple[int, int, str]] = {}
        self.windows: dict[tuple[object, ...], int] = {}
        self.makers = [ModelMaker() for _ in range(2)]
        self.payouts: dict[UUID, tuple[int, int, str]] = {}  # maker, amount, state
        self.topup_refunds: dict[UUID, tuple[int, int, str]] = {}  # payer, amount, state
        self.disputes: dict[str, ModelDispute] = {}
        self.purchases: list[list[datetime]] = [[], []]
        self.expired = self.outside = self.fees = 0
        self.now = datetime(2026, 1, 30, 23, tzinfo=UTC)
        for payer in (0, 1):  # enough for most holds, and both sources in most of them
            self.credit(payer, 300, "granted")
            self.credit(payer, 3000, "bought")
        self.set_limit(0, "key", "day", 500)
        self.set_limit(1, "workspace", "month", 1500)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.scratch.__exit__(None, None, None)

    @rule(
        payer=places,
        amount=st.integers(1, 400),
        source=st.sampled_from(["granted", "bought"]),
        days=st.one_of(st.none(), st.integers(1, 40)),
    )
    def credit(self, payer: int, amount: int, source: str, days: int | None = None) -> None:
        key = f"credit:{uuid4()}"
        ends = None if days is None or source == "bought" else self.now + timedelta(days=days)
        assert ledger.credit(
            self.workspaces[payer].pk, amount, source=source, key=key, expires_at=ends, now=self.now
        )
        self.credits[key] = (payer, amount, source)
        if source == "granted":
            self.payers[payer].grants.append((ends, amount))
        else:
            self.purchases[payer].append(self.now)
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
        scope, limits = ledger.SpendScope(kind, "1"), self.payers[payer].limits
        ledger.set_limit(
            workspace_id=self.workspaces[payer].pk,
            scope=scope,
            period=period,
            limit_micros=limit or None,
            now=self.now,
        )
        if not limit:
            limits.pop((scope, period), None)
            return
        if (scope, period) not in limits:
            self.count_before(payer, scope, period)
        limits[scope, period] = limit

    def count_before(self, payer: int, scope: ledger.SpendScope, period: str) -> None:
        """A limit begins with what is held of its period, and with what was charged in it."""
        start = window_start(period, self.now)
        name, spent = (payer, scope, period, start), 0
        for hold in self.holds.values():
            if hold.payer != payer or (scope.kind == "key" and not hold.has_key):
                continue
            if hold.state == "open" and hold.opened_at >= start and hold.counts:
                spent += hold.counts
                if name not in hold.windows:
                    hold.windows.append(name)
            elif hold.charge and hold.at is not None and hold.at.date() >= start.date():
                spent += hold.counts
        self.windows[name] = spent

    @rule(hours=st.integers(1, 400))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(
        payer=places,
        at=spots,
        amount=amounts,
        has_key=st.booleans(),
        endings=st.lists(settlements, max_size=3),
    )
    def run(self, payer: int, at: int, amount: int, has_key: bool, endings: list[Settlement | None]) -> None:
        """A hold of a reference that is mostly fresh, and what is then tried on it, in whatever order."""
        reference = self.references[at] if at < 2 else self.references[len(self.holds)]
        self.hold(reference, payer, amount, has_key)
        for ending in endings:
            self.settle(reference, ending)

    @rule(payer=places, maker=places, amount=st.integers(1, 400), hours=st.integers(0, 50))
    def buy_and_spend(self, payer: int, maker: int, amount: int, hours: int) -> None:
        """A payment, and a run that takes all of it, or of what there was before."""
        self.credit(payer, amount, "bought")
        self.now += timedelta(hours=hours)
        reference = self.references[len(self.holds)]
        self.hold(reference, payer, amount, has_key=False)
        if reference in self.holds:
            self.capture(reference, Fraction(1), maker, Fraction(4, 5))
        self.now += timedelta(hours=hours)

    @rule(at=spots, ending=settlements)
    def settle_later(self, at: int, ending: Settlement | None) -> None:
        """On a reference with an open hold, else on any: not held yet, or settled before."""
        open_ = [reference for reference, hold in self.holds.items() if hold.state == "open"]
        self.settle(open_[at % len(open_)] if open_ and at > 1 else self.references[at], ending)

    def hold(self, reference: UUID, payer: int, amount: int, has_key: bool) -> None:
        model = self.payers[payer]
        scopes = [ledger.SpendScope(kind, "1") for kind in ("workspace", "key")[: 1 + has_key]]
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
        self.holds[reference] = ModelHold(payer, granted, amount - granted, names, has_key, self.now)

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

        usage = replace(USAGE, key_id=1) if hold is not None and hold.has_key else USAGE

        def attempt() -> ledger.Charge:
            return ledger.capture(
                reference=reference, amount_micros=amount, share=share, usage=usage, now=self.now
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
        hold.maker, hold.at = maker, self.now
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
        if bought and any(one.is_due for one in self.disputes.values()):
            self.follow_disputes()
            due = sum(one.owed for one in self.disputes.values() if one.is_due and one.payer == hold.payer)
            assert not min(due, self.payers[hold.payer].bought)

    @precondition(lambda self: any(hold.charge for hold in self.holds.values()))
    @rule(at=spots, part=st.fractions(0, Fraction(5, 4), max_denominator=6), key=spots)
    def refund(self, at: int, part: Fraction, key: int) -> None:
        charged = [(reference, hold) for reference, hold in self.holds.items() if hold.charge]
        reference, hold = charged[at % len(charged)]
        assert hold.charge is not None
        name, charge = f"{reference}:{key}", hold.charge.amount_micros
        earlier = hold.refunds.get(name)
        amount = int(charge * part) or 1

        def attempt(amount: int) -> ledger.Refunded:
            return ledger.refund(reference, amount, key=name, reason="goodwill", by=1, now=self.now)

        if earlier is not None:
            assert attempt(earlier.amount_micros).is_new is False
            with pytest.raises(ledger.KeyReused):
                attempt(earlier.amount_micros + 1)
            return
        if hold.refunded("amount") + amount > charge:
            with pytest.raises(ledger.RefundExceedsCharge):
                attempt(amount)
            return
        done = attempt(amount)
        hold.refunds[name] = done
        assert (done.amount_micros, done.is_new) == (amount, True)
        assert done.total_micros == hold.refunded("amount")
        from_bought = charge - min(charge, hold.granted)
        assert hold.refunded("bought") == min(hold.refunded("amount"), from_bought)
        if done.total_micros == charge:
            whole = (hold.charge.share_micros, hold.charge.payable_share_micros, hold.charge.fee_micros)
            assert tuple(hold.refunded(part) for part in ("share", "payable_share", "fee")) == whole
        payer = self.payers[hold.payer]
        payer.bought += done.bought_micros
        payer.granted += done.granted_micros
        if done.granted_micros:
            self.take_back(payer, f"refund:{name}", done.granted_micros)
        if hold.maker is not None and hold.at is not None:
            maker = self.makers[hold.maker]
            if hold.at <= maker.matured_until:
                maker.payable -= done.payable_share_micros
        assert self.follow_disputes() == done.made_good_micros <= done.bought_micros

    def follow_disputes(self) -> int:
        """What was made good for disputes, and who had it: which of them and whose is the ledger's to work out, as far
        as its sums are right. How much."""
        kept = self.kept()
        total = 0
        for name, known in self.disputes.items():
            if not known.is_open:
                assert not any(kept[name])
                continue
            amount = known.owed - ledger.dispute_owed(name)
            back = [had - has for had, has in zip(known.borne, kept[name], strict=True)]
            assert amount >= 0
            known.recovered += amount
            known.lost -= amount - sum(back)
            known.borne = kept[name]
            assert known.lost >= 0
            for maker, part in zip(self.makers, back, strict=True):
                maker.payable += part
            self.payers[known.payer].bought -= amount
            total += amount
        return total

    def kept(self) -> dict[str, list[int]]:
        """What disputes keep of the shares of each maker."""
        found = {name: [0, 0] for name in self.disputes}
        makers = {publisher.pk: at for at, publisher in enumerate(self.publishers)}
        rows = DisputedShare.objects.filter(left_micros__gt=0).values_list("dispute_id", "publisher")
        for name, publisher, total in rows.annotate(Sum("left_micros")):
            found[name][makers[publisher]] = total
        return found

    def counted(self) -> dict[UUID, list[DisputedShare]]:
        """Which runs count as paid by disputed payments."""
        found: dict[UUID, list[DisputedShare]] = {}
        for row in DisputedShare.objects.filter(counted_micros__gt=0):
            found.setdefault(row.reference, []).append(row)
        return found

    def take_back(self, payer: ModelPayer, key: str, amount: int) -> None:
        """Granted credit that comes back ends with a grant that there was, or in a week where that is later."""
        rows = Grant.objects.filter(transaction__key=key).values_list("expires_at", "amount_micros")
        assert sum(part for _, part in rows) == amount
        soon = self.now + AT_LEAST
        ends = {known and max(known, soon) for known, _ in payer.grants}
        assert {end for end, _ in rows} <= ends
        payer.grants += rows

    def pending(self, maker: int, until: datetime | None = None) -> int:
        """What is pending of a publisher's charges, or that part of it that is as old as that."""
        model = self.makers[maker]
        return sum(
            hold.charge.payable_share_micros - hold.refunded("payable_share")
            for hold in self.holds.values()
            if hold.charge and hold.maker == maker and hold.at and hold.at > model.matured_until
            if until is None or hold.at <= until
        )
