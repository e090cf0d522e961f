"""Of which runs a dispute has taken shares, and how much of each it still keeps.

A row for each dispute and run, written with what was taken: so that no run is taken for two disputes, and that one
whose charge is given back, or whose dispute is made good, costs its publisher its share once.

What changes these rows holds the lock of the workspace's credit; what takes, that of the publisher's maturity too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from billing.models import DisputedShare

AT_ONCE = 1000

# What was paid from bought credit since a moment, less refunds, the newest first; `share` is what could be paid out.
_CHARGES = """
charges AS (
    SELECT h.id, h.reference, h.closed_at, a.publisher_id,
           h.captured_micros - least(h.granted_micros, h.captured_micros)
           - coalesce((SELECT sum(f.amount_micros - f.granted_micros) FROM billing_refund f
                        WHERE f.reference = h.reference), 0) AS bought,
           coalesce(e.amount_micros, 0)
           - coalesce((SELECT sum(f.pending_micros + f.payable_micros) FROM billing_refund f
                        WHERE f.reference = h.reference), 0) AS share
      FROM billing_usagerecord u
      JOIN billing_hold h ON h.reference = u.reference
      JOIN billing_ledgertransaction t ON t.book = h.book AND t.key = 'settle:' || h.reference
      LEFT JOIN (billing_ledgerentry e JOIN billing_ledgeraccount a
                     ON a.id = e.account_id AND a.kind = 'publisher_pending') ON e.transaction_id = t.id
     WHERE u.workspace_id = %(workspace)s AND u.book = %(book)s AND u.occurred_at >= %(since)s
       AND h.state = 'captured'
)
"""
# Those that count as paid by it, and of each how much of its share.
_COUNTED = f"""
{_CHARGES}, counted AS (
    SELECT *, sum(bought) OVER (ORDER BY closed_at DESC, id DESC) - bought AS newer FROM charges WHERE bought > 0
), wanted AS (
    SELECT id, reference, closed_at, publisher_id,
           floor(share * least(bought, %(spent)s - newer) / bought)::bigint AS share
      FROM counted WHERE newer < %(spent)s AND publisher_id = ANY(%(earners)s)
)
"""  # noqa: S608 - words of our own
_EARNERS = f"""
WITH {_CHARGES}
SELECT DISTINCT publisher_id FROM charges WHERE share > 0 AND bought > 0 ORDER BY 1
"""  # noqa: S608 - words of our own
_SHARES = f"""
WITH {_COUNTED}
SELECT publisher_id, sum(share)::bigint FROM wanted GROUP BY 1 ORDER BY 1
"""  # noqa: S608 - words of our own
# From each publisher so much at most, of its newest runs first, and of none what another dispute has.
_TAKE = f"""
WITH {_COUNTED}, left_of AS (
    SELECT w.*, greatest(0, w.share - coalesce((SELECT sum(d.left_micros) FROM billing_disputedshare d
                                                 WHERE d.reference = w.reference AND d.left_micros > 0), 0)) AS free
      FROM wanted w
), spread AS (
    SELECT *, sum(free) OVER (PARTITION BY publisher_id ORDER BY closed_at DESC, id DESC) - free AS newer FROM left_of
), noted AS (
    INSERT INTO billing_disputedshare (dispute_id, book, reference, publisher_id, taken_micros, left_micros)
    SELECT %(dispute)s, %(book)s, s.reference, s.publisher_id, least(s.free, m.micros - s.newer),
           least(s.free, m.micros - s.newer)
      FROM spread s JOIN unnest(%(publishers)s::bigint[], %(micros)s::bigint[]) AS m(publisher_id, micros)
        ON m.publisher_id = s.publisher_id
     WHERE s.free > 0 AND s.newer < m.micros ORDER BY s.closed_at DESC, s.id DESC
    RETURNING publisher_id, taken_micros
)
SELECT publisher_id, sum(taken_micros)::bigint FROM noted GROUP BY 1 ORDER BY 1
"""  # noqa: S608 - words of our own


def earners(workspace_id: int, since: datetime, book: str) -> list[int]:
    """Who earned from bought credit of the workspace since then."""
    with connection.cursor() as cursor:
        cursor.execute(_EARNERS, {"workspace": workspace_id, "book": book, "since": since})
        return [publisher_id for (publisher_id,) in cursor.fetchall()]


class Counted:
    """The newest runs of a workspace since a moment, until so much was spent of bought credit, of these publishers."""

    def __init__(self, workspace_id: int, since: datetime, spent: int, of: list[int], book: str) -> None:
        self._given: dict[str, Any] = {
            "workspace": workspace_id,
            "book": book,
            "since": since,
            "spent": spent,
            "earners": of,
        }

    def shares(self) -> list[tuple[int, int]]:
        """What each publisher had of them, whatever disputes have of that."""
        with connection.cursor() as cursor:
            cursor.execute(_SHARES, self._given)
            return [(publisher_id, share) for publisher_id, share in cursor.fetchall()]

    def take(self, dispute_id: str, most: Mapping[int, int]) -> dict[int, int]:
        """Note that a dispute takes so much at most of each publisher's shares of them; what it takes.

        A run that ends between this and `shares` waits for no lock, and leaves the older ones less.
        """
        given = {"dispute": dispute_id, "publishers": list(most), "micros": list(most.values())}
        with connection.cursor() as cursor:
            cursor.execute(_TAKE, self._given | given)
            return dict(cursor.fetchall())


def give_back(dispute_id: str, publisher_id: int, micros: int, *, book: str) -> None:
    """Note that a publisher has so much back of what a dispute took; of the oldest runs first."""
    rows = DisputedShare.objects.filter(
        book=book, dispute_id=dispute_id, publisher=publisher_id, left_micros__gt=0
    )
    while micros:
        some = list(rows.order_by("-pk")[:AT_ONCE])
        if not some:  # it was withdrawn before there were such rows
            return
        for row in some:
            part = min(row.left_micros, micros)
            row.left_micros -= part
            micros -= part
        DisputedShare.objects.bulk_update(some, ["left_micros"])


def kept(reference: UUID, *, book: str) -> dict[str, int]:
    """What disputes have of the share of a run, the oldest of them first."""
    rows = DisputedShare.objects.filter(book=book, reference=reference, left_micros__gt=0).order_by("pk")
    return dict(rows.values_list("dispute_id", "left_micros"))


def give_back_of(dispute_id: str, reference: UUID, micros: int, *, book: str) -> None:
    """Note that a publisher has so much back of what a dispute took of one run."""
    rows = DisputedShare.objects.filter(book=book, dispute_id=dispute_id, reference=reference)
    rows.update(left_micros=F("left_micros") - micros)
