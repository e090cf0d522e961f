"""Spend limits, and when their periods start and end. The counting is in the hold itself.

A limit that is set in the middle of its period begins with what was charged in it before, as the days of usage have it,
and with what is held by runs that are open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from billing.ledger.accounts import current_book
from billing.models import Hold, Period, ScopeKind, SpendLimit, SpendWindow, UsageDay
from marketplace.models import ApiKey

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# The lock that a hold shares with others of its workspace and whoever sets a limit takes alone, until the commit: so no
# hold is under way that has not seen the limit and that nobody sees. `ledger_hold` spells it, too.
LOCK = 0x4C494D54


class SpendScope(NamedTuple):
    """Something that a limit can be set on: ("key", key id), ("member", user id), ("workspace", its id) or
    ("model", "publisher/name"), always within the paying workspace."""

    kind: str
    id: str


class Limit(NamedTuple):
    """A limit as it stands: what was spent or is held in its present period, and when that ends."""

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
    """Sets, changes or (with None) removes one limit. What was spent in its present period before counts, too.

    Holds of the workspace wait for the commit of whoever sets one. `alert_at`: at which parts of it its workspace is
    told, in percent; None leaves them as they are. Of another amount it is told anew.
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
        at = now or timezone.now()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCK, workspace_id % 2147483647])
            _, is_new = SpendLimit.objects.update_or_create(**row, defaults=changes)
            if is_new:
                _count_before(row, limit_micros, at)
            present = SpendWindow.objects.filter(**row, starts_at=window_start(period, at))
            present.exclude(limit_micros=limit_micros).update(
                limit_micros=limit_micros, told_percent=0, refused_at=None
            )


def _count_before(row: Mapping[str, Any], limit_micros: int, at: datetime) -> None:
    """Brings the present window of a limit that was just set up to what was spent in it, where that is anything.

    Holds first and then what was charged: a run that is settled meanwhile is in one of the two. A window that is there
    from an earlier time with a limit knows its own holds; what was charged without it is all that it lacks.
    """
    start = window_start(row["period"], at)
    open_ = _open_holds(row, start)
    charged = _charged(row, start)
    if not charged and not open_:
        return
    window, _ = SpendWindow.objects.select_for_update(no_key=True).get_or_create(
        **row, starts_at=start, defaults={"limit_micros": limit_micros}
    )
    held = sum(hold.granted_micros + hold.bought_micros for hold in open_)
    counted = sum(hold.granted_micros + hold.bought_micros for hold in open_ if window.pk in hold.window_ids)
    settled = window.spent_micros - window.before_micros - counted
    window.before_micros = max(0, charged - settled)
    window.spent_micros = window.before_micros + settled + held
    window.limit_micros, window.told_percent, window.refused_at = limit_micros, 0, None
    window.save()
    lacking = [hold.pk for hold in open_ if window.pk not in hold.window_ids]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_hold SET window_ids = window_ids || %s::bigint WHERE id = ANY(%s)",
            [window.pk, lacking],
        )


def _open_holds(row: Mapping[str, Any], start: datetime) -> list[Hold]:
    """The holds that are open and count in a window, locked: they cannot be settled before the commit."""
    holds = Hold.objects.filter(
        workspace=row["workspace_id"], book=row["book"], state=Hold.State.OPEN, opened_at__gte=start
    ).exclude(granted_micros=0, bought_micros=0)
    end = window_end(row["period"], start)
    if end is not None:
        holds = holds.filter(opened_at__lt=end)
    if row["scope_kind"] != ScopeKind.WORKSPACE:
        holds = holds.filter(scopes__contains=[f"{row['scope_kind']}:{row['scope_id']}"])
    return list(holds.select_for_update(no_key=True).order_by("pk"))


def _charged(row: Mapping[str, Any], start: datetime) -> int:
    """What was charged in a window's period, by the days of usage."""
    days = UsageDay.objects.filter(workspace=row["workspace_id"], book=row["book"], day__gte=start.date())
    end = window_end(row["period"], start)
    if end is not None:
        days = days.filter(day__lt=end.date())
    kind, one = row["scope_kind"], row["scope_id"]
    if kind == ScopeKind.KEY:  # with what the keys spent that it made
        made = ApiKey.objects.filter(workspace=row["workspace_id"], ancestor_ids__contains=[int(one)])
        days = days.filter(Q(key_id=int(one)) | Q(key_id__in=made.values("pk")))
    elif kind == ScopeKind.MEMBER:
        days = days.filter(user_id=int(one))
    elif kind == ScopeKind.MODEL:
        days = days.filter(model=one)
    return int(days.aggregate(total=Sum("amount_micros", default=0))["total"])


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
