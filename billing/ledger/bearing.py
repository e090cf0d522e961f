"""Who bears what was spent of disputed payments: of which runs disputes have shares, and how much.

A row for each dispute and run that it counts (`billing.ledger.counting`): so that no run is taken for two disputes, and
that one whose charge is given back, or whose dispute is made good, costs its publisher its share once. When a dispute
comes or is won, runs are counted anew for all of the workspace: what another one has of a run changes hands, and only
where more or less of a run counts than before does its publisher lose or get back. It never loses more than it has
then, and what it did not have is not asked for again.

What changes these rows holds the lock of the workspace's bought credit; what takes, that of the maturity of publishers
too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from billing.ledger.counting import Payment, Run, count, part_of
from billing.ledger.earning import publisher_balance
from billing.models import DisputedPayment, DisputedShare

AT_ONCE = 1000
SLACK = timedelta(days=1)  # between the end of a run, by which it is found, and its capture, which counts

# What was paid from bought credit, less refunds, the newest first; `share` is what could be paid out.
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
     WHERE u.workspace_id = %(workspace)s AND u.book = %(book)s AND u.occurred_at >= %(around)s
       AND h.state = 'captured' AND h.closed_at BETWEEN %(since)s AND %(until)s
)
"""
_RUNS = f"""
WITH {_CHARGES}
SELECT reference, closed_at, publisher_id, bought::bigint, share::bigint FROM charges WHERE bought > 0
 ORDER BY closed_at DESC, id DESC
"""  # noqa: S608 - words of our own
_EARNERS = f"""
WITH {_CHARGES}
SELECT DISTINCT publisher_id FROM charges WHERE share > 0 AND bought > 0 ORDER BY 1
"""  # noqa: S608 - words of our own
_WRITE = """
INSERT INTO billing_disputedshare AS d
       (book, dispute_id, reference, publisher_id, counted_micros, unpaid_micros, left_micros)
SELECT %s, * FROM unnest(%s::text[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    ON CONFLICT (book, dispute_id, reference) DO UPDATE
   SET counted_micros = excluded.counted_micros, unpaid_micros = excluded.unpaid_micros,
       left_micros = excluded.left_micros
"""
# Of all runs of a dispute a part of what is unpaid, and of each publisher's so much of their shares.
_MAKE_GOOD = """
WITH mine AS (
    SELECT s.id, s.unpaid_micros AS unpaid, s.left_micros AS kept,
           sum(s.unpaid_micros) OVER (ORDER BY s.id) AS unpaid_upto,
           sum(s.left_micros) OVER (PARTITION BY s.publisher_id ORDER BY s.id) AS kept_upto,
           sum(s.left_micros) OVER (PARTITION BY s.publisher_id) AS kept_in_all,
           coalesce(m.micros, 0) AS back
      FROM billing_disputedshare s
      LEFT JOIN unnest(%(publishers)s::bigint[], %(micros)s::bigint[]) AS m(publisher_id, micros)
             ON m.publisher_id = s.publisher_id
     WHERE s.book = %(book)s AND s.dispute_id = %(dispute)s AND s.counted_micros > 0
), parts AS (
    SELECT id,
           div(unpaid_upto * %(amount)s, %(owed)s) - div((unpaid_upto - unpaid) * %(amount)s, %(owed)s) AS paid,
           coalesce(div(least(back, kept_in_all) * kept_upto, nullif(kept_in_all, 0))
                    - div(least(back, kept_in_all) * (kept_upto - kept), nullif(kept_in_all, 0)), 0) AS back
      FROM mine
)
UPDATE billing_disputedshare d SET unpaid_micros = d.unpaid_micros - p.paid, left_micros = d.left_micros - p.back
  FROM parts p WHERE p.id = d.id AND (p.paid > 0 OR p.back > 0)
"""


def open_payments(workspace_id: int, *, book: str) -> list[DisputedPayment]:
    """The disputed payments of a workspace that were not won, those whose disputes came first first."""
    rows = DisputedPayment.objects.filter(workspace=workspace_id, book=book, is_won=False)
    return list(rows.order_by("pk"))


def earners(workspace_id: int, since: datetime, until: datetime, *, book: str) -> list[int]:
    """Who earned from bought credit of the workspace in between."""
    with connection.cursor() as cursor:
        cursor.execute(_EARNERS, _between(workspace_id, since, until, book))
        return [publisher_id for (publisher_id,) in cursor.fetchall()]


def _between(workspace_id: int, since: datetime, until: datetime, book: str) -> dict[str, Any]:
    around = since - SLACK
    return {"workspace": workspace_id, "book": book, "since": since, "until": until, "around": around}


def runs(workspace_id: int, since: datetime, until: datetime, *, book: str) -> Generator[Run, None, None]:
    """What was paid from bought credit in between, the newest first."""
    # Read as far as is needed: of years of runs the newest mostly are enough.
    with connection.chunked_cursor() as cursor:
        cursor.execute(_RUNS, _between(workspace_id, since, until, book))
        while some := cursor.fetchmany(AT_ONCE):
            yield from (Run(*row) for row in some)


def count_anew(payments: list[DisputedPayment], *, book: str) -> dict[str, dict[int, int]]:
    """Count runs for all the payments of one workspace, of which some may just have been won, and note what disputes
    keep of their shares then: by dispute and publisher, how much more that is than before."""
    names = [one.dispute_id for one in payments]
    counting = [
        Payment(one.dispute_id, one.paid_at, one.withdrawn_at, one.spent_micros, one.unspent_micros)
        for one in payments
        if not one.is_won
    ]
    shares: dict[UUID, _Shares] = defaultdict(_Shares)  # the newest runs first
    if counting:
        since = min(one.since for one in counting)
        until = max(one.until for one in counting)
        with closing(runs(payments[0].workspace_id, since, until, book=book)) as paid:
            for run, parts in count(counting, paid):
                shares[run.reference] = _Shares(run, parts)
    for row in DisputedShare.objects.filter(book=book, dispute_id__in=names, counted_micros__gt=0):
        shares[row.reference].before[row.dispute_id] = row
    return _spread(shares, {one.dispute_id: one for one in payments}, book)


@dataclass
class _Shares:
    """One run that counts for disputes, or did so before."""

    run: Run | None = None  # where it counts now
    counted: dict[str, int] = field(default_factory=dict)
    before: dict[str, DisputedShare] = field(default_factory=dict)
    unpaid: dict[str, int] = field(default_factory=dict)
    kept: int = 0

    @property
    def is_changed(self) -> bool:
        return {name: row.counted_micros for name, row in self.before.items()} != self.counted

    @property
    def publisher_id(self) -> int | None:
        if self.run is not None:
            return self.run.publisher_id
        return next(iter(self.before.values())).publisher_id

    @property
    def kept_before(self) -> int:
        return sum(row.left_micros for row in self.before.values())

    def share_of(self, unpaid: Iterable[int]) -> int:
        """What of its share goes with so much of its charge."""
        return self.run.share_micros * sum(unpaid) // self.run.bought_micros if self.run else 0

    def recount(self, payments: Mapping[str, DisputedPayment], free: dict[str, int]) -> int:
        """What it keeps if nothing more is taken, and how much more of its share goes with what counts now. `free` is
        what is owed of payments beyond what is unpaid of other runs."""
        for name, part in self.counted.items():
            row, payment = self.before.get(name), payments[name]
            # What was made good of a payment was made good of all its runs alike.
            unpaid = part * payment.left_micros // payment.spent_micros
            if row is not None and row.counted_micros == part:
                unpaid = row.unpaid_micros
            self.unpaid[name] = min(unpaid, max(0, free[name]))  # floors of many small runs may come to less
            free[name] -= self.unpaid[name]
        was = self.share_of(row.unpaid_micros for row in self.before.values())
        now = self.share_of(self.unpaid.values())
        self.kept = min(self.kept_before, now)
        return min(max(0, now - was), now - self.kept)


def _spread(
    shares: Mapping[UUID, _Shares], payments: Mapping[str, DisputedPayment], book: str
) -> dict[str, dict[int, int]]:
    """What disputes keep of runs that count otherwise than before, written down."""
    changed = {reference: one for reference, one in shares.items() if one.is_changed}
    free = {name: payment.left_micros for name, payment in payments.items()}
    for one in shares.values():
        if not one.is_changed:
            for name, row in one.before.items():
                free[name] -= row.unpaid_micros
    more = {reference: one.recount(payments, free) for reference, one in changed.items()}
    has: dict[int, int] = {}
    for one in changed.values():
        if (who := one.publisher_id) is not None:
            if who not in has:
                balance = publisher_balance(who, book=book)
                has[who] = balance.pending_micros + balance.payable_micros
            has[who] += one.kept_before - one.kept
    rows, deltas = [], defaultdict[str, dict[int, int]](lambda: defaultdict(int))
    for reference, one in changed.items():
        who = one.publisher_id
        if who is not None and (part := min(more[reference], max(0, has[who]))):
            has[who] -= part
            one.kept += part
        names = list(one.unpaid)
        kept = dict(zip(names, part_of(one.kept, one.unpaid.values()), strict=True))
        for name in one.before | one.counted:
            had = one.before[name].left_micros if name in one.before else 0
            left = kept.get(name, 0)
            counted, unpaid = one.counted.get(name, 0), one.unpaid.get(name, 0)
            rows.append((name, reference, who, counted, unpaid, left))
            if who is not None and left != had:
                deltas[name][who] += left - had
    for start in range(0, len(rows), AT_ONCE):
        columns = [list(column) for column in zip(*rows[start : start + AT_ONCE], strict=True)]
        with connection.cursor() as cursor:
            cursor.execute(_WRITE, [book, *columns])
    return deltas


def make_good(
    dispute_id: str, amount_micros: int, owed_micros: int, back: Mapping[int, int], *, book: str
) -> None:
    """Note that so much of what was owed for a dispute is made good, of all its runs alike, and what publishers have
    back of it."""
    given: dict[str, Any] = {
        "book": book,
        "dispute": dispute_id,
        "amount": amount_micros,
        "owed": owed_micros,
        "publishers": list(back),
        "micros": list(back.values()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_MAKE_GOOD, given)


@dataclass(frozen=True)
class Uncounted:
    """What of a run counts for a dispute no more, as it was given back: of its charge what was unpaid and what was made
    good for, and of the share."""

    dispute_id: str
    unpaid_micros: int
    paid_micros: int
    share_micros: int


def uncount(reference: UUID, *, bought_left: int, share_left: int, book: str) -> list[Uncounted]:
    """Bring what disputes count of a run down to what is left of its charge and share, that of the oldest first."""
    found = DisputedShare.objects.filter(book=book, reference=reference, counted_micros__gt=0)
    payments = DisputedPayment.objects.filter(book=book, dispute_id__in=found.values("dispute_id"))
    came = dict(payments.values_list("dispute_id", "pk"))
    rows = sorted(found, key=lambda row: (came.get(row.dispute_id, 0), row.pk))
    unpaid_over = sum(row.unpaid_micros for row in rows) - bought_left
    kept = 0
    cut: dict[str, tuple[int, int]] = {}
    for row in rows:
        unpaid = max(0, min(row.unpaid_micros, unpaid_over))
        unpaid_over -= unpaid
        left = (
            row.left_micros * (row.unpaid_micros - unpaid) // row.unpaid_micros if unpaid else row.left_micros
        )
        cut[row.dispute_id] = unpaid, row.left_micros - left
        row.unpaid_micros, row.counted_micros, row.left_micros = (
            row.unpaid_micros - unpaid,
            row.counted_micros - unpaid,
            left,
        )
        kept += left
    over, dust, done = sum(row.counted_micros for row in rows) - bought_left, kept - share_left, []
    for row in rows:
        unpaid, share = cut[row.dispute_id]
        paid = max(0, min(row.counted_micros - row.unpaid_micros, over))
        more = max(0, min(row.left_micros, dust))
        over, dust = over - paid, dust - more
        row.counted_micros -= paid
        row.left_micros -= more
        if unpaid or paid or share or more:
            row.save(update_fields=["counted_micros", "unpaid_micros", "left_micros"])
            done.append(Uncounted(row.dispute_id, unpaid, paid, share + more))
    return done
