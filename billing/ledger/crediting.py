"""Credit coming in: granted by the platform, or bought. And what the payment processor takes for it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.db import transaction
from django.utils import timezone

from billing.ledger.accounts import (
    AccountName,
    KeyReused,
    Kind,
    current_book,
    legs_of,
    open_workspace,
    post,
    post_once,
)
from billing.ledger.granting import add_grant
from billing.models import LedgerTransaction, LowBalance

#: What the keys of the ledger's own movements begin with.
RESERVED = (
    "hold:",
    "settle:",
    "refund:",
    "mature:",
    "payout:",
    "payout_done:",
    "payout_returned:",
    "topup_refund:",
    "topup_refund_done:",
    "topup_refund_returned:",
    "dispute:",
    "expired:",
    "fee:",
)
KEY_LENGTH = 180


def credit(
    workspace_id: int,
    amount_micros: int,
    *,
    source: Literal["granted", "bought"] = "granted",
    key: str,
    note: str = "",
    origin: str = "",
    expires_at: datetime | None = None,
    book: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Adds credit once per `key` (`promo:<grant>`, `topup:<checkout session>`); True if this call added it.

    Repeating the same call changes nothing and returns False; the key with other values raises `KeyReused`. Granted
    credit may expire, and says where it comes from (`origin`: "coupon"); what expires first is spent first.
    """
    if amount_micros <= 0:
        raise ValueError("credit must be a positive number of micro-dollars")
    if not key or len(key) > 200 or key.startswith(RESERVED):
        raise ValueError(f"a credit needs a key of its own, at most 200 characters, not {key[:40]!r}")
    book, at = current_book(book), now or timezone.now()
    if source == "granted":
        into, out_of = AccountName(Kind.WORKSPACE_GRANTED, workspace_id), AccountName(Kind.PLATFORM_PROMO)
        kind = LedgerTransaction.Kind.GRANT
        if expires_at is not None and expires_at <= at:
            raise ValueError("credit that has expired already is no credit")
    elif source == "bought":
        into, out_of = AccountName(Kind.WORKSPACE_BOUGHT, workspace_id), AccountName(Kind.STRIPE_CLEARING)
        kind = LedgerTransaction.Kind.PURCHASE
        if origin or expires_at is not None:
            raise ValueError("what was bought neither expires nor comes from elsewhere")
    else:
        raise ValueError("credit is granted or bought")
    legs = {into: amount_micros, out_of: -amount_micros}
    with transaction.atomic(savepoint=False):
        open_workspace(workspace_id, book=book)
        posted = post(book=book, key=key, kind=kind, legs=legs, note=note, at=at)
        if posted is not None:  # the next time that it runs low is news again
            LowBalance.objects.filter(workspace_id=workspace_id, book=book).exclude(told_at=None).update(
                told_at=None
            )
            if source == "granted":
                origin = (origin or key.partition(":")[0])[:40]
                add_grant(
                    posted,
                    workspace_id,
                    amount_micros,
                    book=book,
                    origin=origin,
                    expires_at=expires_at,
                    at=at,
                )
    if posted is None and legs_of(key, book=book) != {name.code: amount for name, amount in legs.items()}:
        raise KeyReused(f"the key {key!r} was used for another movement")
    return posted is not None


def fee(
    amount_micros: int, *, key: str, note: str = "", book: str | None = None, now: datetime | None = None
) -> bool:
    """Books what the payment processor kept of what came in, once per `key`; below zero, what it gave back.

    True if this call did it. Raises `KeyReused` where the key was for another amount.
    """
    if not amount_micros or not key or len(key) > KEY_LENGTH:
        raise ValueError("a fee is an amount other than zero with a key of its own")
    book = current_book(book)
    legs = {AccountName(Kind.PLATFORM_FEES): -amount_micros, AccountName(Kind.STRIPE_CLEARING): amount_micros}
    kind = LedgerTransaction.Kind.FEE
    return post_once(book=book, key=f"fee:{key}", kind=kind, legs=legs, note=note, at=now or timezone.now())
