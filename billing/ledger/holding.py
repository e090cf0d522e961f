"""Setting credit aside before a run: one statement that checks limits and balance and moves both, or does
nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.utils import timezone

from billing.ledger.accounts import AccountName, Kind, balance, current_book
from billing.ledger.limits import SpendScope, window_end, windows_for
from billing.models import Hold, SpendWindow


class InsufficientCredit(Exception):
    """The workspace cannot pay for the run; the four amounts are those of the 402 answer."""

    def __init__(
        self, *, balance_micros: int, held_micros: int, available_micros: int, needed_micros: int
    ) -> None:
        super().__init__(f"needs {needed_micros} micro-dollars, {available_micros} are available")
        self.balance_micros = balance_micros
        self.held_micros = held_micros
        self.available_micros = available_micros
        self.needed_micros = needed_micros


class LimitReached(Exception):
    """A spend limit forbids the run, until `resets_at` (None: for good)."""

    def __init__(
        self,
        *,
        scope: SpendScope,
        period: str,
        limit_micros: int,
        spent_micros: int,
        resets_at: datetime | None,
    ) -> None:
        super().__init__(f"the {period} limit of {scope.kind} {scope.id} is {limit_micros} micro-dollars")
        self.scope = scope
        self.period = period
        self.limit_micros = limit_micros
        self.spent_micros = spent_micros
        self.resets_at = resets_at


class AlreadyHeld(Exception):
    """There is, or was, a hold for this reference."""

    def __init__(self, reference: UUID) -> None:
        super().__init__(f"credit was held for {reference} before")
        self.reference = reference


# Locks are taken in one order, here and in settling: windows by id, then the workspace's credit accounts by
# id. Both are read under the lock, so amounts are current whatever the snapshot was. Nothing is written
# unless everything fits, so a caller may catch a refusal and go on. Granted credit is taken first.
_HOLD = """
    WITH window_ AS (
        SELECT w.id, w.spent_micros, l.limit_micros
          FROM billing_spendwindow w
          JOIN billing_spendlimit l
            ON l.workspace_id = w.workspace_id AND l.book = w.book AND l.scope_kind = w.scope_kind
           AND l.scope_id = w.scope_id AND l.period = w.period
         WHERE w.id = ANY(%(windows)s)
         ORDER BY w.id FOR NO KEY UPDATE OF w
    ), refusal AS (
        SELECT id, spent_micros, limit_micros FROM window_
         WHERE spent_micros + %(amount)s > limit_micros ORDER BY id LIMIT 1
    ), credit AS (
        SELECT id, kind, balance_micros FROM billing_ledgeraccount
         WHERE book = %(book)s AND code IN (%(granted)s, %(bought)s) AND %(amount)s > 0
           AND NOT EXISTS (SELECT 1 FROM refusal)
         ORDER BY id FOR NO KEY UPDATE
    ), split AS (
        SELECT least(granted, %(amount)s) AS granted, %(amount)s - least(granted, %(amount)s) AS bought, total
          FROM (SELECT coalesce(sum(balance_micros), 0)::bigint AS total,
                       coalesce(sum(balance_micros) FILTER (WHERE kind = %(granted_kind)s), 0)::bigint
                           AS granted
                  FROM credit) AS sums
    ), posted AS (
        INSERT INTO billing_ledgertransaction (book, key, kind, reference, note, created_at)
        SELECT %(book)s, %(key)s, 'hold', %(reference)s, '', %(at)s
          FROM split WHERE total >= %(amount)s AND NOT EXISTS (SELECT 1 FROM refusal)
            ON CONFLICT (book, key) DO NOTHING
        RETURNING id
    ), part AS (
        SELECT credit.id, CASE kind WHEN %(granted_kind)s THEN split.granted ELSE split.bought END AS amount
          FROM posted, credit, split
    ), entry AS (
        INSERT INTO billing_ledgerentry (transaction_id, account_id, amount_micros)
        SELECT posted.id, part.id, -part.amount FROM posted, part WHERE part.amount > 0
         UNION ALL
        SELECT posted.id, a.id, %(amount)s FROM posted, billing_ledgeraccount a
         WHERE a.book = %(book)s AND a.code = %(held)s AND %(amount)s > 0
    ), opened AS (
        INSERT INTO billing_hold (reference, workspace_id, book, granted_micros, bought_micros,
                                  captured_micros, state, window_ids, opened_by_id, opened_at, closed_at)
        SELECT %(reference)s, %(workspace)s, %(book)s, split.granted, split.bought,
               0, 'open', ARRAY(SELECT id FROM window_ ORDER BY id), posted.id, %(at)s, NULL
          FROM posted, split
    ), counted AS (
        UPDATE billing_spendwindow w
           SET spent_micros = w.spent_micros + %(amount)s, limit_micros = window_.limit_micros
          FROM posted, window_ WHERE w.id = window_.id
    ), taken AS (
        UPDATE billing_ledgeraccount a SET balance_micros = a.balance_micros - part.amount
          FROM part WHERE a.id = part.id AND part.amount > 0
    )
    SELECT (SELECT id FROM posted), split.total, refusal.id, refusal.spent_micros, refusal.limit_micros
      FROM split LEFT JOIN refusal ON true
"""


def hold(
    *,
    workspace_id: int,
    reference: UUID,
    amount_micros: int,
    book: str | None = None,
    limits: Sequence[SpendScope] = (),
    now: datetime | None = None,
) -> None:
    """Sets `amount_micros` aside for the run `reference`, the most that it may cost; zero is a free run.

     Raises `InsufficientCredit`, `LimitReached` or `AlreadyHeld`, and has then written nothing. `limits` are
    the scopes that the run belongs to; those with no limit configured cost one read together.
    """
    if amount_micros < 0:
        raise ValueError("a hold is zero or more micro-dollars")
    book = current_book(book)
    at = now or timezone.now()
    scopes = limits if amount_micros else ()
    parameters = {
        "workspace": workspace_id,
        "reference": reference,
        "amount": amount_micros,
        "book": book,
        "at": at,
        "key": f"hold:{reference}",
        "granted_kind": Kind.WORKSPACE_GRANTED.value,
        "granted": AccountName(Kind.WORKSPACE_GRANTED, workspace_id).code,
        "bought": AccountName(Kind.WORKSPACE_BOUGHT, workspace_id).code,
        "held": AccountName(Kind.WORKSPACE_HELD, workspace_id).code,
        "windows": windows_for(workspace_id=workspace_id, book=book, scopes=scopes, at=at),
    }
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, parameters)
        posted, available, window_id, spent, limit = cursor.fetchone()
    if posted is not None:
        return
    if Hold.objects.filter(reference=reference).exists():
        raise AlreadyHeld(reference)
    if window_id is not None:
        raise _limit_reached(window_id, spent_micros=spent, limit_micros=limit)
    held = balance(workspace_id, book=book).held_micros
    raise InsufficientCredit(
        balance_micros=available + held,
        held_micros=held,
        available_micros=available,
        needed_micros=amount_micros,
    )


def _limit_reached(window_id: int, *, spent_micros: int, limit_micros: int) -> LimitReached:
    window = SpendWindow.objects.get(pk=window_id)
    return LimitReached(
        scope=SpendScope(window.scope_kind, window.scope_id),
        period=window.period,
        limit_micros=limit_micros,
        spent_micros=spent_micros,
        resets_at=window_end(window.period, window.starts_at),
    )
