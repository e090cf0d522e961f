"""Spend limits, and when their periods start and end. The counting is in the hold itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from billing.ledger.accounts import current_book
from billing.models import Period, ScopeKind, SpendLimit, SpendWindow

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class SpendScope(NamedTuple):
    """Something that a limit can be set on: ("key", key id), ("member", user id), ("workspace", its id) or
    ("model", "publisher/name"), always within the paying workspace."""

    kind: str
    id: str


class Limit(NamedTuple):
    """A limit as it stands: what was spent or is held in its present period since it was set, and when that ends."""

    limit_micros: int
    spent_micros: int
    resets_at: datetime | None

    @property
    def share(self) -> float:
        """How much of it is used, 0 to 1."""
        return min(1.0, self.spent_micros / self.limit_micros) if self.limit_micros else 1.0


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
    alert_at: Collection[int] | None = None,
    book: str | None = None,
    now: datetime | None = None,
) -> None:
    """Sets, changes or (with None) removes one limit. A limit counts from when it is first set, not what was
    before.

    `alert_at`: at which parts of it its workspace is told, in percent; None leaves them as they are. Of another amount
    it is told anew.
    """
    if scope.kind not in ScopeKind.values or period not in Period.values:
        raise ValueError(f"no limit on {scope.kind!r} per {period!r}")
    row: dict[str, Any] = {
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
        changes: dict[str, Any] = {"limit_micros": limit_micros}
        if alert_at is not None:
            changes["alert_at"] = sorted(set(alert_at))
        with transaction.atomic():
            SpendLimit.objects.update_or_create(**row, defaults=changes)
            present = SpendWindow.objects.filter(**row, starts_at=window_start(period, now or timezone.now()))
            present.exclude(limit_micros=limit_micros).update(
                limit_micros=limit_micros, told_percent=0, refused_at=None
            )


def note_refusal(window: SpendWindow, *, now: datetime | None = None) -> None:
    """Remember that the window has refused a run, for those who are told of it: it may never be full to the last
    micro-dollar. Once; in a transaction of its own, after the one that was refused. That one may have begun the window,
    which is begun anew here."""
    same: dict[str, Any] = {
        name: getattr(window, name)
        for name in ("workspace_id", "book", "scope_kind", "scope_id", "period", "starts_at")
    }
    SpendWindow.objects.get_or_create(**same, defaults={"limit_micros": window.limit_micros})
    SpendWindow.objects.filter(**same, refused_at=None).update(refused_at=now or timezone.now())


def limits_of(
    workspace_id: int, kind: str, ids: Iterable[str], *, book: str | None = None, now: datetime | None = None
) -> dict[tuple[str, str], Limit]:
    """The limits on several things of one kind, by their id and the period. Two statements at most."""
    at, wanted = now or timezone.now(), list(ids)
    scope: dict[str, Any] = {
        "workspace_id": workspace_id,
        "book": current_book(book),
        "scope_kind": kind,
        "scope_id__in": wanted,
    }
    limits = list(SpendLimit.objects.filter(**scope).values_list("scope_id", "period", "limit_micros"))
    if not limits:
        return {}
    present = Q(pk__in=[])
    for period in Period.values:
        present |= Q(period=period, starts_at=window_start(period, at))
    windows = SpendWindow.objects.filter(present, **scope).values_list("scope_id", "period", "spent_micros")
    spent = {(one, period): micros for one, period, micros in windows}
    return {
        (one, period): Limit(limit, spent.get((one, period), 0), window_end(period, window_start(period, at)))
        for one, period, limit in limits
    }
