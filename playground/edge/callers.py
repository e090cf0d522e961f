"""Who calls, for what the edge answers itself: the workspace behind a key or a session.

A key is looked up at most every few seconds per process, so a revoked one works here for that long.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from marketplace import keys, people
from playground.api.problems import Problem
from playground.edge.protocol import Scope, header
from playground.edge.threads import in_thread

KEEP_SECONDS = 4.0  # and `keys` may have known it for a second
MAX_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The workspace that asks, by a key or as a person. `scopes` is None for a person, who may do everything.

    `origins` are those of a publishable key, which has no runs but its own.
    """

    workspace: int
    scopes: frozenset[str] | None = None
    key: int | None = None
    user: int | None = None
    origins: frozenset[str] = frozenset()

    @property
    def counted_as(self) -> str:
        """The name that the API counts its requests under."""
        if self.key is None and self.user is None:  # one whose address or token came instead
            return f"workspace:{self.workspace}"
        return f"key:{self.key}" if self.key is not None else f"user:{self.user}"

    def need(self, scope: str) -> None:
        """Raise Problem unless the caller's key was made for `scope`."""
        if self.scopes is not None and scope not in self.scopes:
            raise Problem(
                "missing_scope",
                f"This API key has no scope {scope}. Use one that has, or make a new one.",
                members={"needed_scope": scope},
            )

    def sees(self, workspace: int, key: int | None) -> bool:
        """Whether a prediction is the caller's: of this workspace, made with this key."""
        return workspace == self.workspace and (not self.origins or key == self.key)


_known: dict[bytes, tuple[float, Caller]] = {}


async def caller_of(scope: Scope) -> Caller:
    """The caller by key, or else by session. Raises Problem for nobody and for a key that is not valid."""
    credential = credential_of(scope)
    if credential is not None:
        return await by_key(credential, origin=header(scope, b"origin"))
    person = await by_session(scope)
    if person is None:
        raise _refused("not_authenticated", "Send an API key as `Authorization: Bearer <key>`.")
    return person


def credential_of(scope: Scope) -> str | None:
    """The key that the request carries, as it was sent."""
    return keys.from_headers(header(scope, b"authorization"), header(scope, b"x-api-key"))


async def by_key(credential: str, *, origin: str) -> Caller:
    """The caller of a key. Raises Problem if it is not valid, or not in requests from `origin`."""
    digest = hashlib.sha256(credential.encode()).digest()
    now = time.monotonic()
    until, caller = _known.get(digest, (0.0, None))
    try:
        if caller is not None and until > now:
            keys.check_origin(caller.origins, origin)
            return caller
        _known.pop(digest, None)
        key = await in_thread(keys.resolve, credential, origin=origin)
    except keys.OriginRefused as error:
        raise Problem("origin_not_allowed", str(error)) from None
    except keys.InvalidKey as error:
        raise _refused("invalid_key", str(error)) from None
    if len(_known) >= MAX_KEPT:
        _known.clear()
    caller = Caller(key.workspace_id, frozenset(key.scopes), key=key.pk, origins=frozenset(key.origins))
    _known[digest] = (now + KEEP_SECONDS, caller)
    return caller


async def by_session(scope: Scope) -> Caller | None:
    """The signed-in person of a session cookie, in the workspace they chose."""
    session_key = session_of(scope)
    return await in_thread(_person, session_key) if session_key is not None else None


def session_of(scope: Scope) -> str | None:
    """The session that the request names; whether there is one, and whose, it does not say."""
    try:
        cookies = SimpleCookie(header(scope, b"cookie"))
    except CookieError:
        return None
    morsel = cookies.get(settings.SESSION_COOKIE_NAME)
    return morsel.value or None if morsel is not None else None


def _person(session_key: str) -> Caller | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = auth.get_user(request)
    if not user.is_authenticated:
        return None
    workspace = people.workspace_of(user, request.session.get("workspace"))
    return Caller(workspace.pk, user=user.pk) if workspace is not None else None


def _refused(code: str, detail: str) -> Problem:
    return Problem(code, detail, headers={"WWW-Authenticate": 'Bearer realm="vitrine"'})
