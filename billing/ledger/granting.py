"""Granted credit with an end: what is left of each grant, although spending it costs nothing extra.

The grant that expires first is spent first. So of what is left of all grants together, available or held, those that
last longest have their part first, and what remains after them is left of those that expire next. That is worked out
when a grant comes or ends, under the lock of the workspace's credit; in between, only the sum changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from billing.ledger.accounts import AccountName, Kind, current_book, lock_credit, post
from billing.models import Grant, Hold, LedgerTransaction

#: What comes back can be spent for so long at least, although what it was taken from has ended, or is about to.
AT_LEAST = timedelta(days=7)


def add_grant(
    transaction_id: int,
    workspace_id: int,
    amount_micros: int,
    *,
    book: str,
    origin: str,
    expires_at: datetime | None,
    at: datetime,
) -> None:
    """Notes a grant whose movement was just posted in this transaction, under the lock of the workspace's credit."""
    available, _ = lock_credit(workspace_id, book=book)
    _settle(workspace_id, book, available - amount_micros, at)
    _note(transaction_id, workspace_id, amount_micros, book, origin, expires_at, at)


def give_back(
    transaction_id: int,
    workspace_id: int,
    amount_micros: int,
    *,
    book: str,
    origin: str,
    spent_at: datetime,
    at: datetime,
) -> None:
    """Notes granted credit that came back by a movement that was just posted in this transaction, under the lock of the
    workspace's credit: it had been spent at `spent_at`, and ends when what it was spent of ends."""
    available, _ = lock_credit(workspace_id, book=book)
    _settle(workspace_id, book, available - amount_micros, at)
    there = Grant.objects.filter(workspace_id=workspace_id, book=book, spent_micros__gt=0).filter(
        Q(gone_at=None) | Q(gone_at__gte=spent_at), created_at__lte=spent_at
    )
    parts: dict[datetime | None, int] = {}
    rest = amount_micros
    for grant in _last_spent_first(there):
        part = min(grant.spent_micros, rest)
        if part:
            Grant.objects.filter(pk=grant.pk).update(spent_micros=F("spent_micros") - part)
            ends = max(grant.expires_at, at + AT_LEAST) if grant.expires_at else None
            parts[ends] = parts.get(ends, 0) + part
            rest -= part
    if rest:  # of grants that nothing is known of: nobody's credit ends for that
        parts[None] = parts.get(None, 0) + rest
    for ends, part in parts.items():
        _note(transaction_id, workspace_id, part, book, origin, ends, at)


def _note(
    transaction_id: int,
    workspace_id: int,
    amount_micros: int,
    book: str,
    origin: str,
    expires_at: datetime | None,
    at: datetime,
) -> None:
    Grant.objects.create(
        transaction_id=transaction_id,
        workspace_id=workspace_id,
        book=book,
        origin=origin,
        amount_micros=amount_micros,
        left_micros=amount_micros,
        expires_at=expires_at,
        created_at=at,
    )


def expire_grants(*, now: datetime | None = None, book: str | None = None) -> int:
    """Takes back what is left of grants that have expired; how many micro-dollars that were. Safe to repeat.

    What open runs hold of an expired grant is theirs: it is taken only once it is released.
    """
    at, book = now or timezone.now(), current_book(book)
    due = Grant.objects.filter(book=book, left_micros__gt=0, expires_at__lte=at)
    workspaces = due.order_by("workspace_id").values_list("workspace_id", flat=True).distinct()
    return sum(_expire(workspace_id, book, at) for workspace_id in list(workspaces))


def _expire(workspace_id: int, book: str, at: datetime) -> int:
    taken = 0
    with transaction.atomic():
        available, _ = lock_credit(workspace_id, book=book)
        left = _settle(workspace_id, book, available, at)
        kept = sum(grant.left_micros for grant in left if not _is_due(grant, at))
        spare = max(0, available - kept)  # the rest of what has expired is held by runs
        for grant in left:
            amount = min(grant.left_micros, spare) if _is_due(grant, at) else 0
            if amount:
                # What is left only shrinks, so each time that a part is taken has a key of its own.
                key = f"expired:{grant.public_id}:{grant.left_micros}"
                legs = {
                    AccountName(Kind.WORKSPACE_GRANTED, workspace_id): -amount,
                    AccountName(Kind.PLATFORM_PROMO): amount,
                }
                if post(book=book, key=key, kind=LedgerTransaction.Kind.EXPIRED, legs=legs, at=at) is None:
                    raise RuntimeError(f"grant {grant.pk} expired although that had been written down")
                gone_at = at if amount == grant.left_micros else None
                Grant.objects.filter(pk=grant.pk).update(
                    left_micros=F("left_micros") - amount, gone_at=gone_at
                )
                spare, taken = spare - amount, taken + amount
    return taken


def _settle(workspace_id: int, book: str, available: int, at: datetime) -> list[Grant]:
    """Brings what is left of each grant up to date; those with something left, by when they are spent."""
    held = Hold.objects.filter(workspace_id=workspace_id, book=book, state="open")
    rest = available + held.aggregate(total=Sum("granted_micros", default=0))["total"]
    left = []
    grants = Grant.objects.filter(workspace_id=workspace_id, book=book, left_micros__gt=0)
    for grant in _last_spent_first(grants):
        part = min(grant.left_micros, rest)
        rest -= part
        if part != grant.left_micros:
            Grant.objects.filter(pk=grant.pk).update(
                left_micros=part,
                spent_micros=F("spent_micros") + grant.left_micros - part,
                gone_at=None if part else at,
            )
            grant.left_micros = part
        if part:
            left.append(grant)
    return left[::-1]


def _last_spent_first(grants: Iterable[Grant]) -> list[Grant]:
    def ends(grant: Grant) -> tuple[bool, float, int]:
        return grant.expires_at is None, grant.expires_at.timestamp() if grant.expires_at else 0.0, grant.pk

    return sorted(grants, key=ends, reverse=True)


def _is_due(grant: Grant, at: datetime) -> bool:
    return grant.expires_at is not None and grant.expires_at <= at
