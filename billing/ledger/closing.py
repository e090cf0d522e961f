"""What publishers had when each month ended, written down once the month is over and all of it is sealed.

Nothing is known from these rows that is not in the entries: `ledger.verify` makes them again and compares. They are
why a statement reads its own month and not all months before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

from billing.ledger.accounts import Kind
from billing.models import Book

FINAL = timedelta(hours=1)  # after the end of a month it is final: what was under way then has been committed

#: What was moved in each month by publisher, and what there was at its end. Months in which nothing moved are missing.
MONTHS = f"""
months AS (
    SELECT publisher_id, book, month, sum(pending) OVER w AS pending, sum(payable) OVER w AS payable,
           sum(in_transit) OVER w AS in_transit, sum(unpayable) OVER w AS unpayable
      FROM (SELECT a.publisher_id, a.book, date_trunc('month', e.moved_at AT TIME ZONE 'UTC')::date AS month,
                   coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = '{Kind.PUBLISHER_PENDING}'), 0) AS pending,
                   coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = '{Kind.PUBLISHER_PAYABLE}'), 0) AS payable,
                   coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = '{Kind.PUBLISHER_IN_TRANSIT}'), 0)
                   AS in_transit,
                   coalesce(sum(e.amount_micros) FILTER (WHERE a.kind = '{Kind.PUBLISHER_UNPAYABLE}'), 0)
                   AS unpayable
              FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
             WHERE a.publisher_id IS NOT NULL GROUP BY 1, 2, 3) moved
    WINDOW w AS (PARTITION BY publisher_id, book ORDER BY month)
)
"""  # noqa: S608 - words of our own
_FIRST_NOT_SEALED = """
SELECT min(t.created_at) FROM billing_ledgertransaction t
 WHERE t.book = %s AND NOT EXISTS (SELECT 1 FROM billing_sealedtransaction s WHERE s.transaction_id = t.id)
"""
_WRITE = f"""
WITH {MONTHS}
INSERT INTO billing_monthend
       (publisher_id, book, month, pending_micros, payable_micros, in_transit_micros, unpayable_micros)
SELECT publisher_id, book, month, pending, payable, in_transit, unpayable FROM months
 WHERE book = %(book)s AND month < %(running)s
 ORDER BY publisher_id, month
    ON CONFLICT (publisher_id, book, month) DO NOTHING
"""  # noqa: S608 - words of our own


def close_months(*, now: datetime | None = None) -> int:
    """Writes down what publishers had at the end of each month that is final and sealed; how many rows are new.

    Reads all entries of publishers. Safe to repeat, also in several places at once.
    """
    at, written = now or timezone.now(), 0
    for book in Book.values:
        with connection.cursor() as cursor:
            cursor.execute(_FIRST_NOT_SEALED, [book])
            (open_since,) = cursor.fetchone()
            until = at - FINAL if open_since is None else min(at - FINAL, open_since)
            running = until.astimezone(UTC).date().replace(day=1)
            cursor.execute(_WRITE, {"book": book, "running": running})
            written += cursor.rowcount
    return written
