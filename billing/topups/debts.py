"""What a workspace owes for disputes that it lost: the credit of the payment was spent, and the payment is gone.

Nothing is blocked for it, as every run is paid in advance. The next credit that is bought makes good for it first, in
the transaction that books it; so does what is there when the dispute is lost, as from runs that ended since, and bought
credit that comes back: of a refund that failed, and of another dispute that is won.
"""

from __future__ import annotations

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


def collect(workspace_id: int, *, book: str, now: datetime) -> int:
    """Take what is owed from bought credit, for the oldest dispute first, as far as there is any; how much.

    Only in a transaction that has the workspace's credit locked by now, and that books what there is of it. Whoever
    loses a dispute asks for that lock after its row is written: either the row is seen here, even one that was made and
    lost at once, or this credit is seen there.
    """
    return sum(
        ledger.dispute_recovered(row.dispute_id, workspace_id, book=book, now=now)
        for row in _lost(workspace_id, book)
    )


def _lost(workspace_id: int, book: str) -> QuerySet[Dispute]:
    rows = Dispute.objects.filter(top_up__workspace_id=workspace_id, top_up__book=book, status=LOST)
    return rows.filter(withdrawn_at__isnull=False, reinstated_at=None).order_by("pk")
