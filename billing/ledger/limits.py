"""Spend limits and their windows: when a period starts, and which rows a hold counts in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from billing.ledger.accounts import current_book
from billing.models import Period, ScopeKind, SpendLimit

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class SpendScope(NamedTuple):
    """Something that a limit can be set on: ("key", key id), ("member", user id), ("workspace", its id) or
    ("model", "publisher/name"), always within the paying workspace."""

    kind: str
    id: str


def window_start(period: str, at: datetime) -> datetime:
    """The start of the period that `at` lies in: UTC midnight, Monday, the 1st; one start for ever for a
    lifetime."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == Period.DAY:
        return midnight
    if period == Period.WEEK:
        return midnight - timedelta(days=midnight.weekday())
    if period == Period.MONTH:
        return midnight.replace(day=1)
    if period == Period.LIFETIME:
        return ALWAYS
    raise ValueError(f"a limit's period is one of {', '.join(Period.values)}, not {period!r}")


def window_end(period: str, start: datetime) -> datetime | None:
    """When a window that began at `start` resets; None for a lifetime."""
    if period == Period.LIFETIME:
        return None
    days = {Period.DAY.value: 1, Period.WEEK.value: 7, Period.MONTH.value: 32}[period]
    return window_start(period, start + timedelta(days=days))


def set_limit(
    *,
    workspace_id: int,
    scope: SpendScope,
    period: str,
    limit_micros: int | None,
    book: str | None = None,
) -> None:
    """Sets, changes or (with None) removes one limit. A limit counts from when it is first set, not what was
    before."""
    if scope.kind not in ScopeKind.values or period not in Period.values:
        raise ValueError(f"no limit on {scope.kind!r} per {period!r}")
    row = {
        "workspace_id": workspace_id,
        "book": current_book(book),
        "scope_kind": scope.kind,
        "scope_id": scope.id,
        "period": period,
    }
    if limit_micros is None:
        SpendLimit.objects.filter(**row).delete()
    elif limit_micros < 0:
        raise ValueError("a limit is zero or more micro-dollars")
    else:
        SpendLimit.objects.update_or_create(**row, defaults={"limit_micros": limit_micros})


_WINDOWS = """
    WITH due AS (
        SELECT l.scope_kind, l.scope_id, l.period, p.starts_at, l.limit_micros, w.id
          FROM unnest(%(kinds)s::text[], %(ids)s::text[]) AS s(kind, id)
          JOIN billing_spendlimit l
            ON l.workspace_id = %(workspace)s AND l.book = %(book)s
           AND l.scope_kind = s.kind AND l.scope_id = s.id
          JOIN unnest(%(periods)s::text[], %(starts)s::timestamptz[]) AS p(period, starts_at)
            ON p.period = l.period
          LEFT JOIN billing_spendwindow w
            ON w.workspace_id = l.workspace_id AND w.book = l.book AND w.scope_kind = l.scope_kind
           AND w.scope_id = l.scope_id AND w.period = l.period AND w.starts_at = p.starts_at
    ), added AS (
        INSERT INTO billing_spendwindow
               (workspace_id, book, scope_kind, scope_id, period, starts_at, limit_micros, spent_micros)
        SELECT %(workspace)s, %(book)s, scope_kind, scope_id, period, starts_at, limit_micros, 0
          FROM due WHERE id IS NULL
         ORDER BY scope_kind, scope_id, period
            ON CONFLICT DO NOTHING
        RETURNING id
    )
    SELECT (SELECT count(*) FROM due),
           ARRAY(SELECT id FROM due WHERE id IS NOT NULL UNION ALL SELECT id FROM added ORDER BY id)
"""


def windows_for(*, workspace_id: int, book: str, scopes: Sequence[SpendScope], at: datetime) -> list[int]:
    """The ids of the windows that a hold at this moment counts in, made where missing. No limits set: one
    read, no rows."""
    if not scopes:
        return []
    parameters = {
        "workspace": workspace_id,
        "book": book,
        "kinds": [scope.kind for scope in scopes],
        "ids": [scope.id for scope in scopes],
        "periods": Period.values,
        "starts": [window_start(period, at) for period in Period.values],
    }
    for _ in range(3):  # a window that another transaction makes at this moment is found by the next reading
        with connection.cursor() as cursor:
            cursor.execute(_WINDOWS, parameters)
            due, ids = cursor.fetchone()
        if len(ids) == due:
            return list(ids)
    raise RuntimeError("a spend window could neither be found nor made")
