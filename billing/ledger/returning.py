"""Bought credit that leaves again: given back on request, or taken by a dispute that a card's bank decided.

Asking for a refund takes the credit first, so that it cannot be spent while the refund is under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from billing.ledger.accounts import (
    AccountName,
    KeyReused,
    Kind,
    current_book,
    legs_of,
    lock_credit,
    open_workspace,
    post,
    post_once,
)
from billing.ledger.granting import add_grant
from billing.models import LedgerAccount, LedgerEntry, LedgerTransaction


class RefundExceedsCredit(Exception):
    """More was to be given back than there is of bought credit that nothing holds: `bought_micros`."""

    def __init__(self, *, bought_micros: int, needed_micros: int) -> None:
        super().__init__(f"{needed_micros} micro-dollars are more than the {bought_micros} that were bought")
        self.bought_micros = bought_micros
        self.needed_micros = needed_micros


class NoSuchTopupRefund(Exception):
    """No refund of credit was started, or none was done, under this id."""


class TopupRefundSettled(Exception):
    """The refund of credit had ended the other way."""


class NoSuchDispute(Exception):
    """Nothing was withdrawn for this dispute."""


@dataclass(frozen=True)
class Withdrawn:
    """What a dispute took: bought and granted credit of the workspace, and what the platform lost by it."""

    bought_micros: int
    granted_micros: int
    lost_micros: int
    is_new: bool


def topup_refund_started(
    refund: UUID,
    workspace_id: int,
    amount_micros: int,
    *,
    book: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Takes bought credit that is to be given back. True if this call did it, False if it had been done.

    Raises `RefundExceedsCredit` and `KeyReused`.
    """
    if amount_micros <= 0:
        raise ValueError("a refund is a positive number of micro-dollars")
    book, key = current_book(book), f"topup_refund:{refund}"
    legs = {
        AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): -amount_micros,
        AccountName(Kind.WORKSPACE_REFUNDING, workspace_id): amount_micros,
    }
    with transaction.atomic():
        _, bought = lock_credit(workspace_id, book=book)
        if bought < amount_micros and legs_of(key, book=book) is None:
            raise RefundExceedsCredit(bought_micros=bought, needed_micros=amount_micros)
        kind = LedgerTransaction.Kind.TOPUP_REFUND
        return post_once(book=book, key=key, kind=kind, legs=legs, reference=refund, at=now)


def topup_refund_done(refund: UUID, *, book: str | None = None, now: datetime | None = None) -> bool:
    """The money has left. True if this call booked it. Raises `NoSuchTopupRefund`, `TopupRefundSettled`."""
    return _end(refund, LedgerTransaction.Kind.TOPUP_REFUNDED, book=book, now=now)


def topup_refund_failed(refund: UUID, *, book: str | None = None, now: datetime | None = None) -> bool:
    """The money never left: the credit is there again. True if this call booked it.

    Raises `NoSuchTopupRefund`, and `TopupRefundSettled` after it was done: then it is `topup_refund_returned`.
    """
    return _end(refund, LedgerTransaction.Kind.TOPUP_REFUND_FAILED, book=book, now=now)


def topup_refund_returned(refund: UUID, *, book: str | None = None, now: datetime | None = None) -> bool:
    """A refund that was done came back from the bank: the credit is there again. True if this call booked it.

    Raises `NoSuchTopupRefund` where it was not done.
    """
    book = current_book(book)
    workspace_id, amount = _started(refund, book)
    done = LedgerTransaction.objects.filter(book=book, key=f"topup_refund_done:{refund}")
    if not done.filter(kind=LedgerTransaction.Kind.TOPUP_REFUNDED).exists():
        raise NoSuchTopupRefund(f"the refund {refund} of credit was not done")
    legs = {
        AccountName(Kind.STRIPE_CLEARING): -amount,
        AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): amount,
    }
    kind, key = LedgerTransaction.Kind.TOPUP_REFUND_FAILED, f"topup_refund_returned:{refund}"
    with transaction.atomic():
        return post_once(book=book, key=key, kind=kind, legs=legs, reference=refund, at=now)


def dispute_withdrawn(
    dispute_id: str,
    workspace_id: int,
    amount_micros: int,
    *,
    book: str | None = None,
    now: datetime | None = None,
) -> Withdrawn:
    """Takes what a card's bank took back: bought credit, then granted, as far as they go; the rest is a loss.

    What open runs hold is left to them. Once per dispute; repeated it changes nothing, with another workspace or
    amount it raises `KeyReused`.
    """
    if amount_micros <= 0 or not dispute_id or len(dispute_id) > 150:
        raise ValueError("a dispute is an id and a positive number of micro-dollars")
    book, key = current_book(book), f"dispute:{dispute_id}:withdrawn"
    with transaction.atomic():
        open_workspace(workspace_id, book=book)
        granted, bought = lock_credit(workspace_id, book=book)
        found = legs_of(key, book=book)
        if found is None:
            from_bought = min(bought, amount_micros)
            from_granted = min(granted, amount_micros - from_bought)
            lost = amount_micros - from_bought - from_granted
            legs = {
                AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): -from_bought,
                AccountName(Kind.WORKSPACE_GRANTED, workspace_id): -from_granted,
                AccountName(Kind.PLATFORM_LOSSES): -lost,
                AccountName(Kind.STRIPE_CLEARING): amount_micros,
            }
            kind, note = LedgerTransaction.Kind.DISPUTE, _note(workspace_id)
            if post(book=book, key=key, kind=kind, legs=legs, note=note, at=now) is not None:
                return Withdrawn(from_bought, from_granted, lost, is_new=True)
            found = legs_of(key, book=book)  # of another workspace, whose lock is another
    same = LedgerTransaction.objects.filter(book=book, key=key, note=_note(workspace_id))
    if found is None or found.get(Kind.STRIPE_CLEARING.value) != amount_micros or not same.exists():
        raise KeyReused(f"dispute {dispute_id} was booked with another workspace or amount")
    return Withdrawn(
        -found.get(AccountName(Kind.WORKSPACE_BOUGHT, workspace_id).code, 0),
        -found.get(AccountName(Kind.WORKSPACE_GRANTED, workspace_id).code, 0),
        -found.get(Kind.PLATFORM_LOSSES.value, 0),
        is_new=False,
    )


def dispute_reinstated(dispute_id: str, *, book: str | None = None, now: datetime | None = None) -> bool:
    """A dispute was won: everybody gets back what it had taken from them. True if this call booked it.

    Granted credit comes back without an end. Raises `NoSuchDispute` where nothing was withdrawn (yet).
    """
    book, at = current_book(book), now or timezone.now()
    withdrawn = f"dispute:{dispute_id}:withdrawn"
    entries = LedgerEntry.objects.filter(transaction__book=book, transaction__key=withdrawn)
    taken = {_name(entry.account): entry.amount_micros for entry in entries.select_related("account")}
    if not taken:
        raise NoSuchDispute(f"nothing was withdrawn for dispute {dispute_id}")
    kind, key = LedgerTransaction.Kind.REINSTATED, f"dispute:{dispute_id}:reinstated"
    with transaction.atomic():
        for workspace_id in {name.owner_id for name in taken if name.owner_id is not None}:
            lock_credit(workspace_id, book=book)
        posted = post(book=book, key=key, kind=kind, legs={name: -taken[name] for name in taken}, at=at)
        if posted is None:
            return False
        for name, amount in taken.items():
            if name.kind == Kind.WORKSPACE_GRANTED and name.owner_id is not None:
                add_grant(posted, name.owner_id, -amount, book=book, origin="dispute", expires_at=None, at=at)
    return True


def _name(account: LedgerAccount) -> AccountName:
    return AccountName(Kind(account.kind), account.workspace_id or account.publisher_id)


def _note(workspace_id: int) -> str:
    return f"workspace {workspace_id}"  # who lost nothing, as nothing was left, has no entry


def _started(refund: UUID, book: str) -> tuple[int, int]:
    entry = (
        LedgerEntry.objects.filter(
            transaction__book=book,
            transaction__key=f"topup_refund:{refund}",
            account__kind=Kind.WORKSPACE_REFUNDING,
        )
        .values_list("account__workspace_id", "amount_micros")
        .first()
    )
    if entry is None or entry[0] is None:
        raise NoSuchTopupRefund(f"no refund {refund} of credit was started")
    return entry[0], entry[1]


def _end(refund: UUID, kind: LedgerTransaction.Kind, *, book: str | None, now: datetime | None) -> bool:
    book = current_book(book)
    workspace_id, amount = _started(refund, book)
    is_done = kind == LedgerTransaction.Kind.TOPUP_REFUNDED
    back = AccountName(Kind.STRIPE_CLEARING) if is_done else AccountName(Kind.WORKSPACE_BOUGHT, workspace_id)
    legs = {AccountName(Kind.WORKSPACE_REFUNDING, workspace_id): -amount, back: amount}
    try:
        # Done and failed share this key, so they exclude each other.
        with transaction.atomic():
            key = f"topup_refund_done:{refund}"
            return post_once(book=book, key=key, kind=kind, legs=legs, reference=refund, at=now)
    except KeyReused as other:
        raise TopupRefundSettled(f"the refund {refund} of credit had ended otherwise") from other
