"""Who calls: an API key from any of the headers that clients use, or the signed-in person of our own pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DRFSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketplace import keys, people
from marketplace.models import User
from marketplace.people import Act
from playground.api.problems import Problem
from playground.keyring import ACTS
from playground.predictions import Caller

if TYPE_CHECKING:
    # Only for types: it reads this module's name from the settings while it is imported.
    from rest_framework.views import APIView


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer|Key|Token <key>`, `X-API-Key: <key>`, each also as `id:secret`."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        authorization = request.headers.get("Authorization", "")
        credential = keys.from_headers(authorization, request.headers.get("X-API-Key", ""))
        if credential is None:
            if authorization.strip():
                raise AuthenticationFailed("Send the API key as `Authorization: Bearer <key>`.")
            return None
        try:
            key = keys.resolve(credential, origin=request.headers.get("Origin", ""))
        except keys.OriginRefused:
            raise
        except keys.InvalidKey as error:
            raise AuthenticationFailed(str(error)) from None
        return None, Caller(workspace=key.workspace, key=key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="vitrine"'


class SessionAuthentication(DRFSessionAuthentication):
    """The signed-in person in the workspace they chose; what writes needs the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user = cast("User", found[0])
        membership = people.membership_of(user, request._request.session.get("workspace"))
        if membership is None:
            return None
        return user, Caller(workspace=membership.workspace, user=user, role=membership.role)


def caller_of(request: Request) -> Caller | None:
    """Who asks; None for a visitor, who sees the shelf and its prices."""
    return request.auth if isinstance(request.auth, Caller) else None


class HasWorkspace(BasePermission):
    """Somebody is there, and their key was made for this, or their role allows it: a view names the scope of each
    method in `scopes`. Publishable keys come to no view but those that are made `for_browsers`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        caller = caller_of(request)
        if caller is None:
            return False
        scopes: Mapping[str, str | None] = getattr(view, "scopes", {})
        needed = scopes.get("GET" if request.method == "HEAD" else request.method or "")
        if needed is not None and caller.key is not None and needed not in caller.key.scopes:
            raise Problem(
                "missing_scope",
                f"This API key has no scope {needed}. Use one that has, or make a new one.",
                members={"needed_scope": needed},
            )
        if caller.key is not None and caller.key.is_publishable and not getattr(view, "for_browsers", False):
            raise Problem("forbidden", "A publishable key cannot do this. Use a secret one, on a server.")
        act = ACTS.get(needed or "", Act.SEE)
        if caller.role is not None and not people.may(caller.role, act):
            raise Problem(
                "forbidden", f"Your role in {caller.workspace.slug}, {caller.role}, does not allow this."
            )
        return True


class IsAnybody(HasWorkspace):
    """Visitors too; but a key that is sent must have the scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return caller_of(request) is None or super().has_permission(request, view)


def counted_as(request: Request) -> str:
    """Whose request it counts as: a key's, a person's, or else those of the address it came from."""
    # What DRF found when it was asked the first time; asking again would raise what it raised then.
    caller = getattr(request, "_auth", None)
    if not isinstance(caller, Caller):
        return f"address:{request.META.get('REMOTE_ADDR', '')}"
    return (
        f"key:{caller.key.pk}" if caller.key is not None else f"user:{caller.user.pk if caller.user else 0}"
    )
