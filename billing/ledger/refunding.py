"""A charge given back after its capture, whole or in part, and never more of it than was charged.

The money returns to where it came from, bought credit first; granted credit that had an end has it again. The
publisher's share and the platform's fee are undone with it: of the payable share the fraction of the bought part that
was given back, of the unpayable one that of the granted part (of all, where none is payable, as of a publisher's own
run). Fractions are of all refunds together and rounded down, so that many small refunds come to what one large one
does, and a whole one leaves nothing behind.

Where the run counts as paid by a disputed payment, that is back with the buyer already: what is given back of the run
makes good for that dispute, and the publisher has back from it what the refund takes, so that it loses its share once.
What is left makes good for disputes that were lost, as all bought credit that comes.

Limits on spending do not get the amount back: they bound what is run, and it was run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from billing.ledger.accounts import AccountName, KeyReused, Kind, lock_credit, post
from billing.ledger.disputing import make_good, refunded_of_disputed
from billing.ledger.earning import lock_maturity
from billing.ledger.granting import give_back
from billing.ledger.settling import NoSuchHold
from billing.models import Hold, LedgerEntry, LedgerTransaction, Refund, RefundReason, RefundSide

KEY_LENGTH = 180


class RefundExceedsCharge(ValueError):
    """More was to be given back than is left of the charge: `left_micros`."""

    def __init__(self, reference: UUID, left_micros: int) -> None:
        super().__init__(f"{left_micros} micro-dollars are left of the charge of {reference}")
        self.reference = reference
        self.left_micros = left_micros


@dataclass(frozen=True)
class Refunded:
    """One refund. amount = share + fee = granted + bought; `total` is everything refunded of this charge so far.

    `payable_share` is the part of the share that would have been, or was, paid out. `is_new`: this call did it.
    `made_good` is what of the bought part went on at once to disputed payments; zero where it is not new.
    """

    reference: UUID
    workspace_id: int
    amount_micros: int
    granted_micros: int
    bought_micros: int
    share_micros: int
    payable_share_micros: int
    fee_micros: int
    total_micros: int
    charged_micros: int
    is_new: bool
    made_good_micros: int = 0


class _Parts(NamedTuple):
    """What a charge is made of, or what has been given back of it: by source, and what the publisher has of it."""

    granted: int
    bought: int
    payable: int
    unpayable: int

    @property
    def total(self) -> int:
        return self.granted + self.bought

    def minus(self, other: _Parts) -> _Parts:
        return _Parts(*(a - b for a, b in zip(self, other, strict=True)))


def refund(
    reference: UUID,
    amount_micros: int,
    *,
    key: str,
    reason: str,
    by: int | None = None,
    side: Literal["operator", "publisher", "system"] = "operator",
    note: str = "",
    now: datetime | None = None,
) -> Refunded:
    """Gives so much of the charge of a run back, once per `key`. `by` is the user who decided it, of that `side`.

    Repeating the call changes nothing. What the publisher loses comes out of what is still pending of that charge,
    else out of what can be paid out, which may go below zero: the next earnings then make up for it first.
    Raises `NoSuchHold`, `RefundExceedsCharge` (also where nothing was charged), `KeyReused`, and ValueError for an
    amount of zero or less and for an unknown reason; the caller's transaction stays usable.
    """
    if amount_micros <= 0:
        raise ValueError("a refund is a positive number of micro-dollars")
    if reason not in RefundReason.values or side not in RefundSide.values:
        raise ValueError(f"no refund for {reason!r} by {side!r}")
    if not key or len(key) > KEY_LENGTH:
        raise ValueError(f"a refund needs a key of its own, at most {KEY_LENGTH} characters")
    at = now or timezone.now()
    with transaction.atomic():
        # The closed hold is what refunds of one charge queue up at.
        hold = Hold.objects.select_for_update(no_key=True).filter(reference=reference).first()
        if hold is None:
            raise NoSuchHold(f"nothing was held for {reference}")
        earlier = Refund.objects.filter(transaction__book=hold.book, transaction__key=f"refund:{key}").first()
        if earlier is not None:
            if (earlier.reference, earlier.amount_micros) != (reference, amount_micros):
                raise KeyReused(f"the key {key!r} was used for another refund")
            return _told(earlier, hold, is_new=False)
        done = _Refunding(hold, amount_micros)
        row = done.post(f"refund:{key}", at=at)
        row.reason, row.side, row.note, row.by_user_id = reason, side, note[:500], by
        row.save(force_insert=True)
        return replace(_told(row, hold, is_new=True), made_good_micros=done.make_good(at=at))


class _Refunding:
    """One refund of a charge whose hold is locked: what goes where."""

    def __init__(self, hold: Hold, amount_micros: int) -> None:
        self.hold = hold
        self.charge, self.publisher_id, self.earned_at = _charge_of(hold)
        before = _given_back(hold)
        left = self.charge.total - before.total
        if amount_micros > left:
            raise RefundExceedsCharge(hold.reference, left)
        bought = min(amount_micros, self.charge.bought - before.bought)
        granted = amount_micros - bought
        after = _undone(self.charge, before.granted + granted, before.bought + bought)
        self.part = after.minus(before)
        self.left = self.charge.minus(after)

    def post(self, key: str, *, at: datetime) -> Refund:
        """Posts the movement; the row of the refund, not stored yet."""
        hold, part, pending = self.hold, self.part, 0
        legs = {
            AccountName(Kind.PLATFORM_REVENUE): part.payable + part.unpayable - part.total,
            AccountName(Kind.WORKSPACE_GRANTED, hold.workspace_id): part.granted,
            AccountName(Kind.WORKSPACE_BOUGHT, hold.workspace_id): part.bought,
        }
        if self.publisher_id is not None:
            has_matured = self.earned_at <= lock_maturity(self.publisher_id, book=hold.book).matured_until
            pending = 0 if has_matured else part.payable
            legs[AccountName(Kind.PUBLISHER_PENDING, self.publisher_id)] = -pending
            legs[AccountName(Kind.PUBLISHER_PAYABLE, self.publisher_id)] = pending - part.payable
            legs[AccountName(Kind.PUBLISHER_UNPAYABLE, self.publisher_id)] = -part.unpayable
        lock_credit(hold.workspace_id, book=hold.book)
        kind = LedgerTransaction.Kind.REFUND
        posted = post(book=hold.book, key=key, kind=kind, legs=legs, reference=hold.reference, at=at)
        if posted is None:
            raise KeyReused(f"the key {key!r} was used for the refund of another run")
        if part.granted:
            give_back(
                posted,
                hold.workspace_id,
                part.granted,
                book=hold.book,
                origin="refund",
                spent_at=self.earned_at,
                at=at,
            )
        return Refund(
            transaction_id=posted,
            reference=hold.reference,
            workspace_id=hold.workspace_id,
            publisher_id=self.publisher_id,
            book=hold.book,
            amount_micros=part.total,
            granted_micros=part.granted,
            pending_micros=pending,
            payable_micros=part.payable - pending,
            unpayable_micros=part.unpayable,
            earned_at=self.earned_at,
            occurred_at=at,
        )

    def make_good(self, *, at: datetime) -> int:
        """What of it goes on to disputed payments."""
        hold = self.hold
        if not self.part.bought:
            return 0
        counted = refunded_of_disputed(
            hold.reference,
            self.publisher_id,
            hold.workspace_id,
            bought_left=self.left.bought,
            share_left=self.left.payable,
            book=hold.book,
            now=at,
        )
        return counted + make_good(hold.workspace_id, book=hold.book, now=at)


def _charge_of(hold: Hold) -> tuple[_Parts, int | None, datetime]:
    """What was charged, who earned from it, and when; all zero where nothing was captured."""
    granted = min(hold.captured_micros, hold.granted_micros)
    charge = _Parts(granted, hold.captured_micros - granted, 0, 0)
    entries = LedgerEntry.objects.filter(
        transaction__book=hold.book,
        transaction__key=f"settle:{hold.reference}",
        account__publisher__isnull=False,
    )
    publisher_id: int | None = None
    for entry in entries.select_related("account"):
        publisher_id = entry.account.publisher_id
        if entry.account.kind == Kind.PUBLISHER_PENDING:
            charge = charge._replace(payable=entry.amount_micros)
        else:
            charge = charge._replace(unpayable=entry.amount_micros)
    return charge, publisher_id, hold.closed_at or hold.opened_at


def _given_back(hold: Hold) -> _Parts:
    sums = Refund.objects.filter(reference=hold.reference).aggregate(
        amount=Sum("amount_micros", default=0),
        granted=Sum("granted_micros", default=0),
        payable=Sum("pending_micros", default=0) + Sum("payable_micros", default=0),
        unpayable=Sum("unpayable_micros", default=0),
    )
    return _Parts(sums["granted"], sums["amount"] - sums["granted"], sums["payable"] or 0, sums["unpayable"])


def _undone(charge: _Parts, granted: int, bought: int) -> _Parts:
    """What is undone of a charge once so much of each source has been given back."""
    payable = charge.payable * bought // charge.bought if charge.payable else 0
    if charge.payable and charge.granted:
        unpayable = charge.unpayable * granted // charge.granted
    else:
        unpayable = charge.unpayable * (granted + bought) // charge.total if charge.total else 0
    return _Parts(granted, bought, payable, unpayable)


def _told(row: Refund, hold: Hold, *, is_new: bool) -> Refunded:
    payable = row.pending_micros + row.payable_micros
    share = payable + row.unpayable_micros
    return Refunded(
        reference=hold.reference,
        workspace_id=hold.workspace_id,
        amount_micros=row.amount_micros,
        granted_micros=row.granted_micros,
        bought_micros=row.amount_micros - row.granted_micros,
        share_micros=share,
        payable_share_micros=payable,
        fee_micros=row.amount_micros - share,
        total_micros=_given_back(hold).total,
        charged_micros=hold.captured_micros,
        is_new=is_new,
    )
