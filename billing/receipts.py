"""What the books keep of single runs for good: what was charged and from what, who earned from it, what was given back.

It outlives the run itself, and knows it by its reference only. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from django.db.models import QuerySet, Sum

from billing.ledger.accounts import Kind, current_book
from billing.models import Hold, LedgerEntry, Refund, RefundReason, UsageRecord

MICROS = 1_000_000
SMALLEST_SHOWN = 100  # micro-dollars in the fourth decimal
UNITS = {
    "image": ("image", "images"),
    "megapixel": ("megapixel", "megapixels"),
    "second": ("second", "seconds"),
    "character": ("character", "characters"),
    "step": ("step", "steps"),
    "request": ("run", "runs"),
    "compute_second": ("second of compute", "seconds of compute"),
}


@dataclass(frozen=True, slots=True)
class Settled:
    """What the books keep of one settled run, whatever becomes of the run. `quote` is what was charged.

    amount = granted + bought: what credit it was paid from. Nothing was captured where the run cost nothing.
    """

    reference: UUID
    model: str
    status: str
    quote: Mapping[str, Any]
    held_micros: int
    amount_micros: int
    granted_micros: int
    opened_at: datetime
    occurred_at: datetime

    @property
    def bought_micros(self) -> int:
        return self.amount_micros - self.granted_micros


@dataclass(frozen=True, slots=True)
class GivenBack:
    """One refund of a charge. amount = granted + bought: what credit it went back to. `side` is who gave it back.

    `share_micros` is what the publisher lost by it, of which `payable_micros` had matured before.
    """

    id: UUID
    reference: UUID
    model: str
    workspace_id: int
    amount_micros: int
    granted_micros: int
    share_micros: int
    payable_micros: int
    reason: str
    side: str
    note: str
    occurred_at: datetime

    @property
    def bought_micros(self) -> int:
        return self.amount_micros - self.granted_micros

    @property
    def reason_words(self) -> str:
        return str(RefundReason(self.reason).label)


@dataclass(frozen=True, slots=True)
class Earned:
    """What a settled run brought its publisher: the captured `share` of its charge, of which `payable` is paid
    out one day, and what was given back since."""

    reference: UUID
    workspace_id: int
    model: str
    status: str
    quote: Mapping[str, Any]
    amount_micros: int
    share_micros: int
    payable_micros: int
    given_back: tuple[GivenBack, ...]
    opened_at: datetime
    occurred_at: datetime

    @property
    def returned_micros(self) -> int:
        """What was given back of the charge so far."""
        return sum(one.amount_micros for one in self.given_back)

    @property
    def unpayable_micros(self) -> int:
        """The part of the share that is never paid out."""
        return self.share_micros - self.payable_micros

    @property
    def left_micros(self) -> int:
        """What can still be given back."""
        return self.amount_micros - self.returned_micros

    @property
    def kept_micros(self) -> int:
        """What is left of the share."""
        return self.share_micros - sum(one.share_micros for one in self.given_back)


def dollars(micros: int) -> str:
    """`$0.0250`: four decimals, and six where four would hide something."""
    places = 4 if micros % SMALLEST_SHOWN == 0 else 6
    return f"{'−' if micros < 0 else ''}${abs(Decimal(micros)) / MICROS:,.{places}f}"


def counted(quantity: str, unit: str) -> str:
    """`1 image`, `2.5 seconds of compute`."""
    one, more = UNITS.get(unit, (unit, unit))
    return f"{quantity} {one if quantity == '1' else more}"


def settled(
    workspace_id: int, references: Collection[UUID], *, book: str | None = None
) -> dict[UUID, Settled]:
    """What is kept of those of these runs that the workspace paid for and that are settled. Two statements for all."""
    books = {"workspace_id": workspace_id, "book": current_book(book), "reference__in": references}
    holds = {hold.reference: hold for hold in Hold.objects.filter(**books)}
    return {
        row.reference: Settled(
            reference=row.reference,
            model=row.model,
            status=row.status,
            quote=row.quote,
            held_micros=(hold := holds[row.reference]).granted_micros + hold.bought_micros,
            amount_micros=row.amount_micros,
            granted_micros=min(hold.captured_micros, hold.granted_micros),
            opened_at=hold.opened_at,
            occurred_at=row.occurred_at,
        )
        for row in UsageRecord.objects.filter(**books)
    }


def given_back(
    workspace_id: int, references: Collection[UUID], *, book: str | None = None
) -> dict[UUID, list[GivenBack]]:
    """The refunds of these runs of the workspace, oldest first; runs without any are missing. One statement."""
    rows = _refunds(book).filter(workspace_id=workspace_id, reference__in=references)
    found: dict[UUID, list[GivenBack]] = {}
    for row in rows.order_by("id"):
        found.setdefault(row.reference, []).append(_told(row, ""))
    return found


def find(refund_id: UUID, reference: UUID, *, book: str | None = None) -> GivenBack | None:
    """The refund of this id of a run, if there is one."""
    rows = (_told(row, "") for row in _refunds(book).filter(reference=reference))
    return next((one for one in rows if one.id == refund_id), None)


def latest(limit: int, *, book: str | None = None) -> list[GivenBack]:
    """The newest refunds of all workspaces, for the operator."""
    rows = list(_refunds(book).order_by("-id")[:limit])
    models = dict(
        UsageRecord.objects.filter(reference__in={row.reference for row in rows}).values_list(
            "reference", "model"
        )
    )
    return [_told(row, models.get(row.reference, "")) for row in rows]


def count_since(workspace_id: int, moment: datetime, *, book: str | None = None) -> int:
    """How many refunds a workspace has had since then."""
    return _refunds(book).filter(workspace_id=workspace_id, occurred_at__gt=moment).count()


def given_since(publisher_id: int, moment: datetime, *, side: str, book: str | None = None) -> int:
    """What has been given back by `side` of a publisher's charges since then, in micro-dollars."""
    rows = _refunds(book).filter(publisher_id=publisher_id, side=side, occurred_at__gt=moment)
    return int(rows.aggregate(total=Sum("amount_micros", default=0))["total"])


def earned(reference: UUID, *, publisher_id: int | None = None, book: str | None = None) -> Earned | None:
    """What is kept of a settled run, as its publisher sees it; of any publisher without `publisher_id`.

    None where there is no such settled run, and where that publisher earned nothing from it.
    """
    kept = UsageRecord.objects.filter(book=current_book(book), reference=reference).first()
    if kept is None:
        return None
    entries = LedgerEntry.objects.filter(
        transaction__book=kept.book, transaction__key=f"settle:{reference}", account__publisher__isnull=False
    )
    shares = list(entries.values_list("account__publisher_id", "account__kind", "amount_micros"))
    if publisher_id is not None and publisher_id not in {one for one, _, _ in shares}:
        return None
    refunds = tuple(
        _told(row, kept.model) for row in _refunds(book).filter(reference=reference).order_by("id")
    )
    return Earned(
        reference=reference,
        workspace_id=kept.workspace_id,
        model=kept.model,
        status=kept.status,
        quote=kept.quote,
        amount_micros=kept.amount_micros,
        share_micros=sum(amount for _, _, amount in shares),
        payable_micros=sum(amount for _, kind, amount in shares if kind == Kind.PUBLISHER_PENDING),
        given_back=refunds,
        opened_at=Hold.objects.get(reference=reference).opened_at,
        occurred_at=kept.occurred_at,
    )


def refund_id(reference: UUID, key: str) -> UUID:
    """The public id of the refund that was made under `key`."""
    return uuid5(reference, f"refund:{key}")


def _refunds(book: str | None) -> QuerySet[Refund]:
    return Refund.objects.filter(book=current_book(book)).select_related("transaction")


def _told(row: Refund, model: str) -> GivenBack:
    return GivenBack(
        id=uuid5(row.reference, row.transaction.key),
        reference=row.reference,
        model=model,
        workspace_id=row.workspace_id,
        amount_micros=row.amount_micros,
        granted_micros=row.granted_micros,
        share_micros=row.pending_micros + row.payable_micros + row.unpayable_micros,
        payable_micros=row.payable_micros,
        reason=row.reason,
        side=row.side,
        note=row.note,
        occurred_at=row.occurred_at,
    )
