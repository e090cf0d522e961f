"""Who may open a page: a decorator that asks for a signed-in member whose role allows the act."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from marketplace import people
from marketplace.models import Workspace
from marketplace.people import Act
from playground.middleware import VitrineRequest

# What a proxy adds for a visitor that is not on this machine, though the connection is.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "CF-Connecting-IP")
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}

_PATH = re.compile(r"/(?![/\\])")  # of this site: two slashes would begin the name of another

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def member(act: Act) -> Callable[[View[P]], View[P]]:
    """Visitors go to the sign-in, and on to the page, or to the one that an act was on; people without a workspace, and
    members whose role does not allow `act`, get a page that says who may and as whom they came (403)."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                is_act = request.method not in {"GET", "HEAD"}
                after = (came_from(request) or reverse("gallery")) if is_act else request.get_full_path()
                return redirect_to_login(after)
            membership = cast("VitrineRequest", request).membership
            if membership and people.may(membership.role, act):
                return view(request, *args, **kwargs)
            context = {"membership": membership or None, "roles": people.who_may(act)}
            return render(request, "errors/role.html", context, status=403)

        return cast("View[P]", guarded)

    return decorate


def own(request: HttpRequest) -> Workspace:
    """The workspace that a member is in, for views behind `member`: it lets nobody through without one."""
    return cast("Workspace", cast("VitrineRequest", request).workspace)


def private(response: HttpResponse) -> HttpResponse:
    """What only members may see: no cache keeps it."""
    response.headers["Cache-Control"] = "no-store"
    return response


def afresh(view: View[P]) -> View[P]:
    """Who opens the page has just shown once more that it is they: it does what cannot be undone."""
    return cast("View[P]", reauthentication_required(app="allauth.account")(view))


def staff(view: View[P]) -> View[P]:
    """For staff of the installation, and for whoever sits at the machine. Visitors may sign in first; for others there
    is no such page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if is_at_the_machine(request) or getattr(request.user, "is_staff", False):
            return view(request, *args, **kwargs)
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        raise Http404("There is no such page.")

    return cast("View[P]", guarded)


def operators(view: View[P]) -> View[P]:
    """For signed-in staff alone, as acts are noted with who did them. Visitors may sign in; for others there is no such
    page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            is_page = request.method == "GET" and "HX-Request" not in request.headers
            answer = redirect_to_login(request.get_full_path() if is_page else reverse("engines"))
            # The board looks again by itself: then the whole page goes, and not the board alone.
            if request.headers.get("HX-Request") == "true":
                return HttpResponse(status=204, headers={"HX-Redirect": answer["Location"]})
            return answer
        if not getattr(request.user, "is_staff", False):
            raise Http404("There is no such page.")
        return view(request, *args, **kwargs)

    return cast("View[P]", guarded)


def is_at_the_machine(request: HttpRequest) -> bool:
    """Whether the browser runs on this machine, as far as can be told.

    Where the site is meant for others, behind a proxy that may run here too, nobody counts as being at the machine.
    """
    try:
        is_near = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    named = {urlsplit(settings.PUBLIC_URL).hostname, urlsplit(f"//{request.get_host()}").hostname}
    return is_near and named <= LOOPBACK_NAMES and not any(name in request.headers for name in FORWARDED)


def allows(request: HttpRequest, act: Act) -> bool:
    """Whether the person of this request may do `act` in the workspace they are in: for what a page offers."""
    membership = cast("VitrineRequest", request).membership
    return bool(membership) and people.may(membership.role, act) if membership else False


def came_from(request: HttpRequest) -> str:
    """The page of this site that a link or form of it led from, as the browser tells; empty for none."""
    try:
        referer = urlsplit(request.headers.get("Referer", ""))
        is_ours = referer.netloc == request.get_host()
    except (ValueError, DisallowedHost):
        return ""
    is_here = referer.path == request.path and request.method in {"GET", "HEAD"}
    if not is_ours or is_here or not _PATH.match(referer.path):
        return ""
    return referer.path + (f"?{referer.query}" if referer.query else "")
