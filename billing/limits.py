"""The spend limits of a workspace as people see them: on whom, with names, how much is used, and who is told when.

The ledger counts and refuses; here a limit gets an id, a name for what it is on, and the alerts at chosen parts of it.
Alerts are found by the minute's tidying and told from the outbox, so that no run ever waits for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from billing import ledger
from billing.ledger.accounts import current_book
from billing.ledger.limits import window_end, window_start
from billing.letters import dollars
from billing.models import Period, ScopeKind, SpendLimit, SpendWindow
from marketplace import catalog, dispatch, people
from marketplace.dispatch import Payload
from marketplace.ids import encode, parse
from marketplace.models import ApiKey, Membership, User, Workspace
from marketplace.people import Act
from marketplace.schema import FieldError, FieldErrors

TELL_TASK = "billing.tell_limit"
EVENT_TASK = "playground.limit_alert"  # lives a room above: called by name
MOST_MICROS = 10**13
MAX_LIMITS = 500  # of one workspace
MAX_ALERTS = 5
AT_ONCE = 200
ALL = 100  # percent
KINDS: tuple[str, ...] = tuple(ScopeKind.values)
PERIODS: tuple[str, ...] = tuple(Period.values)
USUAL_ALERTS = (50, 80, 100)
WORDS = {"day": "daily", "week": "weekly", "month": "monthly", "lifetime": "lifetime"}


class NotFound(LookupError):
    """The workspace has no such limit."""


class NotAllowed(Exception):
    """Whoever asks may not do this to this limit; the message says why."""


class TooMany(NotAllowed):
    """The workspace has as many limits as it may."""


class Invalid(FieldErrors):
    """What is wished for cannot be a limit; `errors` lists all that is wrong, by field."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a limit is on, for people: `id` is the public one, `name` and `detail` say what it is."""

    kind: str
    id: str
    name: str
    detail: str = ""

    @property
    def said(self) -> str:
        """As in a sentence: `the key “importer”`."""
        if self.kind == ScopeKind.WORKSPACE:
            return "the whole workspace"
        return self.name if self.kind == ScopeKind.MODEL else f"the {self.kind} “{self.name}”"


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit as it stands: `spent_micros` is charged or held in its present period."""

    uid: str
    scope: ledger.SpendScope
    target: Target
    period: str
    limit_micros: int
    spent_micros: int
    alert_at: tuple[int, ...]
    resets_at: datetime | None
    refused_at: datetime | None
    created_at: datetime

    @property
    def share(self) -> float:
        """How much of it is used, 0 to 1."""
        return min(1.0, self.spent_micros / self.limit_micros) if self.limit_micros else 1.0

    @property
    def is_reached(self) -> bool:
        """Whether it refuses runs, or has in this period."""
        return self.share >= 1 or self.refused_at is not None

    @property
    def period_word(self) -> str:
        return WORDS[self.period]


def rows(workspace: Workspace, *, book: str | None = None) -> QuerySet[SpendLimit]:
    """The limits of the workspace as rows, for a list in pages; `standing` makes them legible."""
    return SpendLimit.objects.filter(workspace=workspace, book=current_book(book))


def of(workspace: Workspace, *, book: str | None = None, now: datetime | None = None) -> list[Standing]:
    """All limits of the workspace: its own first, then those on models, members and keys. Five statements at most."""
    order = {kind: place for place, kind in enumerate(("workspace", "model", "member", "key"))}
    place = {period: number for number, period in enumerate(PERIODS)}
    found = standing(workspace, list(rows(workspace, book=book)), now=now)
    return sorted(
        found, key=lambda one: (order[one.scope.kind], one.target.name, one.target.id, place[one.period])
    )


def standing(
    workspace: Workspace, rows: Sequence[SpendLimit], *, now: datetime | None = None
) -> list[Standing]:
    """These rows of one book as they stand now, in this order. Three statements for all."""
    at = now or timezone.now()
    starts = {period: window_start(period, at) for period in PERIODS}
    windows: dict[tuple[str, str, str], SpendWindow] = {}
    if rows:
        present = SpendWindow.objects.filter(
            workspace=workspace, book=rows[0].book, starts_at__in=set(starts.values())
        )
        windows = {
            (one.scope_kind, one.scope_id, one.period): one
            for one in present
            if one.starts_at == starts[one.period]
        }
    named = names(workspace, [ledger.SpendScope(row.scope_kind, row.scope_id) for row in rows])
    found = []
    for row in rows:
        window = windows.get((row.scope_kind, row.scope_id, row.period))
        scope = ledger.SpendScope(row.scope_kind, row.scope_id)
        found.append(
            Standing(
                uid=row.uid,
                scope=scope,
                target=named[scope],
                period=row.period,
                limit_micros=row.limit_micros,
                spent_micros=window.spent_micros if window else 0,
                alert_at=tuple(row.alert_at),
                resets_at=window_end(row.period, starts[row.period]),
                refused_at=window.refused_at if window else None,
                created_at=row.created_at,
            )
        )
    return found


def find(workspace: Workspace, uid: str, *, book: str | None = None, now: datetime | None = None) -> Standing:
    """The workspace's limit by any spelling of its id. Raises NotFound."""
    row = _row(workspace, uid, book)
    return standing(workspace, [row], now=now)[0]


def put(
    workspace: Workspace,
    *,
    kind: str,
    target: str = "",
    period: str,
    limit_micros: int,
    alert_at: Collection[int] | None = None,
    key: ApiKey | None = None,
    book: str | None = None,
) -> Standing:
    """Set the limit of `kind` on `target` per `period`, which is made or changed; `key` is the one that asks, if a
    program does.

    `target` is the public id of a key or member, or `publisher/name`; the workspace needs none. Raises Invalid, and
    NotAllowed for a key that would spend more by it.
    """
    alerts = sorted(set(alert_at)) if alert_at is not None else None
    errors = _wrong(kind, period, limit_micros, alerts)
    scope = _scope(workspace, kind, target) if kind in KINDS else None
    if kind in KINDS and scope is None:
        errors.append(FieldError("target", "not_found", f"names no {kind} of this workspace"))
    if errors or scope is None:
        raise Invalid(errors)
    row = {"workspace": workspace, "book": current_book(book), "scope_kind": kind, "scope_id": scope.id}
    with _alone(workspace):
        present = SpendLimit.objects.filter(**row, period=period).first()
        _refuse_growth(key, scope, present.limit_micros if present else None, limit_micros)
        if present is None and SpendLimit.objects.filter(workspace=workspace).count() >= MAX_LIMITS:
            raise TooMany(f"A workspace has at most {MAX_LIMITS} limits. Remove those that nobody needs.")
        ledger.set_limit(
            workspace_id=workspace.pk,
            scope=scope,
            period=period,
            limit_micros=limit_micros,
            alert_at=alerts,
            book=book,
        )
        made = SpendLimit.objects.get(**row, period=period)
    return standing(workspace, [made])[0]


def change(
    workspace: Workspace,
    uid: str,
    *,
    limit_micros: int | None = None,
    alert_at: Collection[int] | None = None,
    key: ApiKey | None = None,
    book: str | None = None,
) -> Standing:
    """Change the amount of a limit, when it is told of, or both. Raises NotFound, Invalid, and NotAllowed for a key
    that would spend more by it."""
    alerts = sorted(set(alert_at)) if alert_at is not None else None
    with _alone(workspace):
        row = _row(workspace, uid, book)
        wanted = row.limit_micros if limit_micros is None else limit_micros
        errors = _wrong(row.scope_kind, row.period, wanted, alerts)
        if errors:
            raise Invalid(errors)
        scope = ledger.SpendScope(row.scope_kind, row.scope_id)
        _refuse_growth(key, scope, row.limit_micros, wanted)
        ledger.set_limit(
            workspace_id=workspace.pk,
            scope=scope,
            period=row.period,
            limit_micros=wanted,
            alert_at=alerts,
            book=book,
        )
    return find(workspace, uid, book=book)


def remove(workspace: Workspace, uid: str, *, key: ApiKey | None = None, book: str | None = None) -> None:
    """Lift a limit. Raises NotFound, and NotAllowed for a key that it binds."""
    with _alone(workspace):
        row = _row(workspace, uid, book)
        scope = ledger.SpendScope(row.scope_kind, row.scope_id)
        _refuse_growth(key, scope, row.limit_micros, None)
        ledger.set_limit(
            workspace_id=workspace.pk, scope=scope, period=row.period, limit_micros=None, book=book
        )


def targets(workspace: Workspace) -> dict[str, list[Target]]:
    """What a limit can be put on, but models: the keys that work, and the members."""
    now = timezone.now()
    rows = ApiKey.objects.filter(workspace=workspace, revoked_at=None).exclude(expires_at__lte=now)
    places = workspace.memberships.select_related("user").order_by("user__name", "user__email")
    return {
        "key": [_key_target(row) for row in rows.order_by("name", "id")],
        "member": [_member_target(place.user) for place in places],
    }


@contextlib.contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """A transaction with the workspace's row as its lock: of two at once only one is the last limit that fits, and no
    key raises what somebody lowers at this moment."""
    with transaction.atomic():
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        yield


def _row(workspace: Workspace, uid: str, book: str | None) -> SpendLimit:
    number = parse(uid, "l")
    row = rows(workspace, book=book).filter(public_id=number).first() if number is not None else None
    if row is None:
        raise NotFound("There is no such limit in this workspace.")
    return row


def _wrong(kind: str, period: str, limit_micros: int, alerts: Collection[int] | None) -> list[FieldError]:
    errors = []
    if kind not in KINDS:
        errors.append(FieldError("scope", "not_allowed", "is nothing that a limit can be on", list(KINDS)))
    if period not in PERIODS:
        errors.append(FieldError("period", "not_allowed", "is no period of a limit", list(PERIODS)))
    if not 0 <= limit_micros <= MOST_MICROS:
        message = "must be from 0 to 10 million dollars"
        errors.append(FieldError("limit_micros", "too_large", message, MOST_MICROS))
    if alerts is not None and len(alerts) > MAX_ALERTS:
        errors.append(FieldError("alert_at", "too_many", f"are more than {MAX_ALERTS}", MAX_ALERTS))
    if alerts is not None and not all(1 <= percent <= ALL for percent in alerts):
        errors.append(FieldError("alert_at", "too_large", "are percents from 1 to 100", ALL))
    return errors


def _scope(workspace: Workspace, kind: str, target: str) -> ledger.SpendScope | None:
    """What the target is to the ledger; None for what this workspace does not have."""
    target = target[:160].replace("\0", "")
    if kind == ScopeKind.WORKSPACE:
        return ledger.SpendScope(kind, str(workspace.pk)) if target in ("", workspace.slug) else None
    if kind == ScopeKind.MODEL:
        try:
            return ledger.SpendScope(kind, catalog.listing(target, workspace=workspace).model_id)
        except catalog.NotFound:
            return None
    number = parse(target, "k" if kind == ScopeKind.KEY else "u")
    if number is None:
        return None
    if kind == ScopeKind.KEY:
        key = ApiKey.objects.filter(workspace=workspace, public_id=number, revoked_at=None).first()
        return ledger.SpendScope(kind, str(key.pk)) if key is not None else None
    place = Membership.objects.filter(workspace=workspace, user__public_id=number).first()
    return ledger.SpendScope(kind, str(place.user_id)) if place is not None else None


def _refuse_growth(
    key: ApiKey | None, scope: ledger.SpendScope, before: int | None, after: int | None
) -> None:
    """A key never lifts its own limit, one on a key that made it or on the person it is of, or the workspace's."""
    if key is None or before is None or (after is not None and after <= before):
        return
    own = {
        ScopeKind.WORKSPACE: {scope.id},
        ScopeKind.KEY: {str(key.pk), *map(str, key.ancestor_ids)},
        ScopeKind.MEMBER: {str(key.created_by_id)},
    }
    if scope.id in own.get(ScopeKind(scope.kind), ()):
        raise NotAllowed(
            "A key can lower its own limits, its maker’s and the workspace’s, and not raise or remove them. "
            "A person can."
        )


def names(workspace: Workspace, scopes: Collection[ledger.SpendScope]) -> Mapping[ledger.SpendScope, Target]:
    """What each scope is called; for who is gone, that. Two statements at most."""
    ids = {kind: [int(one.id) for one in scopes if one.kind == kind and one.id.isdigit()] for kind in KINDS}
    keys = {
        str(row.pk): _key_target(row)
        for row in (ApiKey.objects.filter(workspace=workspace, pk__in=ids["key"]) if ids["key"] else ())
    }
    members = {
        str(user.pk): _member_target(user)
        for user in (User.objects.filter(pk__in=ids["member"]) if ids["member"] else ())
    }
    found = {}
    for one in scopes:
        if one.kind == ScopeKind.WORKSPACE:
            found[one] = Target(one.kind, workspace.slug, workspace.name)
        elif one.kind == ScopeKind.MODEL:
            found[one] = Target(one.kind, one.id, one.id)
        else:
            known = keys if one.kind == ScopeKind.KEY else members
            found[one] = known.get(one.id) or Target(one.kind, "", f"a {one.kind} that is no more")
    return found


def _key_target(row: ApiKey) -> Target:
    return Target(ScopeKind.KEY, row.uid, row.name, f"vt_{row.key_id}…")


def _member_target(user: User) -> Target:
    return Target(ScopeKind.MEMBER, encode(user.public_id, "u"), user.get_short_name(), user.email)


# A window of the present period, with the highest of its limit's parts that was reached and not told. One that refused
# a run is full, whatever is left of it. Who is claimed by another tick is passed over.
_FIND = """
SELECT w.id, w.workspace_id, w.scope_kind, w.scope_id, w.period, w.starts_at, w.spent_micros, l.limit_micros,
       w.refused_at IS NOT NULL, reached.percent
  FROM billing_spendlimit l
  JOIN unnest(%(periods)s::text[], %(starts)s::timestamptz[]) AS p(period, starts_at) ON p.period = l.period
  JOIN billing_spendwindow w ON w.workspace_id = l.workspace_id AND w.book = l.book AND w.scope_kind = l.scope_kind
                            AND w.scope_id = l.scope_id AND w.period = l.period AND w.starts_at = p.starts_at
 CROSS JOIN LATERAL (
       SELECT max(part) AS percent FROM unnest(l.alert_at) AS part
        WHERE w.refused_at IS NOT NULL OR (l.limit_micros > 0 AND w.spent_micros * 100 >= l.limit_micros * part)
       ) AS reached
 WHERE l.book = %(book)s AND reached.percent > w.told_percent
 ORDER BY w.id LIMIT %(limit)s
   FOR NO KEY UPDATE OF w SKIP LOCKED
"""


def find_alerts(*, book: str | None = None, now: datetime | None = None) -> int:
    """Have every limit told of that has reached a part of itself since it was last; returns how many there were."""
    at = now or timezone.now()
    wanted: dict[str, Any] = {
        "book": current_book(book),
        "periods": list(PERIODS),
        "starts": [window_start(period, at) for period in PERIODS],
        "limit": AT_ONCE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FIND, wanted)
        found = cursor.fetchall()
        for window, workspace, kind, scope, period, starts_at, spent, limit, is_refusing, percent in found:
            SpendWindow.objects.filter(pk=window).update(told_percent=percent)
            end = window_end(period, starts_at)
            told = {
                "window": window,
                "workspace": workspace,
                "scope": [kind, scope],
                "period": period,
                "limit_micros": limit,
                "spent_micros": spent,
                "percent": percent,
                "is_refusing": is_refusing or spent >= limit,
                "resets_at": end.isoformat() if end else None,
                "at": at.isoformat(),
            }
            dispatch.post(TELL_TASK, told)
            dispatch.post(EVENT_TASK, told)
    return len(found)


@dispatch.handler(TELL_TASK)
def tell(payload: Payload) -> None:
    """Mail those who look after the workspace's credit, and whose own limit it is."""
    workspace = Workspace.objects.filter(pk=payload["workspace"], closed_at=None).first()
    if workspace is None:
        return
    scope = ledger.SpendScope(*payload["scope"])
    target = names(workspace, [scope])[scope]
    word, percent = WORDS[payload["period"]], payload["percent"]
    resets_at = datetime.fromisoformat(payload["resets_at"]) if payload["resets_at"] else None
    until = f"until {resets_at:%-d %b %Y, %H:%M} UTC" if resets_at else "until somebody raises it"
    spent, limit = dollars(payload["spent_micros"]), dollars(payload["limit_micros"])
    if payload["is_refusing"]:
        subject = f"{workspace.name}: the {word} limit of {target.said} is reached"
        passed = payload["spent_micros"] < payload["limit_micros"]
        why = "A run that would have passed it was refused. " if passed else ""
        effect = (
            f"{why}New runs that would pass it are refused {until}. "
            "Runs that were accepted finish and are charged."
        )
    else:
        subject = f"{workspace.name}: {percent} % of the {word} limit of {target.said} is used"
        effect = "At the limit, new runs that it counts are refused; runs that were accepted finish."
    text = (
        f"The {word} limit of {target.said} in {workspace.name} is {limit}. Of it {spent} is spent or held by open "
        f"runs.\n\n{effect}\n\nLimits and alerts: {settings.PUBLIC_URL}{reverse('limits')}\n"
    )
    people.tell(workspace, Act.BILLING, subject=subject, body=text, also=_of_whom(scope))


def _of_whom(scope: ledger.SpendScope) -> list[int]:
    """The user whose own limit it is."""
    if scope.kind == ScopeKind.MEMBER:
        return [int(scope.id)]
    if scope.kind != ScopeKind.KEY:
        return []
    makers = ApiKey.objects.filter(pk=int(scope.id), created_by__isnull=False)
    return list(makers.values_list("created_by", flat=True))
