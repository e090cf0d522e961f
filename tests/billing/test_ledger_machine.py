"""Random walks through every movement, replayed, reordered and doubled, against a model that is a few dictionaries."""

from __future__ import annotations

import os
from datetime import timedelta
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from billing import ledger
from billing.models import DisputedPayment, Hold, LedgerTransaction, SpendWindow, UsageRecord
from tests.billing.walk import ModelDispute, ModelHold, Runs, places, spots

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

    @rule(
        payer=places, amount=st.integers(1, 1500), at=spots, of=st.none() | spots, has_spent_it=st.booleans()
    )
    def dispute(self, payer: int, amount: int, at: int, of: int | None, has_spent_it: bool) -> None:
        """Of one of the last payments, or of none that is known; of more than there is, or of as much as may be."""
        name, model = f"dp_{at}", self.payers[payer]
        if has_spent_it:
            amount += model.bought + model.granted
        if name in self.disputes:
            known = self.disputes[name]
            total = known.taken.bought_micros + known.taken.granted_micros + known.taken.owed_micros
            with pytest.raises(ledger.KeyReused):
                ledger.dispute_withdrawn(name, self.workspaces[known.payer].pk, total + 1)
            assert not ledger.dispute_withdrawn(name, self.workspaces[known.payer].pk, total).is_new
            return
        bought = min(model.bought, amount)
        granted = min(model.granted, amount - bought)
        has = [max(0, self.pending(maker) + payable) for maker, payable in enumerate(self.payable())]
        purchases = self.purchases[payer]
        paid_at = purchases[-1 - of % len(purchases)] if of is not None else None
        taken = ledger.dispute_withdrawn(
            name, self.workspaces[payer].pk, amount, paid_at=paid_at, now=self.now
        )
        owed = amount - bought - granted
        shares = taken.shares_micros
        assert taken == ledger.Withdrawn(bought, granted, owed - shares, is_new=True, shares_micros=shares)
        assert 0 <= shares <= (owed if paid_at is not None else 0)
        model.bought -= bought
        model.granted -= granted
        self.disputes[name] = ModelDispute(payer, taken, paid_at, self.now, lost=owed)
        taken_of = self.counted_anew()
        assert sum(self.disputes[name].borne) == shares
        assert all(part <= most for part, most in zip(taken_of, has, strict=True))
        self.now += timedelta(microseconds=1)  # what is run from here on no payment of before has paid for

    @rule(
        payer=places,
        maker=places,
        amounts=st.tuples(st.integers(1, 400), st.integers(1, 400)),
        order=st.permutations([0, 1]),
        at=spots,
    )
    def lose_two_payments(
        self, payer: int, maker: int, amounts: tuple[int, int], order: list[int], at: int
    ) -> None:
        """Two payments, each with a run that took it, and a dispute of each, in whichever order; there was nothing left
        of before, as another dispute takes that."""
        self.dispute(payer, 1, (at + 2) % 8, of=None, has_spent_it=True)
        for place in (0, 1):
            self.buy_and_spend(payer, maker ^ place, amounts[place], hours=1)
        for place in order:
            name = (at + place) % 8
            self.dispute(payer, amounts[place], name, of=1 - place, has_spent_it=True)

    def counted_anew(self) -> list[int]:
        """Who bears what was worked out again for all disputes: what each maker lost by that."""
        kept, lost = self.kept(), [0, 0]
        for name, known in self.disputes.items():
            if known.is_open:
                for at, (had, has) in enumerate(zip(known.borne, kept[name], strict=True)):
                    lost[at] += has - had
                    known.lost -= has - had
                known.borne = kept[name]
            assert known.lost >= 0
        for at, maker in enumerate(self.makers):
            maker.payable -= lost[at]
            maker.was_short = maker.was_short or self.pending(at) + maker.payable <= 0
        return lost

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
    def lose(self, at: int) -> None:
        """From now on bought credit makes good for it, at once and whenever it comes back."""
        known = self.disputes.get(f"dp_{at}")
        ledger.dispute_lost(f"dp_{at}")
        if known is not None:
            known.is_due = known.paid_at is not None and known.is_open
        payer = known.payer if known else 0
        due = sum(one.owed for one in self.disputes.values() if one.is_due and one.payer == payer)
        assert ledger.owed(self.workspaces[payer].pk) == due
        amount = ledger.make_good(self.workspaces[payer].pk, now=self.now)
        assert amount == min(due, self.payers[payer].bought)
        assert self.follow_disputes() == amount

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
            known.is_open = known.is_due = False
            self.counted_anew()

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
    def no_run_counts_as_paid_twice_or_by_a_payment_that_was_not_there(self) -> None:
        for reference, rows in self.counted().items():
            hold = self.holds[reference]
            assert sum(row.counted_micros for row in rows) <= hold.paid
            assert sum(row.left_micros for row in rows) <= hold.share
            for known in (self.disputes[row.dispute_id] for row in rows):
                assert hold.at is not None
                assert known.is_open
                assert known.payer == hold.payer
                assert hold.at <= known.at
                # Or by one that was there, and from which the dispute found something unspent.
                first = min(
                    one.paid_at for one in self.disputes.values() if one.payer == known.payer if one.paid_at
                )
                assert hold.at >= first

    @invariant()
    def no_run_is_spared_that_a_payment_with_something_left_could_have_paid(self) -> None:
        """Nor one that could be counted for another payment, which then leaves what it counts to that one."""
        counted = self.counted()
        windows, asking = {}, set()
        for payment in DisputedPayment.objects.filter(is_won=False):
            name = payment.dispute_id
            mine = [row for rows in counted.values() for row in rows if row.dispute_id == name]
            left = payment.spent_micros - sum(row.counted_micros for row in mine)
            assert left >= 0
            windows[name] = self.disputes[name].payer, payment.paid_at, payment.withdrawn_at
            if left > len(mine):  # beyond the dust of what was made good and refunded
                asking.add(name)
        reached: dict[UUID, ModelHold] = {}
        while asking:
            payer, since, until = windows[asking.pop()]
            for reference, hold in self.holds.items():
                was_there = hold.payer == payer and hold.at is not None and since <= hold.at <= until
                if was_there and reference not in reached:
                    reached[reference] = hold
                    asking |= {row.dispute_id for row in counted.get(reference, [])}
        for reference, hold in reached.items():
            assert sum(row.counted_micros for row in counted.get(reference, [])) == hold.paid

    @invariant()
    def who_had_a_share_of_what_nobody_made_good_for_has_it_no_more(self) -> None:
        for at, maker in enumerate(self.makers):
            owed = kept = rows_of = 0
            for reference, rows in self.counted().items():
                hold = self.holds[reference]
                if hold.maker == at:
                    owed += hold.share * sum(row.unpaid_micros for row in rows) // hold.paid
                    kept += sum(row.left_micros for row in rows)
                    rows_of += len(rows)
            dust = rows_of * (1 + len(self.credits)) if rows_of else 0
            assert kept <= owed + dust
            assert maker.was_short or kept >= owed - dust

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
            max_examples=20 * SOAK,
            stateful_step_count=30 if SOAK == 1 else 60,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
