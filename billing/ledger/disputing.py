"""A payment that its card's bank took back: what it leaves behind, who bears that, and what comes back of it.

What is unspent goes first, bought credit before granted. What was spent is owed by the workspace, and until it is made
good it is borne by those who had it: the publishers of the runs that it paid for, as far as their shares have not been
paid out, and the platform. Credit is one pot, so nothing says which runs one payment paid for: the newest since that
payment count as those. What the workspace makes good goes back to who bore it, in proportion; a dispute that is won
gives everybody back what it took.

A run whose charge is given back after its share was taken costs its publisher that share once: what the buyer gets back
of it makes good for the dispute first, as the payment is back with the buyer already.

What a publisher loses or gets back is a movement of its own, between it and the platform: in its export stands nothing
of the buyer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import count
from math import ceil
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from billing.ledger import bearing
from billing.ledger.accounts import (
    AccountName,
    KeyReused,
    Kind,
    current_book,
    legs_of,
    lock_bought,
    lock_credit,
    open_workspace,
    post,
)
from billing.ledger.earning import lock_maturity, publisher_balance
from billing.ledger.granting import give_back
from billing.models import LedgerEntry, LedgerTransaction
from billing.models.books import NOT_MOVES
from marketplace.models import Workspace

ID_LENGTH = 150
AT_ONCE = 20  # recoveries of a dispute that are looked for
WORKSPACE = "workspace "
BEARERS = (Kind.PLATFORM_LOSSES, Kind.PUBLISHER_PAYABLE)
KINDS = (LedgerTransaction.Kind.DISPUTE, LedgerTransaction.Kind.REINSTATED)


class NoSuchDispute(Exception):
    """Nothing was withdrawn for this dispute."""


@dataclass(frozen=True)
class Withdrawn:
    """What a dispute took: bought and granted credit of the workspace, the shares of publishers, and what the platform
    lost by it."""

    bought_micros: int
    granted_micros: int
    lost_micros: int
    is_new: bool
    shares_micros: int = 0

    @property
    def owed_micros(self) -> int:
        """What had been spent already."""
        return self.shares_micros + self.lost_micros


def dispute_withdrawn(
    dispute_id: str,
    workspace_id: int,
    amount_micros: int,
    *,
    paid_at: datetime | None = None,
    book: str | None = None,
    now: datetime | None = None,
) -> Withdrawn:
    """Takes what a card's bank took back: bought credit, then granted, as far as they go; then of what it paid for.

    `paid_at`: when the credit was bought; without it publishers keep their shares. What open runs hold is left to them.
    Once per dispute; repeated it changes nothing, with another workspace or amount it raises `KeyReused`.
    """
    if amount_micros <= 0 or not dispute_id or len(dispute_id) > ID_LENGTH:
        raise ValueError("a dispute is an id and a positive number of micro-dollars")
    book, key = current_book(book), f"dispute:{dispute_id}:withdrawn"
    with transaction.atomic():
        open_workspace(workspace_id, book=book)
        earners = bearing.earners(workspace_id, paid_at, book) if paid_at is not None else []
        for publisher_id in earners:  # before the credit, as everywhere, and in one order
            lock_maturity(publisher_id, book=book)
        granted, bought = lock_credit(workspace_id, book=book)
        found = legs_of(key, book=book)
        if found is None:
            from_bought = min(bought, amount_micros)
            from_granted = min(granted, amount_micros - from_bought)
            owed = amount_micros - from_bought - from_granted
            shares = (
                _shares(dispute_id, workspace_id, owed, paid_at, earners, book) if paid_at is not None else {}
            )
            legs = {
                AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): -from_bought,
                AccountName(Kind.WORKSPACE_GRANTED, workspace_id): -from_granted,
                AccountName(Kind.PLATFORM_LOSSES): -owed,
                AccountName(Kind.STRIPE_CLEARING): amount_micros,
            }
            kind, note = LedgerTransaction.Kind.DISPUTE, _note(workspace_id)
            if post(book=book, key=key, kind=kind, legs=legs, note=note, at=now) is not None:
                _share(dispute_id, {one: -share for one, share in shares.items()}, kind, book=book, at=now)
                lost = owed - sum(shares.values())
                return Withdrawn(from_bought, from_granted, lost, is_new=True, shares_micros=owed - lost)
            found = legs_of(key, book=book)  # of another workspace, whose lock is another
    same = LedgerTransaction.objects.filter(book=book, key=key, note=_note(workspace_id))
    if found is None or found.get(Kind.STRIPE_CLEARING.value) != amount_micros or not same.exists():
        raise KeyReused(f"dispute {dispute_id} was booked with another workspace or amount")
    owed, taken = -found.get(Kind.PLATFORM_LOSSES.value, 0), _taken(dispute_id, book)
    return Withdrawn(
        -found.get(AccountName(Kind.WORKSPACE_BOUGHT, workspace_id).code, 0),
        -found.get(AccountName(Kind.WORKSPACE_GRANTED, workspace_id).code, 0),
        owed - taken,
        is_new=False,
        shares_micros=taken,
    )


def dispute_owed(dispute_id: str, *, book: str | None = None) -> int:
    """What was spent of a disputed payment and has not been made good; zero for one that was won."""
    left = _left(_movements(dispute_id, current_book(book)))
    return -sum(amount for name, amount in left.items() if name.kind in BEARERS)


def dispute_recovered(
    dispute_id: str, workspace_id: int, *, book: str | None = None, now: datetime | None = None
) -> int:
    """Takes what is owed for a dispute from bought credit, as far as there is any; how much. Repeated, it takes more.

    It goes to who bore it: publishers in proportion, rounded up, and the platform the rest, which is never more than it
    bore.
    """
    book = current_book(book)
    with transaction.atomic():
        bought = lock_bought(workspace_id, book=book)
        left = _left(_movements(dispute_id, book))
        borne = {name: -total for name, total in left.items() if name.kind in BEARERS}
        owed = sum(borne.values())
        amount = min(bought, owed)
        if amount <= 0:
            return 0
        kind = LedgerTransaction.Kind.DISPUTE
        _recover(dispute_id, workspace_id, amount, book=book, at=now)
        back = {
            name.owner_id: -(-part * amount // owed)
            for name, part in borne.items()
            if name.owner_id is not None
        }
        _give_back(dispute_id, back, kind, book=book, at=now)
    return amount


def refunded_of_disputed(
    reference: UUID,
    publisher_id: int,
    workspace_id: int,
    *,
    share_left: int,
    price: Fraction,
    most: int,
    book: str,
    now: datetime | None = None,
) -> int:
    """Makes good with what was just given back of a run for what disputes have of its share beyond what is left of
    that: the publisher has lost it by the refund, and the buyer has the payment back already. How much, `most` at most.

    `price` is what of the charge goes with a micro-dollar of the share. Under the locks of a refund.
    """
    kept = bearing.kept(reference, book=book)
    too_much, total = sum(kept.values()) - share_left, 0
    for dispute_id, has in kept.items():
        share = min(has, too_much)
        if share <= 0:
            break
        too_much -= share
        lost = -_left(_movements(dispute_id, book)).get(AccountName(Kind.PLATFORM_LOSSES), 0)
        amount = min(ceil(share * price), share + lost, most - total - too_much)
        _recover(dispute_id, workspace_id, amount, book=book, at=now)
        bearing.give_back_of(dispute_id, reference, share, book=book)
        _share(dispute_id, {publisher_id: share}, LedgerTransaction.Kind.DISPUTE, book=book, at=now)
        total += amount
    return total


def dispute_reinstated(dispute_id: str, *, book: str | None = None, now: datetime | None = None) -> bool:
    """A dispute was won: everybody gets back what it had taken from them, and what was made good since. True if this
    call booked it.

    Granted credit ends as what had been taken. Raises `NoSuchDispute` where nothing was withdrawn (yet).
    """
    book, at = current_book(book), now or timezone.now()
    withdrawn = LedgerTransaction.objects.filter(book=book, key=f"dispute:{dispute_id}:withdrawn").first()
    if withdrawn is None:
        raise NoSuchDispute(f"nothing was withdrawn for dispute {dispute_id}")
    workspace = Workspace.objects.get(public_id=withdrawn.note.removeprefix(WORKSPACE))
    kind, key = LedgerTransaction.Kind.REINSTATED, f"dispute:{dispute_id}:reinstated"
    with transaction.atomic():
        lock_credit(workspace.pk, book=book)
        if LedgerTransaction.objects.filter(book=book, key=key).exists():
            return False
        taken = _left(_movements(dispute_id, book))
        shares = {
            name.owner_id: total for name, total in taken.items() if name.kind == Kind.PUBLISHER_PAYABLE
        }
        legs = {name: -total for name, total in taken.items() if name.kind != Kind.PUBLISHER_PAYABLE}
        legs[AccountName(Kind.PLATFORM_LOSSES)] = -taken.get(AccountName(Kind.PLATFORM_LOSSES), 0) - sum(
            shares.values()
        )
        posted = post(book=book, key=key, kind=kind, legs=legs, note=withdrawn.note, at=at)
        back = {one: -total for one, total in shares.items() if one is not None}
        _give_back(dispute_id, back, kind, book=book, at=at)
        granted = -taken.get(AccountName(Kind.WORKSPACE_GRANTED, workspace.pk), 0)
        if posted is not None and granted:
            give_back(
                posted,
                workspace.pk,
                granted,
                book=book,
                origin="dispute",
                spent_at=withdrawn.created_at,
                at=at,
            )
    return posted is not None


def _recover(
    dispute_id: str, workspace_id: int, amount_micros: int, *, book: str, at: datetime | None
) -> None:
    """Move so much from bought credit to the platform, which bears the dispute with others."""
    legs = {
        AccountName(Kind.PLATFORM_LOSSES): amount_micros,
        AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): -amount_micros,
    }
    beginning, kind = _recovered(dispute_id), LedgerTransaction.Kind.DISPUTE
    key, note = f"{beginning}{len(_run(beginning, book)) + 1}", _note(workspace_id)
    if post(book=book, key=key, kind=kind, legs=legs, note=note, at=at) is None:
        raise KeyReused(f"dispute {dispute_id} is of another workspace")


def _give_back(
    dispute_id: str,
    parts: Mapping[int, int],
    kind: LedgerTransaction.Kind,
    *,
    book: str,
    at: datetime | None,
) -> None:
    """Give publishers parts of their shares back, whichever runs they are of."""
    for publisher_id, part in parts.items():
        bearing.give_back(dispute_id, publisher_id, part, book=book)
    _share(dispute_id, parts, kind, book=book, at=at)


def _share(
    dispute_id: str,
    parts: Mapping[int, int],
    kind: LedgerTransaction.Kind,
    *,
    book: str,
    at: datetime | None,
) -> None:
    """Move parts of shares between publishers and the platform, each in a movement of its own."""
    number = len(_run(_shared(dispute_id), book))
    for publisher_id, part in sorted(parts.items()):
        if not part:
            continue
        number += 1
        legs = {
            AccountName(Kind.PUBLISHER_PAYABLE, publisher_id): part,
            AccountName(Kind.PLATFORM_LOSSES): -part,
        }
        if post(book=book, key=f"{_shared(dispute_id)}{number}", kind=kind, legs=legs, at=at) is None:
            raise KeyReused(f"dispute {dispute_id} is of another workspace")


def _recovered(dispute_id: str) -> str:
    return f"dispute:{dispute_id}:recovered:"


def _shared(dispute_id: str) -> str:
    return f"dispute:{dispute_id}:share:"


def _run(beginning: str, book: str) -> list[int]:
    """The movements whose keys end with 1, 2, … after that. Found by whole keys: the index knows no beginnings."""
    found: list[int] = []
    for first in count(1, AT_ONCE):
        keys = [f"{beginning}{number}" for number in range(first, first + AT_ONCE)]
        some = list(LedgerTransaction.objects.filter(book=book, key__in=keys).values_list("pk", flat=True))
        found += some
        if len(some) < AT_ONCE:
            break
    return found


def _movements(dispute_id: str, book: str) -> list[int]:
    """All movements of a dispute."""
    ends = [f"dispute:{dispute_id}:withdrawn", f"dispute:{dispute_id}:reinstated"]
    found = list(LedgerTransaction.objects.filter(book=book, key__in=ends).values_list("pk", flat=True))
    return found + _run(_recovered(dispute_id), book) + _run(_shared(dispute_id), book)


def _taken(dispute_id: str, book: str) -> int:
    """What was taken of shares, whatever was given back since."""
    entries = LedgerEntry.objects.filter(
        transaction__in=_run(_shared(dispute_id), book),
        account__kind=Kind.PUBLISHER_PAYABLE,
        amount_micros__lt=0,
    )
    return -int(entries.aggregate(total=Sum("amount_micros", default=0))["total"])


def _left(movements: list[int]) -> dict[AccountName, int]:
    """What these movements come to, by account."""
    entries = LedgerEntry.objects.filter(transaction__in=movements)
    rows = entries.values_list("account__kind", "account__workspace_id", "account__publisher_id")
    sums = rows.annotate(total=Sum("amount_micros"))
    return {AccountName(Kind(kind), ours or theirs): total for kind, ours, theirs, total in sums if total}


def _shares(
    dispute_id: str, workspace_id: int, owed: int, since: datetime, earners: list[int], book: str
) -> dict[int, int]:
    """What each publisher loses of its shares, noted by run; never more than it has, so that what was paid out stays
    paid.

    Counted together with what other disputes of the workspace took since the payment, so that no run is taken for two
    of them.
    """
    if not owed or not earners:
        return {}
    earlier: dict[int | None, int] = {}
    for other in _disputes_of(workspace_id, since, book):
        for name, total in _left(_movements(other, book)).items():
            if name.kind in BEARERS:
                earlier[name.owner_id] = earlier.get(name.owner_id, 0) + total
    counted = bearing.Counted(workspace_id, since, owed - sum(earlier.values()), earners, book)
    found = {}
    left = owed
    for publisher_id, share in counted.shares():
        has = publisher_balance(publisher_id, book=book)
        mine = min(share + earlier.get(publisher_id, 0), has.pending_micros + has.payable_micros, left)
        if mine > 0:
            found[publisher_id] = mine
            left -= mine
    return counted.take(dispute_id, found) if found else {}


def _disputes_of(workspace_id: int, since: datetime, book: str) -> list[str]:
    """Those that were withdrawn since then: earlier ones took nothing of runs since."""
    # Said twice, as the index of what is no run knows it by these words.
    rows = LedgerTransaction.objects.exclude(kind__in=NOT_MOVES).filter(
        book=book,
        kind=LedgerTransaction.Kind.DISPUTE,
        note=_note(workspace_id),
        key__endswith=":withdrawn",
        created_at__gte=since,
    )
    return [key.split(":")[1] for key in rows.values_list("key", flat=True)]


def _note(workspace_id: int) -> str:
    """Who it was: a workspace that lost nothing, as nothing was left, has no entry."""
    public_id = Workspace.objects.values_list("public_id", flat=True).get(pk=workspace_id)
    return f"{WORKSPACE}{public_id}"
