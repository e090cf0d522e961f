"""What a workspace owes for disputes that it lost: the credit of the payment was spent, and the payment is gone.

Nothing is blocked for it, as every run is paid in advance. The next credit that is bought makes good for it first, in
the transaction that books it; so does what is there when the dispute is lost, as from runs that ended since.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import QuerySet

from billing import ledger
from billing.ledger.accounts import current_book
from billing.models.credit import Dispute

LOST = "lost"


def owed(workspace_id: int, *, book: str | None = None) -> int:
    """All of it, in micro-dollars."""
    book = current_book(book)
    return sum(ledger.dispute_owed(row.dispute_id, book=book) for row in _lost(workspace_id, book))


def locked(workspace_id: int, *, book: str) -> list[Dispute]:
    """The disputes that may have left something owed, locked; before the workspace's credit is, as everywhere.

    Those that are open are waited for, too: one may be lost at this moment, before there was this credit to take.
    """
    rows = _withdrawn(workspace_id, book).select_for_update(no_key=True, of=("self",))
    return [row for row in rows if row.status == LOST and row.reinstated_at is None]


def collect(rows: Iterable[Dispute], workspace_id: int, *, book: str, now: datetime) -> int:
    """Take what is owed for these from bought credit, the oldest first, as far as there is any; how much."""
    return sum(ledger.dispute_recovered(row.dispute_id, workspace_id, book=book, now=now) for row in rows)


def _lost(workspace_id: int, book: str) -> QuerySet[Dispute]:
    return _withdrawn(workspace_id, book).filter(status=LOST)


def _withdrawn(workspace_id: int, book: str) -> QuerySet[Dispute]:
    rows = Dispute.objects.filter(top_up__workspace_id=workspace_id, top_up__book=book)
    return rows.filter(withdrawn_at__isnull=False, reinstated_at=None).order_by("pk")
