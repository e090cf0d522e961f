"""Who may open a page: a decorator that asks for a signed-in member whose role allows the act."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from allauth.account.decorators import reauthentication_required
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

from marketplace import people
from marketplace.people import Act
from playground.middleware import VitrineRequest

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def member(act: Act) -> Callable[[View[P]], View[P]]:
    """Visitors go to the sign-in; people without a workspace, and members whose role does not allow `act`, get a page
    that says who may and as whom they came (403)."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            membership = cast("VitrineRequest", request).membership
            if membership and people.may(membership.role, act):
                return view(request, *args, **kwargs)
            context = {"membership": membership or None, "roles": people.who_may(act)}
            return render(request, "errors/role.html", context, status=403)

        return cast("View[P]", login_required(guarded))

    return decorate


def afresh(view: View[P]) -> View[P]:
    """Who opens the page has just shown once more that it is they: it does what cannot be undone."""
    return cast("View[P]", reauthentication_required(app="allauth.account")(view))


def allows(request: HttpRequest, act: Act) -> bool:
    """Whether the person of this request may do `act` in the workspace they are in: for what a page offers."""
    membership = cast("VitrineRequest", request).membership
    return bool(membership) and people.may(membership.role, act) if membership else False
