"""Which accounts there are, how they are named and opened, and how a movement is posted to them in one
statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict, Unpack
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from billing.models import CACHED_KINDS, UNCOUNTED, LedgerAccount, LedgerEntry, LedgerTransaction

Kind = LedgerAccount.Kind


class KeyReused(ValueError):
    """The key was used before for something else: another owner, amount or source."""


class AccountName(NamedTuple):
    """The name of one account of a book: its kind and its owner's key (none for the platform's)."""

    kind: LedgerAccount.Kind
    owner_id: int | None = None

    @property
    def code(self) -> str:
        return self.kind.value if self.owner_id is None else f"{self.kind.value}:{self.owner_id}"


@dataclass(frozen=True)
class Balance:
    """`available` can be spent now, `held` is set aside for open runs, `balance` is both; `granted` is part
    of `available`. Below `low_micros` the workspace wants to be warned; zero is never."""

    balance_micros: int
    held_micros: int
    available_micros: int
    granted_micros: int
    low_micros: int = field(default=0, compare=False)

    @property
    def bought_micros(self) -> int:
        """The part of `available` that was paid for."""
        return self.available_micros - self.granted_micros

    @property
    def is_low(self) -> bool:
        return self.available_micros < self.low_micros


def current_book(book: str | None = None) -> str:
    return settings.LEDGER_BOOK if book is None else book


def open_workspace(workspace_id: int, *, book: str | None = None) -> None:
    """Gives a workspace its accounts, empty. Safe to repeat; `credit` does it by itself."""
    kinds = (Kind.WORKSPACE_GRANTED, Kind.WORKSPACE_BOUGHT, Kind.WORKSPACE_HELD)
    open_accounts([AccountName(kind, workspace_id) for kind in kinds], book=current_book(book))


def open_accounts(names: Iterable[AccountName], *, book: str) -> None:
    LedgerAccount.objects.bulk_create(
        [
            LedgerAccount(
                book=book,
                kind=name.kind,
                code=name.code,
                workspace_id=name.owner_id if name.kind.startswith("workspace_") else None,
                publisher_id=name.owner_id if name.kind.startswith("publisher_") else None,
                open_bound=UNCOUNTED if name.kind == Kind.WORKSPACE_BOUGHT else 0,
            )
            for name in names
        ],
        ignore_conflicts=True,
    )


_BALANCE = """
    SELECT coalesce(sum(balance_micros), 0)::bigint,
           coalesce(sum(balance_micros) FILTER (WHERE kind = 'workspace_granted'), 0)::bigint,
           (SELECT coalesce(sum(granted_micros + bought_micros), 0)::bigint FROM billing_hold
             WHERE workspace_id = %(workspace)s AND book = %(book)s AND state = 'open'),
           CASE WHEN count(*) = 0 THEN 0 ELSE coalesce((SELECT below_micros FROM billing_lowbalance
             WHERE workspace_id = %(workspace)s AND book = %(book)s), %(low)s) END
      FROM billing_ledgeraccount WHERE book = %(book)s AND code = ANY(%(codes)s)
"""


def balance(workspace_id: int, *, book: str | None = None) -> Balance:
    """A workspace's credit as of one moment. A workspace that was never credited has zero, and is not warned."""
    with connection.cursor() as cursor:
        cursor.execute(
            _BALANCE,
            {
                "workspace": workspace_id,
                "book": current_book(book),
                "codes": [f"{kind}:{workspace_id}" for kind in CACHED_KINDS],
                "low": int(settings.LOW_BALANCE_MICROS),
            },
        )
        available, granted, held, low = cursor.fetchone()
    return Balance(available + held, held, available, granted, low)


_POST = """
    SELECT posted, known, owes
      FROM ledger_post(%s, %s, %s, %s::uuid, %s, %s, %s::text[], %s::bigint[])
"""


class Movement(TypedDict):
    """What `post` writes: under which key, and what it adds to which account."""

    book: str
    key: str
    kind: LedgerTransaction.Kind
    legs: Mapping[AccountName, int]
    reference: NotRequired[UUID | None]
    note: NotRequired[str]
    at: NotRequired[datetime | None]


class Posted(NamedTuple):
    """A movement that was written: its row id, and whether bought credit came by it that makes good for a debt
    first."""

    id: int
    owes: bool


def post(**movement: Unpack[Movement]) -> int | None:
    """Writes one movement under its key, moves the cached balances with it, and opens accounts that are
    missing.

    Returns its row id; None when the key was used before: then nothing was written. Legs of zero are left out.
    """
    posted = post_and_look(**movement)
    return posted.id if posted is not None else None


def post_and_look(**movement: Unpack[Movement]) -> Posted | None:
    """`post`, for who makes good with what came: whether there is something to make good for costs no statement, and
    is looked up once the credit is locked."""
    book = movement["book"]
    wanted = {name: amount for name, amount in movement["legs"].items() if amount}
    parameters = (
        book,
        movement["key"],
        movement["kind"].value,
        movement.get("reference"),
        movement.get("note", "")[:200],
        movement.get("at") or timezone.now(),
        [name.code for name in wanted],
        list(wanted.values()),
    )
    with connection.cursor() as cursor:
        cursor.execute(_POST, parameters)
        posted, found, owes = cursor.fetchone()
        if found < len(wanted):
            open_accounts(wanted, book=book)
            cursor.execute(_POST, parameters)
            posted, found, owes = cursor.fetchone()
    return None if posted is None else Posted(int(posted), bool(owes))


def post_once(**movement: Unpack[Movement]) -> bool:
    """`post`, which may be repeated: False where the same was posted before, `KeyReused` where something else was."""
    if post(**movement) is not None:
        return True
    key, legs = movement["key"], movement["legs"]
    if legs_of(key, book=movement["book"]) != {name.code: amount for name, amount in legs.items() if amount}:
        raise KeyReused(f"the key {key!r} was used for another movement")
    return False


def legs_of(key: str, *, book: str) -> dict[str, int] | None:
    """The amounts of the movement under a key by the codes of its accounts; None where there is none."""
    posted = LedgerTransaction.objects.filter(book=book, key=key).values_list("pk", flat=True).first()
    if posted is None:
        return None
    return dict(LedgerEntry.objects.filter(transaction=posted).values_list("account__code", "amount_micros"))


def lock_credit(workspace_id: int, *, book: str) -> tuple[int, int]:
    """Locks a workspace's spendable credit until the commit; what is available of granted and of bought credit."""
    codes = [f"{kind}:{workspace_id}" for kind in CACHED_KINDS]
    found = dict(
        LedgerAccount.objects.select_for_update(no_key=True)
        .filter(book=book, code__in=codes)
        .order_by("pk")
        .values_list("kind", "balance_micros")
    )
    return found.get(Kind.WORKSPACE_GRANTED.value, 0), found.get(Kind.WORKSPACE_BOUGHT.value, 0)


def lock_bought(workspace_id: int, *, book: str) -> int:
    """Locks a workspace's bought credit alone; what is available of it.

    For a transaction that has posted to it: asking for granted credit, too, it would wait for a run that has locked
    that and waits for this.
    """
    rows = LedgerAccount.objects.select_for_update(no_key=True).filter(
        book=book, code=AccountName(Kind.WORKSPACE_BOUGHT, workspace_id).code
    )
    return rows.values_list("balance_micros", flat=True).first() or 0


def totals(*, book: str | None = None) -> dict[str, int]:
    """The sum of every kind of account in the book. Minus `stripe_clearing` is what should be at Stripe."""
    rows = (
        LedgerEntry.objects.filter(account__book=current_book(book))
        .values_list("account__kind")
        .annotate(total=Sum("amount_micros"))
    )
    return {kind.value: 0 for kind in Kind} | dict(rows)
