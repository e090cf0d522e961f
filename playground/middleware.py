"""What every request gets: an id, a workspace, a content security policy."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from functools import cache
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from marketplace import people
from marketplace.models import Membership, Workspace

GetResponse = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:{media}; media-src 'self' blob:{media}; style-src 'self'; "
    "script-src 'self'; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'self'{forms}; "
    "frame-ancestors 'none'"
)


def policy_with_forms_to(*origins: str) -> str:
    """The content security policy of a page whose forms lead to other sites: browsers stop a form there, even where
    it was sent to us and we redirect."""
    media = f" {settings.MEDIA_ORIGIN}" if settings.MEDIA_ORIGIN else ""
    return CONTENT_SECURITY_POLICY.format(media=media, forms="".join(f" {one}" for one in origins))


class VitrineRequest(HttpRequest):
    """A request after our middleware."""

    request_id: str
    workspace: Workspace | None
    membership: Membership | None


def request_id_of(given: str) -> str:
    """The caller's X-Request-Id if it is sane, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


class RequestIdMiddleware:
    """Names each request: the caller's X-Request-Id if it is sane, else a new one. Answers carry it too."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = request_id_of(request.headers.get("X-Request-Id", ""))
        cast("VitrineRequest", request).request_id = request_id
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response


class ContentSecurityPolicyMiddleware:
    """Pages load from here only, media from their bucket too where there is one; nothing inline runs."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.policy = policy_with_forms_to()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response


class WorkspaceMiddleware:
    """The workspace that a signed-in person works in and their place in it, looked up once, at first use.

    Both are None for visitors and for people who belong to no workspace.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        @cache
        def membership() -> Membership | None:
            if not request.user.is_authenticated:
                return None
            return people.membership_of(request.user, request.session.get("workspace"))

        def workspace() -> Workspace | None:
            found = membership()
            return found.workspace if found is not None else None

        ours = cast("VitrineRequest", request)
        ours.membership = cast("Membership | None", SimpleLazyObject(membership))
        ours.workspace = cast("Workspace | None", SimpleLazyObject(workspace))
        return self.get_response(request)
