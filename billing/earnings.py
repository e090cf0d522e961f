"""What a publisher earned: by day, listing and unit, each run behind it, and the statement of a month.

Read from the entries of the ledger, so that it adds up to the micro-dollar by itself: opening balance, what was earned,
refunded, disputed, paid out and sent back, closing balance. Months and days are those of UTC. Nothing here writes. A
publisher sees runs by id, model, units and amounts, never who made them or of what.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.utils import timezone

from billing.ledger.accounts import AccountName, Kind, current_book
from billing.models import LedgerTransaction
from billing.months import following

CHUNK = 2000
T = LedgerTransaction.Kind


class Group(StrEnum):
    """What earnings can be broken down by."""

    MODEL = "model"
    UNIT = "unit"


class Earned(NamedTuple):
    """Paid runs, what their buyers paid, what of it the publisher earned, and the part of that which is paid out."""

    runs: int = 0
    charged_micros: int = 0
    share_micros: int = 0
    payable_micros: int = 0

    def plus(self, other: Earned) -> Earned:
        return Earned(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def unpayable_micros(self) -> int:
        """From granted credit and from the publisher's own runs: shown, and never paid out."""
        return self.share_micros - self.payable_micros

    @property
    def fee_micros(self) -> int:
        return self.charged_micros - self.share_micros


@dataclass(frozen=True, slots=True)
class Line:
    """One movement of a statement that changed what the publisher has: a run, a refund, a dispute, a payout, a return.

    `change_micros` is what it did to the balance; for runs and refunds `charged_micros` is what the buyer paid or got
    back, and `unpayable_micros` what was earned beside the balance. A payout's reference is its own.
    """

    kind: str
    reference: UUID | None
    occurred_at: datetime
    model: str
    units: Mapping[str, Any]
    reason: str
    charged_micros: int
    unpayable_micros: int
    change_micros: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A publisher's month: opening + earned − refunded + disputes − paid out + came back = closing to the micro.

    The closing balance is pending, payable and in transit together, and those three as of the month's end.
    `disputes_micros` is what disputes of buyers' payments took, below zero, or gave back.
    `unpayable_micros` is what was earned beside it, less refunds. A month that is over is final an hour later.
    """

    month: date
    opening_micros: int
    earned_micros: int
    refunded_micros: int
    disputes_micros: int
    paid_out_micros: int
    returned_micros: int
    closing_micros: int
    pending_micros: int
    payable_micros: int
    in_transit_micros: int
    unpayable_micros: int
    runs: int

    @property
    def adds_up(self) -> bool:
        moved = self.earned_micros - self.refunded_micros + self.disputes_micros
        moved += self.returned_micros - self.paid_out_micros
        parts = self.pending_micros + self.payable_micros + self.in_transit_micros
        return self.opening_micros + moved == self.closing_micros == parts


def _span(first: date, last: date) -> dict[str, datetime]:
    """From the first midnight on, until before the midnight after the last day."""
    return {
        "since": datetime.combine(first, time(), UTC),
        "until": datetime.combine(last + timedelta(days=1), time(), UTC),
    }


def _names(publisher_id: int, book: str | None) -> dict[str, Any]:
    kinds = {
        "pending": Kind.PUBLISHER_PENDING,
        "payable": Kind.PUBLISHER_PAYABLE,
        "transit": Kind.PUBLISHER_IN_TRANSIT,
        "unpayable": Kind.PUBLISHER_UNPAYABLE,
    }
    codes = {name: AccountName(kind, publisher_id).code for name, kind in kinds.items()}
    return {"book": current_book(book), "publisher": publisher_id, "codes": list(codes.values()), **codes}


# The charges of a span that the publisher earned from, one row each.
_RUNS = """
runs AS (
    SELECT t.id, t.reference, t.created_at, sum(e.amount_micros) AS share,
           coalesce(sum(e.amount_micros) FILTER (WHERE a.code = %(pending)s), 0) AS payable
      FROM billing_ledgeraccount a
      JOIN billing_ledgerentry e ON e.account_id = a.id
      JOIN billing_ledgertransaction t ON t.id = e.transaction_id
     WHERE a.book = %(book)s AND a.code IN (%(pending)s, %(unpayable)s) AND t.kind = 'capture'
       AND e.moved_at >= %(since)s AND e.moved_at < %(until)s
     GROUP BY t.id
)
"""
_BY_MODEL = f"""
WITH {_RUNS}
SELECT (r.created_at AT TIME ZONE 'UTC')::date, coalesce(u.model, ''), count(*),
       sum(coalesce(u.amount_micros, r.share)), sum(r.share), sum(r.payable)
  FROM runs r LEFT JOIN billing_usagerecord u ON u.reference = r.reference
 GROUP BY 1, 2
"""  # noqa: S608 - words of our own
# A run of several units is shared out by what each of its lines cost, without dust: floors of sums, one less the other.
_BY_UNIT = f"""
WITH {_RUNS}, priced AS (
    SELECT r.id, r.created_at, r.share, r.payable, coalesce(u.amount_micros, r.share) AS charged,
           coalesce(l.line ->> 'unit', '') AS unit, coalesce((l.line ->> 'amount_micros')::numeric, 1) AS part, l.n
      FROM runs r
      LEFT JOIN billing_usagerecord u ON u.reference = r.reference
      LEFT JOIN LATERAL jsonb_array_elements(
           CASE jsonb_typeof(u.quote -> 'lines') WHEN 'array' THEN u.quote -> 'lines' ELSE '[]'::jsonb END
      ) WITH ORDINALITY AS l(line, n) ON true
), sized AS (
    SELECT *, sum(part) OVER w AS upto, sum(part) OVER (PARTITION BY id) AS whole
      FROM priced WINDOW w AS (PARTITION BY id ORDER BY n)
), parts AS (
    SELECT id, created_at, unit,
           floor(charged * upto / whole) - floor(charged * (upto - part) / whole) AS charged,
           floor(share * upto / whole) - floor(share * (upto - part) / whole) AS share,
           floor(payable * upto / whole) - floor(payable * (upto - part) / whole) AS payable
      FROM sized WHERE whole > 0
)
SELECT (created_at AT TIME ZONE 'UTC')::date, unit, count(DISTINCT id), sum(charged), sum(share), sum(payable)
  FROM parts GROUP BY 1, 2
"""  # noqa: S608 - words of our own


def by_day(
    publisher_id: int, group: Group, first: date, last: date, *, book: str | None = None
) -> dict[date, dict[str, Earned]]:
    """What was earned on each day of the span, before refunds, by models or units; empty days are left out."""
    found: dict[date, dict[str, Earned]] = {}
    statement = _BY_MODEL if group is Group.MODEL else _BY_UNIT
    with connection.cursor() as cursor:
        cursor.execute(statement, _names(publisher_id, book) | _span(first, last))
        for day, name, *sums in cursor.fetchall():
            found.setdefault(day, {})[name] = Earned(*(int(one) for one in sums))
    return found


_REFUNDED = """
SELECT coalesce(sum(pending_micros + payable_micros), 0)::bigint, coalesce(sum(unpayable_micros), 0)::bigint
  FROM billing_refund
 WHERE publisher_id = %(publisher)s AND book = %(book)s AND occurred_at >= %(since)s AND occurred_at < %(until)s
"""


def refunded(publisher_id: int, first: date, last: date, *, book: str | None = None) -> tuple[int, int]:
    """What refunds of those days took from what is paid out, and from what is not."""
    with connection.cursor() as cursor:
        cursor.execute(_REFUNDED, _names(publisher_id, book) | _span(first, last))
        payable, unpayable = cursor.fetchone()
    return payable, unpayable


# Before the span only what there was: what was written down at the end of the last month that is closed, and from the
# index alone what moved since. In it also by what, in each month.
_SUMS = """
WITH before AS (
    SELECT * FROM billing_monthend
     WHERE publisher_id = %(publisher)s AND book = %(book)s AND month < %(first)s
     ORDER BY month DESC LIMIT 1
)
SELECT k.code, NULL::date, '', k.left_micros
  FROM before b CROSS JOIN LATERAL (VALUES
       (%(pending)s, b.pending_micros), (%(payable)s, b.payable_micros), (%(transit)s, b.in_transit_micros),
       (%(unpayable)s, b.unpayable_micros)) AS k(code, left_micros)
 UNION ALL
SELECT a.code, NULL::date, '', sum(e.amount_micros)::bigint
  FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
 WHERE a.book = %(book)s AND a.code = ANY(%(codes)s) AND e.moved_at < %(since)s
   AND e.moved_at >= coalesce((SELECT (month + interval '1 month') AT TIME ZONE 'UTC' FROM before), '-infinity')
 GROUP BY 1
 UNION ALL
SELECT a.code, date_trunc('month', e.moved_at AT TIME ZONE 'UTC')::date, t.kind, sum(e.amount_micros)::bigint
  FROM billing_ledgeraccount a
  JOIN billing_ledgerentry e ON e.account_id = a.id
  JOIN billing_ledgertransaction t ON t.id = e.transaction_id
 WHERE a.book = %(book)s AND a.code = ANY(%(codes)s) AND e.moved_at >= %(since)s AND e.moved_at < %(until)s
 GROUP BY 1, 2, 3
"""
_PAID_RUNS = f"""
WITH {_RUNS}
SELECT date_trunc('month', created_at AT TIME ZONE 'UTC')::date, count(*) FROM runs GROUP BY 1
"""  # noqa: S608 - words of our own


def statement(publisher_id: int, month: date, *, book: str | None = None) -> Statement:
    """A publisher's month; the running one so far."""
    (found,) = _statements(publisher_id, [month.replace(day=1)], book)
    return found


def statements(publisher_id: int, *, book: str | None = None, now: datetime | None = None) -> list[Statement]:
    """All months that have a statement, the newest first, read in one go."""
    known = months(publisher_id, book=book, now=now)
    return _statements(publisher_id, known[::-1], book)[::-1] if known else []


def _statements(publisher_id: int, of: list[date], book: str | None) -> list[Statement]:
    """Those months, each of which follows the one before it."""
    names = (
        _names(publisher_id, book) | _span(of[0], following(of[-1]) - timedelta(days=1)) | {"first": of[0]}
    )
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, names)
        rows = cursor.fetchall()
        cursor.execute(_PAID_RUNS, names)
        runs = dict(cursor.fetchall())
    left = dict.fromkeys(names["codes"], 0)
    moves: dict[date, list[tuple[str, str, int]]] = {}
    for code, month, kind, amount in rows:
        if month is None:
            left[code] += amount
        else:
            moves.setdefault(month, []).append((code, kind, amount))
    found = []
    for month in of:
        found.append(_statement(month, names, left, moves.get(month, []), runs.get(month, 0)))
        for code, _, amount in moves.get(month, []):
            left[code] += amount
    return found


def _statement(
    month: date,
    names: Mapping[str, Any],
    before: Mapping[str, int],
    moves: list[tuple[str, str, int]],
    runs: int,
) -> Statement:
    """One month of what accounts had before it, and what moved in it: by account and kind."""
    counted = (names["pending"], names["payable"], names["transit"])

    def moved(*kinds: str) -> int:
        return sum(amount for code, kind, amount in moves if code in counted and kind in kinds)

    def left(code: str) -> int:
        return before[code] + sum(amount for name, _, amount in moves if name == code)

    return Statement(
        month=month,
        opening_micros=sum(before[code] for code in counted),
        earned_micros=moved(T.CAPTURE),
        refunded_micros=-moved(T.REFUND),
        disputes_micros=moved(T.DISPUTE, T.REINSTATED),
        paid_out_micros=-moved(T.PAID_OUT),
        returned_micros=moved(T.PAYOUT_RETURNED),
        closing_micros=sum(left(code) for code in counted),
        pending_micros=left(names["pending"]),
        payable_micros=left(names["payable"]),
        in_transit_micros=left(names["transit"]),
        unpayable_micros=sum(amount for code, _, amount in moves if code == names["unpayable"]),
        runs=runs,
    )


_FIRST = """
SELECT min(one.first) FROM billing_ledgeraccount a
 CROSS JOIN LATERAL (SELECT min(e.moved_at) AS first FROM billing_ledgerentry e WHERE e.account_id = a.id) one
 WHERE a.book = %(book)s AND a.code = ANY(%(codes)s)
"""


def months(publisher_id: int, *, book: str | None = None, now: datetime | None = None) -> list[date]:
    """The months that have a statement, the newest first: from the first earning to the present month."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, _names(publisher_id, book))
        (first,) = cursor.fetchone()
    if first is None:
        return []
    month, found = first.astimezone(UTC).date().replace(day=1), []
    while month <= (now or timezone.now()).astimezone(UTC).date():
        found.append(month)
        month = following(month)
    return found[::-1]


# One walk over the publisher's entries for all of them: who reads on for minutes reads what there was at the beginning.
_IDS = """
SELECT coalesce(array_agg(id ORDER BY created_at, id), '{}'::bigint[])
  FROM (SELECT DISTINCT t.id, t.created_at
          FROM billing_ledgeraccount a
          JOIN billing_ledgerentry e ON e.account_id = a.id
          JOIN billing_ledgertransaction t ON t.id = e.transaction_id
         WHERE a.book = %(book)s AND a.code = ANY(%(codes)s)
           AND t.kind IN ('capture', 'refund', 'dispute', 'reinstated', 'paid_out', 'payout_returned')
           AND e.moved_at >= %(since)s AND e.moved_at < %(until)s) AS found
"""
_LINES = """
SELECT t.kind, t.reference, t.created_at, coalesce(u.model, ''), coalesce(u.units, '{}'::jsonb)::text,
       coalesce(f.reason, ''),
       CASE t.kind WHEN 'capture' THEN coalesce(u.amount_micros, 0) WHEN 'refund' THEN -coalesce(f.amount_micros, 0)
                   ELSE 0 END,
       coalesce(sum(e.amount_micros) FILTER (WHERE a.code = %(unpayable)s), 0)::bigint,
       coalesce(sum(e.amount_micros) FILTER (WHERE a.code <> %(unpayable)s), 0)::bigint
  FROM billing_ledgertransaction t
  JOIN billing_ledgerentry e ON e.transaction_id = t.id
  JOIN billing_ledgeraccount a ON a.id = e.account_id
  LEFT JOIN billing_usagerecord u ON u.reference = t.reference AND t.kind IN ('capture', 'refund')
  LEFT JOIN billing_refund f ON f.transaction_id = t.id
 WHERE t.id = ANY(%(ids)s) AND a.book = %(book)s AND a.code = ANY(%(codes)s)
 GROUP BY t.id, u.id, f.id ORDER BY t.created_at, t.id
"""


def lines(
    publisher_id: int, first: date, last: date, *, book: str | None = None, chunk: int = CHUNK
) -> Iterator[list[Line]]:
    """Every movement behind the statement of these days, the oldest first, so many at a time: there may be millions."""
    names = _names(publisher_id, book) | _span(first, last)
    with connection.cursor() as cursor:
        cursor.execute(_IDS, names)
        (ids,) = cursor.fetchone()
    for start in range(0, len(ids), chunk):
        with connection.cursor() as cursor:
            cursor.execute(_LINES, names | {"ids": ids[start : start + chunk]})
            yield [_line(row) for row in cursor.fetchall()]


def _line(row: tuple[Any, ...]) -> Line:
    kind, reference, at, model, units, reason, charged, unpayable, change = row
    return Line(kind, reference, at, model, json.loads(units), reason, charged, unpayable, change)
