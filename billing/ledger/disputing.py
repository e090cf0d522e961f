"""A payment that its card's bank took back: what it leaves behind, who bears that, and what comes back of it.

What is unspent goes first, bought credit before granted. What was spent is owed by the workspace, and until it is made
good it is borne by those who had it: the publishers of the runs that it paid for, as far as their shares have not been
paid out, and the platform. Which runs those are is worked out for all open disputes of a workspace together
(`billing.ledger.counting`, `billing.ledger.bearing`). What the workspace makes good goes back to who bore it, in
proportion; a dispute that is won gives everybody back what it took.

A run whose charge is given back while it counts for a dispute costs its publisher its share once: what the buyer gets
back of it makes good for the dispute first, as the payment is back with the buyer already.

What a publisher loses or gets back is a movement of its own, between it and the platform: in its export stands nothing
of the buyer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Greatest
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
from billing.ledger.earning import lock_maturity
from billing.ledger.granting import give_back
from billing.models import DisputedPayment, LedgerEntry, LedgerTransaction
from marketplace.models import Workspace

ID_LENGTH = 150
DISPUTES_LOCK = 0x56_54_44_53
AT_ONCE = 20  # recoveries of a dispute that are looked for
WORKSPACE = "workspace "
BEARERS = (Kind.PLATFORM_LOSSES, Kind.PUBLISHER_PAYABLE)


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
    book, key, at = current_book(book), f"dispute:{dispute_id}:withdrawn", now or timezone.now()
    with transaction.atomic():
        open_workspace(workspace_id, book=book)
        if paid_at is not None:
            _lock_earners(workspace_id, book, since=paid_at, until=at)
        granted, bought = lock_credit(workspace_id, book=book)
        found = legs_of(key, book=book)
        if found is None:
            from_bought = min(bought, amount_micros)
            from_granted = min(granted, amount_micros - from_bought)
            owed = amount_micros - from_bought - from_granted
            legs = {
                AccountName(Kind.WORKSPACE_BOUGHT, workspace_id): -from_bought,
                AccountName(Kind.WORKSPACE_GRANTED, workspace_id): -from_granted,
                AccountName(Kind.PLATFORM_LOSSES): -owed,
                AccountName(Kind.STRIPE_CLEARING): amount_micros,
            }
            kind, note = LedgerTransaction.Kind.DISPUTE, _note(workspace_id)
            if post(book=book, key=key, kind=kind, legs=legs, note=note, at=at) is not None:
                shares = 0
                if paid_at is not None:
                    new = DisputedPayment(
                        dispute_id=dispute_id,
                        book=book,
                        workspace_id=workspace_id,
                        paid_at=paid_at,
                        withdrawn_at=at,
                        unspent_micros=from_bought,
                        spent_micros=owed,
                        left_micros=owed,
                    )
                    shares = _come(new, book, at)
                return Withdrawn(from_bought, from_granted, owed - shares, is_new=True, shares_micros=shares)
            found = legs_of(key, book=book)  # of another workspace, whose lock is another
    return _withdrawn_before(dispute_id, workspace_id, amount_micros, found or {}, book)


def _withdrawn_before(
    dispute_id: str, workspace_id: int, amount_micros: int, found: Mapping[str, int], book: str
) -> Withdrawn:
    """What it took then. Raises `KeyReused` where that was another dispute."""
    key = f"dispute:{dispute_id}:withdrawn"
    same = LedgerTransaction.objects.filter(book=book, key=key, note=_note(workspace_id))
    if found.get(Kind.STRIPE_CLEARING.value) != amount_micros or not same.exists():
        raise KeyReused(f"dispute {dispute_id} was booked with another workspace or amount")
    known = DisputedPayment.objects.filter(book=book, dispute_id=dispute_id)
    owed = -found.get(Kind.PLATFORM_LOSSES.value, 0)
    taken = known.values_list("shares_micros", flat=True).first() or 0
    return Withdrawn(
        -found.get(AccountName(Kind.WORKSPACE_BOUGHT, workspace_id).code, 0),
        -found.get(AccountName(Kind.WORKSPACE_GRANTED, workspace_id).code, 0),
        owed - taken,
        is_new=False,
        shares_micros=taken,
    )


def _come(new: DisputedPayment, book: str, at: datetime) -> int:
    """Write down what a dispute left behind that was just withdrawn; what it takes of shares."""
    more: dict[str, dict[int, int]] = {}
    if new.spent_micros:
        more = bearing.count_anew([*bearing.open_payments(new.workspace_id, book=book), new], book=book)
    new.shares_micros = sum(more.get(new.dispute_id, {}).values())
    new.save(force_insert=True)
    _change_hands(more, book=book, at=at)
    return new.shares_micros


def _change_hands(more: Mapping[str, Mapping[int, int]], *, book: str, at: datetime) -> None:
    for dispute_id, parts in more.items():
        kind = LedgerTransaction.Kind.DISPUTE
        _share(dispute_id, {one: -part for one, part in parts.items()}, kind, book=book, at=at)


def _lock_earners(
    workspace_id: int, book: str, *, since: datetime | None = None, until: datetime | None = None
) -> None:
    """Lock whoever may lose or get back shares by a dispute of the workspace: before the credit, as everywhere, and in
    one order. Of several disputes of a workspace one at a time, so that it stays known who that is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [DISPUTES_LOCK, workspace_id % 2**31])
    known = bearing.open_payments(workspace_id, book=book)
    starts = [one.paid_at for one in known] + ([since] if since else [])
    ends = [one.withdrawn_at for one in known] + ([until] if until else [])
    if starts:
        for publisher_id in bearing.earners(workspace_id, min(starts), max(ends), book=book):
            lock_maturity(publisher_id, book=book)


def dispute_owed(dispute_id: str, *, book: str | None = None) -> int:
    """What was spent of a disputed payment and has not been made good; zero for one that was won."""
    left = _left(_movements(dispute_id, current_book(book)))
    return -sum(amount for name, amount in left.items() if name.kind in BEARERS)


def dispute_lost(dispute_id: str, *, book: str | None = None) -> None:
    """It is decided: from now on bought credit makes good for what is owed (`make_good`), and not before this commits.

    Whoever calls this calls that in the same transaction, for the credit that is there already. The credit is locked
    before that is noted: a refund that has it locked may note what it gives back of the same payment.
    """
    book = current_book(book)
    rows = DisputedPayment.objects.filter(book=book, dispute_id=dispute_id, is_won=False, is_due=False)
    workspace_id = rows.values_list("workspace", flat=True).first()
    if workspace_id is not None:
        with transaction.atomic():
            lock_bought(workspace_id, book=book)
            rows.update(is_due=True)


def owed(workspace_id: int, *, book: str | None = None) -> int:
    """What a workspace owes for all disputes that it lost."""
    due = DisputedPayment.objects.filter(workspace=workspace_id, book=current_book(book), is_due=True)
    return int(due.aggregate(total=Sum("left_micros", default=0))["total"])


def make_good(workspace_id: int, *, book: str | None = None, now: datetime | None = None) -> int:
    """Takes what is owed for disputes that were lost from bought credit, for the oldest first, as far as there is any;
    how much.

    Whoever loses a dispute notes that under the lock of the credit: either it is seen here, or the credit that was
    booked here is seen there.
    """
    book = current_book(book)
    with transaction.atomic():
        lock_bought(workspace_id, book=book)
        due = DisputedPayment.objects.filter(
            workspace=workspace_id, book=book, is_due=True, left_micros__gt=0
        )
        return sum(
            dispute_recovered(name, workspace_id, book=book, now=now)
            for name in list(due.order_by("pk").values_list("dispute_id", flat=True))
        )


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
        if not bought:
            return 0
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
        bearing.make_good(dispute_id, amount, owed, back, book=book)
        _share(dispute_id, back, kind, book=book, at=now)
    return amount


def refunded_of_disputed(
    reference: UUID,
    publisher_id: int | None,
    workspace_id: int,
    *,
    bought_left: int,
    share_left: int,
    book: str,
    now: datetime | None = None,
) -> int:
    """Makes good with what was just given back of a run for what disputes count of it beyond what is left of it: the
    buyer has that back already, and the publisher has lost its share by the refund. How much.

    Under the locks of a refund.
    """
    total = 0
    for part in bearing.uncount(reference, bought_left=bought_left, share_left=share_left, book=book):
        known = DisputedPayment.objects.filter(book=book, dispute_id=part.dispute_id)
        lost = -_left(_movements(part.dispute_id, book)).get(AccountName(Kind.PLATFORM_LOSSES), 0)
        amount = min(part.unpaid_micros, part.share_micros + lost)
        if amount:
            _recover(part.dispute_id, workspace_id, amount, book=book, at=now)
        # It was not spent, after all.
        less = F("spent_micros") - part.unpaid_micros - part.paid_micros
        known.update(spent_micros=Greatest(less, F("left_micros")))
        if publisher_id is not None:
            shares = {publisher_id: part.share_micros}
            _share(part.dispute_id, shares, LedgerTransaction.Kind.DISPUTE, book=book, at=now)
        total += amount
    return total


def dispute_reinstated(dispute_id: str, *, book: str | None = None, now: datetime | None = None) -> bool:
    """A dispute was won: everybody gets back what it had taken from them, and what was made good since. True if this
    call booked it.

    Runs that counted for it count for other disputes of the workspace, as far as they can. Granted credit ends as what
    had been taken. Raises `NoSuchDispute` where nothing was withdrawn (yet).
    """
    book, at = current_book(book), now or timezone.now()
    withdrawn = LedgerTransaction.objects.filter(book=book, key=f"dispute:{dispute_id}:withdrawn").first()
    if withdrawn is None:
        raise NoSuchDispute(f"nothing was withdrawn for dispute {dispute_id}")
    workspace = Workspace.objects.get(public_id=withdrawn.note.removeprefix(WORKSPACE))
    kind, key = LedgerTransaction.Kind.REINSTATED, f"dispute:{dispute_id}:reinstated"
    with transaction.atomic():
        _lock_earners(workspace.pk, book)
        lock_credit(workspace.pk, book=book)
        if LedgerTransaction.objects.filter(book=book, key=key).exists():
            return False
        taken = _left(_movements(dispute_id, book))
        more = _win(dispute_id, workspace.pk, book)
        shares = {
            name.owner_id: total for name, total in taken.items() if name.kind == Kind.PUBLISHER_PAYABLE
        }
        legs = {name: -total for name, total in taken.items() if name.kind != Kind.PUBLISHER_PAYABLE}
        legs[AccountName(Kind.PLATFORM_LOSSES)] = -taken.get(AccountName(Kind.PLATFORM_LOSSES), 0) - sum(
            shares.values()
        )
        posted = post(book=book, key=key, kind=kind, legs=legs, note=withdrawn.note, at=at)
        back = {one: -total for one, total in shares.items() if one is not None}
        _share(dispute_id, back, kind, book=book, at=at)
        _change_hands(more, book=book, at=at)
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


def _win(dispute_id: str, workspace_id: int, book: str) -> dict[str, dict[int, int]]:
    """Note that a dispute is won; what others take of shares for that."""
    payments = bearing.open_payments(workspace_id, book=book)
    won = next((one for one in payments if one.dispute_id == dispute_id), None)
    if won is None:
        return {}
    won.is_won, won.is_due, won.left_micros = True, False, 0
    won.save(update_fields=["is_won", "is_due", "left_micros"])
    more = bearing.count_anew(payments, book=book)
    more.pop(dispute_id, None)  # what it had goes back to everybody whole
    return more


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
    payment = DisputedPayment.objects.filter(book=book, dispute_id=dispute_id)
    payment.update(left_micros=F("left_micros") - amount_micros)


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


def _left(movements: list[int]) -> dict[AccountName, int]:
    """What these movements come to, by account."""
    entries = LedgerEntry.objects.filter(transaction__in=movements)
    rows = entries.values_list("account__kind", "account__workspace_id", "account__publisher_id")
    sums = rows.annotate(total=Sum("amount_micros"))
    return {AccountName(Kind(kind), ours or theirs): total for kind, ours, theirs, total in sums if total}


def _note(workspace_id: int) -> str:
    """Who it was: a workspace that lost nothing, as nothing was left, has no entry."""
    public_id = Workspace.objects.values_list("public_id", flat=True).get(pk=workspace_id)
    return f"{WORKSPACE}{public_id}"
