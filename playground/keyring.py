"""The keys of a workspace with their spend limits: who may make which, change, rotate and end them.

Hides that a key is a row of the marketplace and its limits are rows of the ledger, and holds the one rule of rights:
whoever makes a key gives it at most what they have. A person has what their role allows; a key has its scopes and its
life, its makers' limits count for what it made, and it changes no keys but itself, downwards, and those it made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from billing import ledger, usage
from billing.limits import MOST_MICROS
from marketplace import catalog, keys, people
from marketplace.ids import parse
from marketplace.models import ApiKey, User, Workspace
from marketplace.people import Act
from marketplace.schema import FieldError, FieldErrors

# What a person's role must allow for what a key needs a scope for; seeing is for every member.
ACTS = {
    "predictions:write": Act.RUN,
    "assets:write": Act.RUN,
    "webhooks:write": Act.WEBHOOKS,
    "billing:write": Act.BILLING,
    "publishers:write": Act.PUBLISHER,
    "payouts:write": Act.BILLING,
    "keys:read": Act.KEYS,
    "keys:write": Act.KEYS,
}
PRESETS: dict[str, tuple[str, ...]] = {
    "run": (
        "models:read",
        "predictions:read",
        "predictions:write",
        "assets:read",
        "assets:write",
        "billing:read",
    ),
    "read": tuple(scope for scope in keys.SCOPES if scope.endswith(":read")),
    # With credit, payouts and publishers few programs have to do, and not every role may let them.
    "everything": tuple(
        scope for scope in keys.SCOPES if scope not in {"billing:write", "publishers:write", "payouts:write"}
    ),
}
PERIODS = ("day", "month")
NAME_MAXIMUM = 80
LIST_MAXIMUM = 20  # origins and models of a publishable key
MAX_KEYS = 200  # that work at one time, in a workspace
LIFE_MAXIMUM = timedelta(days=3660)
LIMIT_MAXIMUM = MOST_MICROS  # of any limit


class NotFound(LookupError):
    """The workspace has no such key. The same for one that never was and one of somebody else."""


class NotAllowed(Exception):
    """Whoever asks may not do this to this key; the message says why."""


class TooMany(NotAllowed):
    """The workspace has as many keys that work as it may."""


class Invalid(FieldErrors):
    """What is wished for a key cannot be; `errors` lists all that is wrong, by field."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may give to a key. `key` is the key that they come with, if they are a program."""

    scopes: frozenset[str]
    until: datetime | None = None
    key: ApiKey | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a key should be. A publishable one names origins and models, and a limit per day."""

    name: str
    scopes: Sequence[str] = PRESETS["run"]
    is_publishable: bool = False
    origins: Sequence[str] = ()
    model_ids: Sequence[str] = ()
    expires_at: datetime | None = None
    limit_day_micros: int | None = None
    limit_month_micros: int | None = None


class Spending(NamedTuple):
    """What a key spends: charged today and this month, and its limits as they stand."""

    day_micros: int
    month_micros: int
    day: ledger.Limit | None
    month: ledger.Limit | None


def rights_of(*, role: str | None = None, key: ApiKey | None = None) -> Rights:
    """What a member with `role`, or a program with `key`, may give."""
    if key is not None:
        return Rights(frozenset(key.scopes), key.expires_at, key)
    allowed = (
        {scope for scope in keys.SCOPES if people.may(role, ACTS.get(scope, Act.SEE))} if role else set()
    )
    return Rights(frozenset(allowed))


def keys_of(workspace: Workspace) -> QuerySet[ApiKey]:
    """All keys of the workspace, also those that are over, newest first."""
    return ApiKey.objects.filter(workspace=workspace).select_related("created_by").order_by("-id")


def working(workspace: Workspace) -> QuerySet[ApiKey]:
    """Those of them that are neither revoked nor expired."""
    return keys_of(workspace).exclude(_is_over())


def over(workspace: Workspace) -> QuerySet[ApiKey]:
    """Those of them that are."""
    return keys_of(workspace).filter(_is_over())


def _is_over() -> Q:
    return Q(revoked_at__isnull=False) | Q(expires_at__isnull=False, expires_at__lte=timezone.now())


def find(workspace: Workspace, public_id: str) -> ApiKey:
    """The workspace's key by any spelling of its id. Raises NotFound."""
    number = parse(public_id, "k")
    row = keys_of(workspace).select_related("workspace").filter(public_id=number).first() if number else None
    if row is None:
        raise NotFound("There is no such key in this workspace.")
    return row


def spending(workspace: Workspace, rows: Iterable[ApiKey]) -> dict[int, Spending]:
    """What each of the keys spends, by its row id. Three statements for all."""
    ids = [row.pk for row in rows]
    limits = ledger.limits_of(workspace.pk, "key", map(str, ids))
    charged = usage.of_keys(workspace.pk, ids)
    return {
        one: Spending(*charged.get(one, (0, 0)), *(limits.get((str(one), period)) for period in PERIODS))
        for one in ids
    }


def make(
    workspace: Workspace,
    wish: Wish,
    *,
    rights: Rights,
    by: User | None = None,
    public_id: UUID | None = None,
) -> tuple[ApiKey, str] | None:
    """Make a key with its limits; returns it and its full text, which is never to be had again.

    `public_id` lets a request be repeated: when that key exists already, nothing is made and None is returned.
    Raises Invalid, TooMany, and NotAllowed in a workspace that was deleted.
    """
    wish = _checked(workspace, wish, rights)
    try:
        with transaction.atomic():
            _lock(workspace)
            if working(workspace).count() >= MAX_KEYS:
                raise TooMany(f"A workspace has at most {MAX_KEYS} keys. Revoke those that nobody uses.")
            row, text = keys.make(
                workspace,
                name=wish.name,
                by=by,
                maker=rights.key,
                scopes=wish.scopes,
                expires_at=wish.expires_at,
                origins=wish.origins,
                model_ids=wish.model_ids,
                public_id=public_id,
            )
            for period in PERIODS:
                _set_limit(row, period, getattr(wish, f"limit_{period}_micros"))
    except IntegrityError:
        if public_id is not None and ApiKey.objects.filter(public_id=public_id).exists():
            return None
        raise
    except keys.InvalidKey as error:
        raise NotAllowed(str(error)) from None
    return row, text


def change(key: ApiKey, fields: Mapping[str, Any], *, rights: Rights) -> ApiKey:
    """Change what `fields` names of a Wish; all else stays. Raises Invalid, and NotAllowed for a key not theirs."""
    _refuse_unless_theirs(key, rights)
    with transaction.atomic():
        _lock(key.workspace)
        row = find(key.workspace, key.uid)
        if row.is_over:
            raise NotAllowed("This key is revoked or has expired. Make a new one.")
        present = wish_of(row)
        wish = _checked(key.workspace, replace(present, **fields), rights, before=present)
        if rights.key is not None and rights.key.pk == key.pk:
            _refuse_growth(present, wish)
        columns = ("name", "scopes", "origins", "model_ids", "expires_at")
        changed = {
            name: getattr(wish, name) for name in columns if getattr(wish, name) != getattr(present, name)
        }
        if changed:
            keys.change(row, **changed)
        for period in PERIODS:
            name = f"limit_{period}_micros"
            if getattr(wish, name) != getattr(present, name):
                _set_limit(row, period, getattr(wish, name))
    return find(key.workspace, key.uid)


def rotate(key: ApiKey, *, grace: timedelta, rights: Rights, seen: int | None = None) -> str | None:
    """Give the key a new secret; returns its full text. None where it was rotated after the caller last looked.

    Raises NotAllowed for a key that is over, not theirs, or stronger than they are.
    """
    _refuse_unless_theirs(key, rights)
    if key.is_over:
        raise NotAllowed("This key is revoked or has expired. Make a new one.")
    beyond = sorted(set(key.scopes) - rights.scopes)
    if beyond:
        raise NotAllowed(f"The new secret would be able to do what you may not: {', '.join(beyond)}.")
    return keys.rotate(key, grace=grace, seen=key.rotations if seen is None else seen)


def made_by(key: ApiKey) -> QuerySet[ApiKey]:
    """The keys that end with this one, as it made them, and that still work."""
    return keys.made_by(key).filter(revoked_at__isnull=True)


def revoke(key: ApiKey) -> int:
    """End the key and all keys that it made, for good; returns how many ended."""
    return keys.revoke(key)


def wish_of(key: ApiKey) -> Wish:
    """What the key is now."""
    limits = ledger.limits_of(key.workspace_id, "key", [str(key.pk)])
    day, month = (limits.get((str(key.pk), period)) for period in PERIODS)
    return Wish(
        name=key.name,
        scopes=key.scopes,
        is_publishable=key.is_publishable,
        origins=key.origins,
        model_ids=key.model_ids,
        expires_at=key.expires_at,
        limit_day_micros=day.limit_micros if day else None,
        limit_month_micros=month.limit_micros if month else None,
    )


def _lock(workspace: Workspace) -> None:
    """Be alone with the workspace's keys and limits until the commit: two at once cannot both be the last that fits,
    and a key that lowers its limit does not undo what a person set a moment before."""
    try:
        people.locked(workspace.pk)
    except people.NoSuchMember:
        raise NotAllowed("This workspace was deleted.") from None


def _set_limit(key: ApiKey, period: str, micros: int | None) -> None:
    scope = ledger.SpendScope("key", str(key.pk))
    ledger.set_limit(workspace_id=key.workspace_id, scope=scope, period=period, limit_micros=micros)


def _refuse_unless_theirs(key: ApiKey, rights: Rights) -> None:
    own = rights.key
    if own is not None and own.pk != key.pk and own.pk not in key.ancestor_ids:
        raise NotAllowed("A key changes itself and the keys that it made, and no others.")


def _refuse_growth(present: Wish, wish: Wish) -> None:
    for period in PERIODS:
        before, after = (getattr(one, f"limit_{period}_micros") for one in (present, wish))
        if before is not None and (after is None or after > before):
            name = f"limit_{period}_micros"
            message = "can only be lowered by the key itself"
            raise Invalid([FieldError(name, "too_large", message, before)])


def _checked(workspace: Workspace, wish: Wish, rights: Rights, *, before: Wish | None = None) -> Wish:
    """The wish as it is kept. Raises Invalid. What it has in common with `before` was granted then."""
    wish = replace(wish, name=" ".join(wish.name.split()), scopes=_in_order(wish.scopes))
    errors = [*_wrong_name(wish), *_wrong_life(wish, rights, before), *_wrong_limits(wish)]
    if wish.is_publishable:
        errors += _beyond(wish.scopes, keys.PUBLISHABLE_SCOPES, "is not for publishable keys")
        wish = replace(wish, scopes=wish.scopes or keys.PUBLISHABLE_SCOPES)
        origins = {text: keys.origin_of(text) for text in wish.origins}
        known = before.model_ids if before is not None else ()
        errors += _wrong_lists(workspace, wish, origins, known)
        kept = dict.fromkeys(origin for origin in origins.values() if origin)
        wish = replace(wish, origins=list(kept), model_ids=list(dict.fromkeys(wish.model_ids)))
    elif wish.origins or wish.model_ids:
        field = "origins" if wish.origins else "models"
        errors.append(FieldError(field, "not_allowed", "belongs to publishable keys only"))
    granted = rights.scopes | set(before.scopes if before is not None else ())
    errors += _beyond(wish.scopes, granted, "is more than you may give")
    if not wish.scopes:
        errors.append(FieldError("scopes", "too_few", "must name at least one", list(keys.SCOPES)))
    if errors:
        raise Invalid(errors)
    return wish


def _in_order(scopes: Iterable[str]) -> list[str]:
    """Each once, in the order of the list of scopes; unknown ones last."""
    found = list(dict.fromkeys(scopes))
    known = list(keys.SCOPES)
    return sorted(found, key=lambda scope: known.index(scope) if scope in keys.SCOPES else len(known))


def _beyond(scopes: Iterable[str], allowed: Iterable[str], message: str) -> list[FieldError]:
    beyond = [scope for scope in scopes if scope not in set(allowed)]
    return (
        [FieldError("scopes", "not_allowed", f"{beyond[0][:40]} {message}", list(allowed))] if beyond else []
    )


def _wrong_name(wish: Wish) -> list[FieldError]:
    if not wish.name:
        return [FieldError("name", "required", "is required: say what will use the key")]
    if len(wish.name) > NAME_MAXIMUM:
        return [FieldError("name", "too_long", f"has more than {NAME_MAXIMUM} characters", NAME_MAXIMUM)]
    if not wish.name.isprintable():
        return [FieldError("name", "pattern", "has characters that cannot be shown")]
    return []


def _wrong_life(wish: Wish, rights: Rights, before: Wish | None) -> list[FieldError]:
    ends, now = wish.expires_at, timezone.now()
    if before is not None and ends == before.expires_at:
        return []
    if ends is not None and ends <= now:
        return [FieldError("expires_at", "too_small", "must lie in the future")]
    if ends is not None and ends > now + LIFE_MAXIMUM:
        return [FieldError("expires_at", "too_large", "must lie within ten years")]
    if rights.until is not None and (ends is None or ends > rights.until):
        allowed = rights.until.isoformat()
        message = "must not be later than the end of the key that asks"
        return [FieldError("expires_at", "too_large", message, allowed)]
    return []


def _wrong_limits(wish: Wish) -> list[FieldError]:
    errors = []
    for period in PERIODS:
        name, micros = f"limit_{period}_micros", getattr(wish, f"limit_{period}_micros")
        if micros is not None and not 0 <= micros <= LIMIT_MAXIMUM:
            errors.append(FieldError(name, "too_large", "must be from 0 to 10 million dollars"))
    if wish.is_publishable and not wish.limit_day_micros:
        message = "is required for a publishable key: anybody who opens the page can spend it"
        errors.append(FieldError("limit_day_micros", "required", message))
    return errors


def _wrong_lists(
    workspace: Workspace, wish: Wish, origins: Mapping[str, str | None], known: Iterable[str]
) -> list[FieldError]:
    errors = []
    for field, values in (("origins", wish.origins), ("models", wish.model_ids)):
        if not values:
            errors.append(FieldError(field, "too_few", "must name at least one"))
        elif len(values) > LIST_MAXIMUM:
            errors.append(FieldError(field, "too_many", f"has more than {LIST_MAXIMUM}", LIST_MAXIMUM))
    for text, origin in list(origins.items())[:LIST_MAXIMUM]:
        if origin is None:
            message = f"{text[:60]!a} is no origin: write it as https://example.com or http://localhost:3000"
            errors.append(FieldError("origins", "pattern", message))
    for model in set(wish.model_ids[:LIST_MAXIMUM]) - set(known):
        try:
            catalog.listing(model, workspace=workspace)
        except catalog.NotFound:
            errors.append(FieldError("models", "not_allowed", f"{model[:60]!a} is no model that you can see"))
    return errors
