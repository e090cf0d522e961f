"""Random walks through every movement, replayed, reordered and doubled, against a model that is a few dictionaries."""

from __future__ import annotations

import os
from datetime import timedelta
from fractions import Fraction
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from billing import ledger
from billing.models import Hold, LedgerTransaction, SpendWindow, UsageRecord
from tests.billing.walk import ModelDispute, Runs, places, spots

SOAK = int(os.environ.get("SOAK", "1"))  # so many times as many walks; `make soak` sets it


class Walk(Runs):
    """What publishers earn and are paid, and credit that leaves again; and what holds at every step."""

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

    @rule(payer=places, amount=st.integers(1, 1500), at=spots, age=st.sampled_from([None, 0, 1, 10_000]))
    def dispute(self, payer: int, amount: int, at: int, age: int | None) -> None:
        """Of a payment of so many days ago, or of none that is known."""
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
        paid_at = self.now - timedelta(days=age) if age is not None else None
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
        assert paid_at is not None or not any(borne)
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
                self.take_back(model, f"dispute:{name}:reinstated", granted)
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
