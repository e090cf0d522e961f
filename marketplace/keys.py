"""API keys: `vt_<12 id>_<32 secret>`, shown once, kept as a hash.

A key carries 160 random bits, so one SHA-256 and one indexed look-up are enough; a slow password hash would cost each
request a tenth of a second and protect nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from marketplace.ids import ALPHABET
from marketplace.models import ApiKey, User, Workspace

SCOPES: dict[str, str] = {
    "models:read": "see the shelf as the workspace sees it",
    "predictions:read": "see runs and ask for prices",
    "predictions:write": "run, cancel, share and delete runs",
    "assets:read": "see and download media",
    "assets:write": "upload and delete media",
    "usage:read": "see what was spent, and receipts",
    "billing:read": "see the balance",
    "webhooks:read": "see webhooks and their deliveries",
    "webhooks:write": "make, change and delete webhooks",
    "keys:read": "see the keys of the workspace",
    "keys:write": "make and revoke keys, none with more scopes than its own",
    "workspace:read": "see the workspace and its members",
}
KEEP_SECONDS = 1.0  # for which a process uses a key that it looked up; a revoked one works that much longer
MAX_KEPT = 10_000
_SHAPE = re.compile(r"vt_([0-9a-z]{12})_([0-9a-z]{32})")
_TOUCH_EVERY = timedelta(minutes=1)


class InvalidKey(Exception):
    """The credential names no key that is valid now. The message says what to do and never repeats the secret."""


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def make(
    workspace: Workspace,
    *,
    name: str,
    by: User | None = None,
    scopes: Iterable[str] = SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; returns its row and the full text, which is never to be had again."""
    key_id, secret = _random(12), _random(32)
    row = ApiKey.objects.create(
        workspace=workspace,
        created_by=by,
        name=name,
        key_id=key_id,
        secret_sha256=_digest(secret),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return row, f"vt_{key_id}_{secret}"


def resolve(credential: str) -> ApiKey:
    """The valid key that `credential` spells, its workspace selected with it. Raises InvalidKey.

    Accepts the full text, or `id:secret` as fal's clients send it. Notes the use at most once a minute.
    """
    match = _SHAPE.fullmatch(
        credential.strip().replace(":", "_", 1) if ":" in credential else credential.strip()
    )
    if match is None:
        raise InvalidKey("This is not an API key. Keys look like vt_<12 characters>_<32 characters>.")
    key = _look_up(match[1])
    if key is None or not hmac.compare_digest(key.secret_sha256, _digest(match[2])):
        raise InvalidKey("No such API key. Check that it was copied whole.")
    now = timezone.now()
    if key.workspace.is_closed:
        raise InvalidKey("The workspace of this API key was deleted.")
    if key.revoked_at is not None:
        raise InvalidKey("This API key was revoked. Make a new one.")
    if key.expires_at is not None and key.expires_at <= now:
        raise InvalidKey("This API key has expired. Make a new one.")
    if key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        key.last_used_at = now
    return key


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
    until, known = _kept.get(key_id, (0.0, None))
    if known is not None and until > time.monotonic():
        return known
    found = ApiKey.objects.select_related("workspace").filter(key_id=key_id).first()
    if found is not None:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[key_id] = (time.monotonic() + KEEP_SECONDS, found)
    return found


def from_headers(authorization: str, x_api_key: str = "") -> str | None:
    """The credential that the headers carry: after Bearer, Key or Token, or in X-API-Key; None without one."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() in {"bearer", "key", "token"} and rest.strip():
        return rest.strip()
    return x_api_key.strip() or None
