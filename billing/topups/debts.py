"""What a workspace owes for disputes that it lost: the credit of the payment was spent, and the payment is gone.

Nothing is blocked for it, as every run is paid in advance. The next credit that is bought makes good for it first, in
the transaction that books it; so does what is there when the dispute is lost, and bought credit that comes back: of a
run that ended or was given back, of a refund that failed, and of another dispute that is won.
"""

from __future__ import annotations

from datetime import datetime

from billing import ledger

LOST = "lost"


def owed(workspace_id: int, *, book: str | None = None) -> int:
    """All of it, in micro-dollars."""
    return ledger.owed(workspace_id, book=book)


def collect(workspace_id: int, *, book: str, now: datetime) -> int:
    """Take what is owed from bought credit, for the oldest dispute first, as far as there is any; how much.

    Only in a transaction that has the workspace's credit locked by now, and that books what there is of it.
    """
    return ledger.make_good(workspace_id, book=book, now=now)
