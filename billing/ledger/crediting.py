"""Credit coming in: granted by the platform, or bought."""

from __future__ import annotations

from typing import Literal

from django.db import transaction

from billing.ledger.accounts import AccountName, Kind, current_book, open_workspace, post
from billing.models import LedgerEntry, LedgerTransaction, LowBalance

RESERVED = ("hold:", "settle:")


class KeyReused(ValueError):
    """The key was used before for something else: another workspace, amount or source."""


def credit(
    workspace_id: int,
    amount_micros: int,
    *,
    source: Literal["granted", "bought"] = "granted",
    key: str,
    note: str = "",
    book: str | None = None,
) -> bool:
    """Adds credit once per `key` (`promo:<grant>`, `topup:<checkout session>`); True if this call added it.

    Repeating the same call changes nothing and returns False; the key with other values raises `KeyReused`.
    """
    if amount_micros <= 0:
        raise ValueError("credit must be a positive number of micro-dollars")
    if not key or len(key) > 200 or key.startswith(RESERVED):
        raise ValueError(f"a credit needs a key of its own, at most 200 characters, not {key[:40]!r}")
    book = current_book(book)
    if source == "granted":
        into, out_of = AccountName(Kind.WORKSPACE_GRANTED, workspace_id), AccountName(Kind.PLATFORM_PROMO)
        kind = LedgerTransaction.Kind.GRANT
    elif source == "bought":
        into, out_of = AccountName(Kind.WORKSPACE_BOUGHT, workspace_id), AccountName(Kind.STRIPE_CLEARING)
        kind = LedgerTransaction.Kind.PURCHASE
    else:
        raise ValueError("credit is granted or bought")
    with transaction.atomic(savepoint=False):
        open_workspace(workspace_id, book=book)
        legs = {into: amount_micros, out_of: -amount_micros}
        is_new = post(book=book, key=key, kind=kind, legs=legs, note=note)
        if is_new:  # the next time that it runs low is news again
            LowBalance.objects.filter(workspace_id=workspace_id, book=book).exclude(told_at=None).update(
                told_at=None
            )
    if not is_new and not _is_same(book, key, into, amount_micros):
        raise KeyReused(f"the key {key!r} was used for another movement")
    return is_new


def _is_same(book: str, key: str, into: AccountName, amount_micros: int) -> bool:
    return LedgerEntry.objects.filter(
        transaction__book=book,
        transaction__key=key,
        account__code=into.code,
        amount_micros=amount_micros,
    ).exists()
