"""API keys: `vt_<12 id>_<32 secret>`, shown once, kept as a hash.

A key carries 160 random bits, so one SHA-256 and one indexed look-up are enough; a slow password hash would cost each
request a tenth of a second and protect nothing. The id of a publishable key, which lies open in web pages, starts with
`pub`; that of no other does, as there is no `u` in the alphabet.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from marketplace.ids import ALPHABET, uuid7
from marketplace.models import ApiKey, User, Workspace

SCOPES: dict[str, str] = {
    "models:read": "see the shelf as the workspace sees it",
    "predictions:read": "see runs and ask for prices",
    "predictions:write": "run, cancel, share and delete runs",
    "assets:read": "see and download media",
    "assets:write": "upload and delete media",
    "usage:read": "see what was spent, and receipts",
    "billing:read": "see the balance, the spend limits, the saved card and what was bought",
    "billing:write": "open pages where credit is bought, set spend limits, never lift the key's own or the workspace's",
    "publishers:read": "see the workspace's publisher, what it earns and its payouts",
    "publishers:write": "open a publisher for the workspace, and rename it",
    "payouts:write": "ask for a payout of what the publisher has earned, to where it is paid anyhow",
    "webhooks:read": "see webhooks and their deliveries",
    "webhooks:write": "make, change and delete webhooks",
    "keys:read": "see the keys of the workspace",
    "keys:write": "make and revoke keys, none with more scopes than its own",
    "workspace:read": "see the workspace and its members",
}
PUBLISHABLE_SCOPES = ("predictions:read", "predictions:write")  # and each on the key's own runs only
PUBLISHABLE_MARK = "pub"
KEEP_SECONDS = 1.0  # for which a process uses a key that it looked up; a revoked one works that much longer
MAX_KEPT = 10_000
_SHAPE = re.compile(r"vt_([0-9a-z]{12})_([0-9a-z]{32})")
_TOUCH_EVERY = timedelta(minutes=1)
_PORTS = {"https": 443, "http": 80}
_HOST_MAXIMUM = 253
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_IPV6 = re.compile(r"[0-9a-f:.]{2,45}")


class InvalidKey(Exception):
    """The credential names no key that is valid now. The message says what to do and never repeats the secret."""


class OriginRefused(InvalidKey):
    """A publishable key that is valid, but not in a page of this origin."""


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def make(
    workspace: Workspace,
    *,
    name: str,
    by: User | None = None,
    maker: ApiKey | None = None,
    scopes: Iterable[str] = SCOPES,
    expires_at: datetime | None = None,
    origins: Iterable[str] = (),
    model_ids: Iterable[str] = (),
    public_id: UUID | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the full text, which is never to be had again.

    With `origins` and `model_ids` it is a publishable one. `maker` is the key that makes it, if one does: it is then
    of the person who made that one.
    """
    origins, model_ids = list(origins), list(model_ids)
    mark = PUBLISHABLE_MARK if origins or model_ids else ""
    key_id, secret = mark + _random(12 - len(mark)), _random(32)
    with transaction.atomic():
        if maker is not None and _locked(maker).is_over:
            raise InvalidKey("This API key was revoked or has expired; it makes no more keys.")
        row = ApiKey.objects.create(
            public_id=public_id or uuid7(),
            workspace=workspace,
            created_by_id=by.pk if by is not None else maker.created_by_id if maker is not None else None,
            ancestor_ids=[*maker.ancestor_ids, maker.pk] if maker is not None else [],
            name=name,
            kind=ApiKey.Kind.PUBLISHABLE if mark else ApiKey.Kind.SECRET,
            key_id=key_id,
            secret_sha256=_digest(secret),
            scopes=list(scopes),
            origins=origins,
            model_ids=model_ids,
            expires_at=expires_at,
        )
    return row, f"vt_{key_id}_{secret}"


def _locked(key: ApiKey) -> ApiKey:
    """The key's row as it is now. Until the commit nobody else changes it, nor makes a key with it."""
    return ApiKey.objects.select_for_update().get(pk=key.pk)


def rotate(key: ApiKey, *, grace: timedelta, seen: int) -> str | None:
    """Give the key a new secret and return its full text; the former one works for `grace` more.

    `seen` is the number of rotations that the caller knows of: where there has been another one, nothing is done and
    None is returned, so that a repeated request does not take away the secret that the first one gave.
    """
    secret, now = _random(32), timezone.now()
    with transaction.atomic():
        row = _locked(key)
        if row.rotations != seen or row.is_over:
            return None
        row.previous_sha256 = row.secret_sha256 if grace else ""
        row.previous_until = now + grace if grace else None
        row.previous_used_at = None
        row.secret_sha256 = _digest(secret)
        row.rotations += 1
        row.save(
            update_fields=[
                "previous_sha256",
                "previous_until",
                "previous_used_at",
                "secret_sha256",
                "rotations",
            ]
        )
    forget()
    return f"vt_{row.key_id}_{secret}"


def change(key: ApiKey, **fields: object) -> None:
    """Change the key's name, scopes, origins, models or expiry. Keys that it made never outlast it."""
    with transaction.atomic():
        _locked(key)
        ApiKey.objects.filter(pk=key.pk).update(**fields)
        ends = fields.get("expires_at")
        if ends is not None:
            made = made_by(key).filter(Q(expires_at__isnull=True) | Q(expires_at__gt=ends))
            made.update(expires_at=ends)
    forget()


def revoke(key: ApiKey) -> int:
    """End the key for good, with all keys that it made; returns how many were ended. Revoking again changes nothing."""
    with transaction.atomic():
        _locked(key)
        ended = (made_by(key) | ApiKey.objects.filter(pk=key.pk)).filter(revoked_at__isnull=True)
        count = ended.update(revoked_at=timezone.now())
    forget()
    return count


def made_by(key: ApiKey) -> QuerySet[ApiKey]:
    """The keys that `key` made over the API, and those that they made."""
    return ApiKey.objects.filter(workspace_id=key.workspace_id, ancestor_ids__contains=[key.pk])


def resolve(credential: str, *, origin: str = "") -> ApiKey:
    """The valid key that `credential` spells, its workspace selected with it. Raises InvalidKey.

    Accepts the full text, or `id:secret` as fal's clients send it. `origin` is the Origin header of the request; a
    publishable key works with one of its own only, else OriginRefused. Notes the use at most once a minute.
    """
    match = _SHAPE.fullmatch(
        credential.strip().replace(":", "_", 1) if ":" in credential else credential.strip()
    )
    if match is None:
        raise InvalidKey("This is not an API key. Keys look like vt_<12 characters>_<32 characters>.")
    key = _look_up(match[1])
    digest, now = _digest(match[2]), timezone.now()
    if key is None:
        raise InvalidKey("No such API key. Check that it was copied whole.")
    is_present = hmac.compare_digest(key.secret_sha256, digest)
    if not is_present and not hmac.compare_digest(key.previous_sha256, digest):
        raise InvalidKey("No such API key. Check that it was copied whole.")
    _check_over(key, now)
    if not is_present and (key.previous_until is None or key.previous_until <= now):
        raise InvalidKey("This API key was rotated, and its former secret works no more. Use the new one.")
    check_origin(key.origins, origin)
    _note_use(key, "last_used_at", now)
    if not is_present:
        _note_use(key, "previous_used_at", now)
    return key


def standing(public_id: UUID, *, rotations: int, origin: str = "") -> ApiKey:
    """The key with this id, for whoever proved to have it before, when it had been rotated `rotations` times.

    Raises InvalidKey as `resolve` does: what was proved by a former secret ends with that.
    """
    key, now = _look_up_id(public_id), timezone.now()
    if key is None:
        raise InvalidKey("The API key of this token is no more.")
    _check_over(key, now)
    is_former = rotations == key.rotations - 1 and key.previous_until is not None and key.previous_until > now
    if rotations != key.rotations and not is_former:
        raise InvalidKey("The API key of this token was rotated. Ask for a new token with the new one.")
    check_origin(key.origins, origin)
    return key


def _check_over(key: ApiKey, now: datetime) -> None:
    if key.workspace.is_closed:
        raise InvalidKey("The workspace of this API key was deleted.")
    if key.revoked_at is not None:
        raise InvalidKey("This API key was revoked. Make a new one.")
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidKey("This API key has expired. Make a new one.")


def check_origin(origins: Collection[str], origin: str) -> None:
    """Raise OriginRefused unless `origins` is empty, as that of secret keys, or has `origin`."""
    if origins and origin not in origins:
        said = f"this one is from {origin[:100]!a}" if origin else "this one names no origin"
        raise OriginRefused(
            f"This publishable key works in requests from {', '.join(sorted(origins))} only; {said}."
        )


def _note_use(key: ApiKey, field: str, now: datetime) -> None:
    noted = getattr(key, field)
    if noted is None or now - noted > _TOUCH_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(**{field: now})
        setattr(key, field, now)


def origin_of(text: str) -> str | None:
    """The origin that `text` spells, as browsers send it: scheme, host, and a port that is not the scheme's own.

    None for anything that is not exactly one: a path, a wildcard, a user, another scheme.
    """
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = host.encode("idna").decode()
    except (UnicodeError, ValueError):
        return None
    if (
        parts.scheme not in _PORTS
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or len(host) > _HOST_MAXIMUM
        or not (_HOST.fullmatch(host) or (":" in host and _IPV6.fullmatch(host)))
    ):
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, _PORTS[parts.scheme]} else "")


def revoke_all(workspace: Workspace) -> int:
    """Revoke every key of the workspace, in the caller's transaction. Returns how many worked until now."""
    revoked = ApiKey.objects.filter(workspace=workspace, revoked_at=None).update(revoked_at=timezone.now())
    transaction.on_commit(forget)
    return revoked


_kept: dict[str, tuple[float, ApiKey]] = {}


def forget() -> None:
    """Drop the keys that this process remembers."""
    _kept.clear()


def _look_up(key_id: str) -> ApiKey | None:
    return _remembered(key_id, ApiKey.objects.filter(key_id=key_id))


def _look_up_id(public_id: UUID) -> ApiKey | None:
    return _remembered(public_id.hex, ApiKey.objects.filter(public_id=public_id))


def _remembered(name: str, rows: QuerySet[ApiKey]) -> ApiKey | None:
    until, known = _kept.get(name, (0.0, None))
    if known is not None and until > time.monotonic():
        return known
    found = rows.select_related("workspace").first()
    if found is not None:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[name] = (time.monotonic() + KEEP_SECONDS, found)
    return found


def from_headers(authorization: str, x_api_key: str = "") -> str | None:
    """The credential that the headers carry: after Bearer, Key or Token, or in X-API-Key; None without one."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() in {"bearer", "key", "token"} and rest.strip():
        return rest.strip()
    return x_api_key.strip() or None
