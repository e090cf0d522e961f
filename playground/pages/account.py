"""A person's own pages beside those of django-allauth: profile, deleting the account, accepting an invitation."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from marketplace import people
from marketplace.models import User
from playground import departures
from playground.pages.access import afresh
from playground.pages.adapter import INVITATION
from playground.pages.workspaces import CHOSEN


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """How one is called, and an overview of the account."""
    user, problem = _user(request), ""
    shown = user.name
    if request.method == "POST":
        shown = request.POST.get("name", "")[:200]
        try:
            people.change_name(user, shown)
        except people.InvalidName as error:
            problem = str(error)
        else:
            messages.success(request, "Saved.")
            return redirect("account")
    context = {
        "name": shown,
        "problem": problem,
        "is_verified": people.is_verified(user),
        "places": people.memberships_of(user),
    }
    return render(request, "account/profile.html", context, status=422 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@afresh
def account_delete(request: HttpRequest) -> HttpResponse:
    """What would happen, and the act, once the address is typed."""
    user, problem = _user(request), ""
    if request.method == "POST":
        if request.POST.get("email", "").strip().lower() != user.email.lower():
            problem = "Type your email address exactly as it stands above."
        else:
            try:
                departures.delete_account(user)
            except (departures.CannotGo, people.NoSuchMember) as error:
                problem = str(error)
            else:
                logout(request)
                messages.success(request, "Your account was deleted. Thank you for having been here.")
                return redirect("gallery")
    context = {"farewell": departures.preview_account(user), "problem": problem}
    return render(request, "account/delete.html", context, status=422 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Who asks whom into what; accepting is a POST of the account that it is for."""
    try:
        found = people.find_invitation(token[:200])
    except people.NoSuchInvitation:
        return _over(request, token)
    if not request.user.is_authenticated:
        request.session[INVITATION] = token
        return render(request, "people/invitation.html", {"invitation": found, "back": request.path})
    addresses = people.addresses_of(request.user)
    if request.method == "POST":
        try:
            place = people.accept(token, request.user, addresses=addresses)
        except people.NoSuchInvitation:
            return _over(request, token)
        except people.ForSomebodyElse:
            pass
        else:
            request.session.pop(INVITATION, None)
            request.session[CHOSEN] = place.workspace.slug
            messages.success(
                request, f"You are in {place.workspace.name}, as {place.get_role_display().lower()}."
            )
            return redirect("history")
    is_theirs = people.is_for(found, addresses)
    context = {"invitation": found, "back": request.path, "is_theirs": is_theirs}
    return render(request, "people/invitation.html", context, status=200 if is_theirs else 403)


def _over(request: HttpRequest, token: str) -> HttpResponse:
    """Nothing to accept any more. For whom it let in a moment ago, as by a second click, that is no news."""
    if request.method == "POST" and request.user.is_authenticated:
        addresses = people.addresses_of(request.user)
        place = people.place_by(token[:200], request.user, addresses=addresses)
        if place is not None:
            request.session[CHOSEN] = place.workspace.slug
            return redirect("history")
    return render(request, "people/invitation_over.html", status=404)


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)
