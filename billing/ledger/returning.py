"""Bought credit that is given back on request.

Asking for a refund takes the credit first, so that it cannot be spent while the refund is under way.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from billing.ledger.accounts import (
    AccountName,
    KeyReused,
    Kind,
    current_book,
    legs_of,
    lock_credit,
    post_once,
)
from billing.models import LedgerEntry, LedgerTransaction


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
