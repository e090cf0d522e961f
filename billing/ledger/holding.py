"""Setting credit aside before a run: one statement that checks limits and balance and moves both, or does
nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.utils import timezone

from billing.ledger.accounts import balance, current_book
from billing.ledger.limits import SpendScope, window_end, window_start
from billing.models import Hold, Period, SpendWindow


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
        window: SpendWindow | None = None,
    ) -> None:
        super().__init__(f"the {period} limit of {scope.kind} {scope.id} is {limit_micros} micro-dollars")
        self.scope = scope
        self.period = period
        self.limit_micros = limit_micros
        self.spent_micros = spent_micros
        self.resets_at = resets_at
        self.window = window


class TooManyOpen(Exception):
    """The workspace has as many open runs at once as it may: `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} runs of the workspace are open, which is as many as it may have at once")
        self.most = most


class AlreadyHeld(Exception):
    """There is, or was, a hold for this reference."""

    def __init__(self, reference: UUID) -> None:
        super().__init__(f"credit was held for {reference} before")
        self.reference = reference


_HOLD = """
    SELECT outcome, available, refusing_window, spent, allowed
      FROM ledger_hold(%s::bigint, %s, %s::uuid, %s::bigint, %s,
                       %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::integer, %s::integer)
"""


def hold(
    *,
    workspace_id: int,
    reference: UUID,
    amount_micros: int,
    book: str | None = None,
    limits: Sequence[SpendScope] = (),
    most_open: int = 0,
    most_open_granted: int = 0,
    now: datetime | None = None,
) -> None:
    """Sets `amount_micros` aside for the run `reference`, the most that it may cost; zero is a free run.

    Raises `InsufficientCredit`, `LimitReached`, `TooManyOpen` or `AlreadyHeld`, and has then written nothing. `limits`
    are the scopes that the run belongs to; those with no limit configured cost one read together. `most_open` is how
    many holds the workspace may have open at once, `most_open_granted` while it has no bought credit; 0 is no limit.
    """
    if amount_micros < 0:
        raise ValueError("a hold is zero or more micro-dollars")
    book = current_book(book)
    at = now or timezone.now()
    parameters = (
        workspace_id,
        book,
        reference,
        amount_micros,
        at,
        [scope.kind for scope in limits],
        [scope.id for scope in limits],
        # As array literals: rendering lists of dates took the driver longer than anything else here.
        "{" + ",".join(Period.values) + "}",
        "{" + ",".join(window_start(period, at).isoformat() for period in Period.values) + "}",
        most_open,
        most_open_granted,
    )
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, parameters)
        outcome, available, window_id, spent, allowed = cursor.fetchone()
    if outcome == "held":
        return
    if outcome == "repeated" or Hold.objects.filter(reference=reference).exists():
        raise AlreadyHeld(reference)
    if outcome == "busy":
        raise TooManyOpen(allowed)
    if outcome == "limit":
        raise _limit_reached(window_id, spent_micros=spent, limit_micros=allowed)
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
        window=window,
    )
