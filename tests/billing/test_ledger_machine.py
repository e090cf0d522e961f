"""Random walks through every movement, replayed, reordered and doubled, against a model that is a few dictionaries."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
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
from billing.models import Hold, LedgerTransaction, SpendWindow, UsageRecord
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
SOAK = int(os.environ.get("SOAK", "1"))  # so many times as many walks; `make soak` sets it


@dataclass
class ModelHold:
    payer: int
    granted: int
    bought: int
    windows: list[tuple[object, ...]]
    state: str = "open"
    charge: ledger.Charge | None = None
    maker: int | None = None
    at: datetime | None = None
    refunds: dict[str, ledger.Refunded] = field(default_factory=dict)

    def refunded(self, part: str) -> int:
        return sum(getattr(done, f"{part}_micros") for done in self.refunds.values())


@dataclass
class ModelMaker:
    """What has moved between a publisher's accounts; what is pending is known from its charges."""

    matured_until: datetime = LONG_AGO
    payable: int = 0
    in_transit: int = 0
    paid_out: int = 0


@dataclass
class ModelDispute:
    """What a dispute took, and what of it nobody has made good for: by whom it is borne is the ledger's to work out, as
    far as its sums are right."""

    payer: int
    taken: ledger.Withdrawn
    borne: list[int]  # by each maker
    lost: int
    recovered: int = 0
    is_open: bool = True

    @property
    def owed(self) -> int:
        return self.lost + sum(self.borne) if self.is_open else 0


@dataclass
class ModelPayer:
    granted: int = 0
    bought: int = 0
    grants: list[tuple[datetime | None, int]] = field(default_factory=list)
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
        self.references = [uuid4() for _ in range(80)]
        self.holds: dict[UUID, ModelHold] = {}
        self.credits: dict[str, tuple[int, int, str]] = {}
        self.windows: dict[tuple[object, ...], int] = {}
        self.makers = [ModelMaker() for _ in range(2)]
        self.payouts: dict[UUID, tuple[int, int, str]] = {}  # maker, amount, state
        self.topup_refunds: dict[UUID, tuple[int, int, str]] = {}  # payer, amount, state
        self.disputes: dict[str, ModelDispute] = {}
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
            payer.grants.append((None, done.granted_micros))
        if hold.maker is not None and hold.at is not None:
            maker = self.makers[hold.maker]
            if hold.at <= maker.matured_until:
                maker.payable -= done.payable_share_micros

    def pending(self, maker: int, until: datetime | None = None) -> int:
        """What is pending of a publisher's charges, or that part of it that is as old as that."""
        model = self.makers[maker]
        return sum(
            hold.charge.payable_share_micros - hold.refunded("payable_share")
            for hold in self.holds.values()
            if hold.charge and hold.maker == maker and hold.at and hold.at > model.matured_until
            if until is None or hold.at <= until
        )

    @rule(maker=st.sampled_from([None, 0, 1]), days=st.integers(0, 9), held=st.sets(places))
    def mature(self, maker: int | None, days: int, held: set[int]) -> None:
        delay, expected = timedelta(days=days), 0
        for one in range(2) if maker is None else [maker]:
            if one in held:
                continue
            expected += (amount := self.pending(one, self.now - delay))
            model = self.makers[one]
            model.payable += amount
            known = maker is not None or any(hold.maker == one for hold in self.holds.values() if hold.charge)
            if known:
                model.matured_until = max(model.matured_until, self.now - delay)
        ids = {self.publishers[one].pk for one in held}
        wanted = None if maker is None else self.publishers[maker].pk
        assert ledger.mature(wanted, delay=delay, now=self.now, held_back=ids) == expected
        self.now += timedelta(microseconds=1)  # what is earned from here on is younger than what has matured

    @rule(maker=places, part=st.fractions(0, Fraction(6, 5), max_denominator=5))
    def pay_out(self, maker: int, part: Fraction) -> None:
        model, payout = self.makers[maker], uuid4()
        amount = int(max(model.payable, 0) * part) or 1
        if amount > model.payable:
            with pytest.raises(ledger.InsufficientEarnings):
                ledger.payout_started(payout, self.publishers[maker].pk, amount)
            return
        assert ledger.payout_started(payout, self.publishers[maker].pk, amount)
        assert not ledger.payout_started(payout, self.publishers[maker].pk, amount)
        model.payable -= amount
        model.in_transit += amount
        self.payouts[payout] = (maker, amount, "open")

    @precondition(lambda self: self.payouts)
    @rule(at=spots, ending=st.sampled_from(["done", "failed", "returned"]))
    def end_payout(self, at: int, ending: str) -> None:
        payout = sorted(self.payouts)[-1 - at % len(self.payouts)]
        maker, amount, state = self.payouts[payout]
        model = self.makers[maker]
        if ending == "returned":
            if state == "open" or state == "failed":
                with pytest.raises(ledger.NoSuchPayout):
                    ledger.payout_returned(payout, amount, key="back")
                return
            assert ledger.payout_returned(payout, amount, key="back") is (state == "done")
            if state == "done":
                model.payable += amount
                model.paid_out -= amount
                self.payouts[payout] = (maker, amount, "returned")
            return
        end = ledger.payout_done if ending == "done" else ledger.payout_failed
        if state not in {"open", ending, "returned" if ending == "done" else ending}:
            with pytest.raises(ledger.PayoutSettled):
                end(payout)
            return
        assert end(payout) is (state == "open")
        if state == "open":
            model.in_transit -= amount
            if ending == "done":
                model.paid_out += amount
            else:
                model.payable += amount
            self.payouts[payout] = (maker, amount, ending)

    @rule(payer=places, part=st.fractions(0, Fraction(6, 5), max_denominator=5))
    def refund_credit(self, payer: int, part: Fraction) -> None:
        model, refund = self.payers[payer], uuid4()
        amount = int(model.bought * part) or 1
        if amount > model.bought:
            with pytest.raises(ledger.RefundExceedsCredit):
                ledger.topup_refund_started(refund, self.workspaces[payer].pk, amount)
            return
        assert ledger.topup_refund_started(refund, self.workspaces[payer].pk, amount)
        assert not ledger.topup_refund_started(refund, self.workspaces[payer].pk, amount)
        model.bought -= amount
        self.topup_refunds[refund] = (payer, amount, "open")

    @precondition(lambda self: self.topup_refunds)
    @rule(at=spots, ending=st.sampled_from(["done", "failed", "returned"]))
    def end_refund_of_credit(self, at: int, ending: str) -> None:
        refund = sorted(self.topup_refunds)[-1 - at % len(self.topup_refunds)]
        payer, amount, state = self.topup_refunds[refund]
        end = {
            "done": ledger.topup_refund_done,
            "failed": ledger.topup_refund_failed,
            "returned": ledger.topup_refund_returned,
        }[ending]
        follows = {"done": "open", "failed": "open", "returned": "done"}[ending]
        passed = {"done": {"done", "returned"}, "failed": {"failed"}, "returned": {"returned"}}[ending]
        if state == follows:
            assert end(refund)
            self.topup_refunds[refund] = (payer, amount, ending)
            if ending != "done":
                self.payers[payer].bought += amount
            self.outside += {"done": amount, "failed": 0, "returned": -amount}[ending]
        elif state in passed:
            assert not end(refund)
        else:
            with pytest.raises((ledger.TopupRefundSettled, ledger.NoSuchTopupRefund)):
                end(refund)

    def payable(self) -> list[int]:
        return [ledger.publisher_balance(publisher.pk).payable_micros for publisher in self.publishers]

    @rule(payer=places, amount=st.integers(1, 1500), at=spots, is_payment=st.booleans())
    def dispute(self, payer: int, amount: int, at: int, is_payment: bool) -> None:
        name, model = f"dp_{at}", self.payers[payer]
        if name in self.disputes:
            known = self.disputes[name]
            total = known.taken.bought_micros + known.taken.granted_micros + known.taken.owed_micros
            with pytest.raises(ledger.KeyReused):
                ledger.dispute_withdrawn(name, self.workspaces[known.payer].pk, total + 1)
            assert not ledger.dispute_withdrawn(name, self.workspaces[known.payer].pk, total).is_new
            return
        bought = min(model.bought, amount)
        granted = min(model.granted, amount - bought)
        before = self.payable()
        most = [max(0, self.pending(maker) + payable) for maker, payable in enumerate(before)]
        paid_at = LONG_AGO if is_payment else None
        taken = ledger.dispute_withdrawn(
            name, self.workspaces[payer].pk, amount, paid_at=paid_at, now=self.now
        )
        borne = [had - has for had, has in zip(before, self.payable(), strict=True)]
        owed = amount - bought - granted
        assert taken == ledger.Withdrawn(
            bought, granted, owed - sum(borne), is_new=True, shares_micros=sum(borne)
        )
        assert taken.lost_micros >= 0
        assert all(0 <= part <= limit for part, limit in zip(borne, most, strict=True))
        assert is_payment or not any(borne)
        model.bought -= bought
        model.granted -= granted
        for maker, part in zip(self.makers, borne, strict=True):
            maker.payable -= part
        self.disputes[name] = ModelDispute(payer, taken, borne, taken.lost_micros)

    @rule(at=spots)
    def recover(self, at: int) -> None:
        known = self.disputes.get(f"dp_{at}")
        payer = known.payer if known else 0
        model, before = self.payers[payer], self.payable()
        owed = known.owed if known else 0
        assert ledger.dispute_owed(f"dp_{at}") == owed
        amount = min(model.bought, owed)
        assert ledger.dispute_recovered(f"dp_{at}", self.workspaces[payer].pk, now=self.now) == amount
        back = [has - had for had, has in zip(before, self.payable(), strict=True)]
        model.bought -= amount
        if known is None or not amount:
            assert not any(back)
            return
        known.recovered += amount
        known.lost -= amount - sum(back)
        known.borne = [part - some for part, some in zip(known.borne, back, strict=True)]
        assert known.lost >= 0
        assert min(known.borne) >= 0
        for maker, some in zip(self.makers, back, strict=True):
            maker.payable += some

    @rule(at=spots)
    def reinstate(self, at: int) -> None:
        name = f"dp_{at}"
        known = self.disputes.get(name)
        if known is None:
            with pytest.raises(ledger.NoSuchDispute):
                ledger.dispute_reinstated(name)
            return
        assert ledger.dispute_reinstated(name, now=self.now) is known.is_open
        if known.is_open:
            model, granted = self.payers[known.payer], known.taken.granted_micros
            model.bought += known.taken.bought_micros + known.recovered
            model.granted += granted
            if granted:
                model.grants.append((None, granted))
            for maker, part in zip(self.makers, known.borne, strict=True):
                maker.payable += part
            known.is_open = False

    @rule(amount=st.integers(-50, 50).filter(bool))
    def fee(self, amount: int) -> None:
        key = str(uuid4())
        assert ledger.fee(amount, key=key)
        assert not ledger.fee(amount, key=key)
        self.fees += amount

    @rule()
    def expire(self) -> None:
        """What it takes is its own to work out; that it takes neither too much nor too little shows in sums."""
        before = [ledger.balance(workspace.pk).granted_micros for workspace in self.workspaces]
        taken = ledger.expire_grants(now=self.now)
        assert ledger.expire_grants(now=self.now) == 0
        self.expired += taken
        for at, model in enumerate(self.payers):
            left = ledger.balance(self.workspaces[at].pk).granted_micros
            ended = sum(amount for ends, amount in model.grants if ends is not None and ends <= self.now)
            lasting = sum(amount for ends, amount in model.grants if ends is None or ends > self.now)
            assert max(0, before[at] - ended) <= left <= before[at]
            assert left <= lasting
            taken -= before[at] - left
            model.granted = left
        assert taken == 0

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
        sums = ledger.totals()
        assert sum(sums.values()) == 0
        credited = dict.fromkeys(("granted", "bought"), 0)
        for _, amount, source in self.credits.values():
            credited[source] += amount
        disputed = [one for one in self.disputes.values() if one.is_open]
        lost = sum(one.lost for one in disputed)
        kept = [one.taken for one in disputed]
        withdrawn = sum(taken.bought_micros + taken.granted_micros + taken.owed_micros for taken in kept)
        paid = sum(maker.paid_out for maker in self.makers)
        assert -sums["platform_promo"] == credited["granted"] - self.expired
        assert -sums["stripe_clearing"] == credited["bought"] - self.outside - withdrawn - paid - self.fees
        assert (-sums["platform_losses"], -sums["platform_fees"]) == (lost, self.fees)
        charges = [hold for hold in self.holds.values() if hold.charge]
        assert sums["platform_revenue"] == sum(h.charge.fee_micros - h.refunded("fee") for h in charges)
        under_way = sum(amount for _, amount, state in self.topup_refunds.values() if state == "open")
        assert sums["workspace_refunding"] == under_way

    @invariant()
    def publishers_have_what_they_earned(self) -> None:
        for at, (publisher, model) in enumerate(zip(self.publishers, self.makers, strict=True)):
            mine = [hold for hold in self.holds.values() if hold.charge and hold.maker == at]
            unpayable = sum(
                hold.charge.share_micros
                - hold.charge.payable_share_micros
                - hold.refunded("share")
                + hold.refunded("payable_share")
                for hold in mine
            )
            expected = ledger.Earnings(
                self.pending(at), model.payable, model.in_transit, unpayable, model.paid_out
            )
            assert ledger.publisher_balance(publisher.pk) == expected
            assert sum(ledger.maturing(publisher.pk).values()) == expected.pending_micros

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
            max_examples=24 * SOAK,
            stateful_step_count=30 if SOAK == 1 else 60,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
