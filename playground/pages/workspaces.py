"""The workspaces of a person: choosing one, making one, its settings, and deleting it."""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace import people
from marketplace.models import Membership, User
from marketplace.people import Act
from playground import departures
from playground.middleware import VitrineRequest
from playground.pages.access import afresh, allows, member

CHOSEN = "workspace"  # in the session: the slug of the workspace that one works in
# Pages that every workspace has; others show what belongs to one.
STAYS = {
    "gallery",
    "model",
    "model-api",
    "model-readme",
    "model-examples",
    "model-versions",
    "docs",
    "history",
    "usage",
    "limits",
    "billing",
    "invoices",
    "earnings",
    "payouts",
    "publish-prices",
    "keys",
    "webhooks",
    "members",
    "settings",
    "publish",
}
MOST_DAYS = 365


@require_safe
@login_required
def workspaces(request: HttpRequest) -> HttpResponse:
    """All of them, with one's role in each."""
    return render(request, "people/workspaces.html", {"places": people.memberships_of(_user(request))})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def workspace_new(request: HttpRequest) -> HttpResponse:
    """Make one and work in it from now on."""
    name = request.POST.get("name", "")[:200]
    problem = ""
    if request.method == "POST":
        try:
            made = people.found_workspace(_user(request), name=name)
        except (people.InvalidName, people.TooMany) as error:
            problem = str(error)
        else:
            request.session[CHOSEN] = made.slug
            messages.success(request, f"{made.name} is ready. You are its owner.")
            return redirect("members")
    context = {"name": name, "problem": problem}
    return render(request, "people/new.html", context, status=422 if problem else 200)


@require_POST
@login_required
def switch(request: HttpRequest) -> HttpResponse:
    """Work in another workspace of one's own, on the same page where every workspace has it."""
    chosen = request.POST.get("workspace", "").replace("\0", "")[:64]
    place = people.membership_of(_user(request), chosen)
    if place is not None and place.workspace.slug == chosen:
        request.session[CHOSEN] = chosen
    return redirect(_stay(request.POST.get("next", "")))


def _stay(address: str) -> str:
    path = address.partition("?")[0]
    if url_has_allowed_host_and_scheme(path, allowed_hosts=None) and path.startswith("/"):
        try:
            if resolve(path).url_name in STAYS:
                return path
        except Resolver404:
            pass
    return "history"


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.SEE)
def workspace_settings(request: HttpRequest) -> HttpResponse:
    """Name and retention, for who may; switching and leaving, for everybody."""
    own = _place(request)
    shown = {"name": own.workspace.name, "days": str(own.workspace.output_days or "")}
    problem = ""
    if request.method == "POST":
        if not allows(request, Act.SETTINGS):
            return _refused(request, own)
        shown = {"name": request.POST.get("name", "")[:200], "days": request.POST.get("days", "")[:8]}
        try:
            people.change_workspace(own.workspace, name=shown["name"], output_days=_days(shown["days"]))
        except people.InvalidName as error:
            problem = str(error)
        else:
            messages.success(request, "Saved.")
            return redirect("settings")
    context = {
        "own": own,
        "shown": shown,
        "problem": problem,
        "may_change": allows(request, Act.SETTINGS),
        "may_close": allows(request, Act.CLOSE),
        "default_days": settings.OUTPUT_DAYS,
        "most_days": MOST_DAYS,
    }
    return render(request, "people/settings.html", context, status=422 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.CLOSE)
@afresh
def workspace_delete(request: HttpRequest) -> HttpResponse:
    """What would happen, and the act, once the name is typed."""
    workspace = _place(request).workspace
    problem = ""
    if request.method == "POST":
        if " ".join(request.POST.get("name", "").split()) != workspace.name:
            problem = "Type the name of the workspace exactly as it stands above."
        else:
            try:
                departures.close_workspace(workspace, by=_user(request))
            except (departures.CannotGo, people.Refused, people.NoSuchMember) as error:
                problem = str(error)
            else:
                request.session.pop(CHOSEN, None)
                messages.success(request, f"{workspace.name} was deleted.")
                return redirect("workspaces")
    context = {"leaving": departures.preview(workspace), "problem": problem}
    return render(request, "people/delete_workspace.html", context, status=422 if problem else 200)


def _days(text: str) -> int | None:
    """Days as typed; None for nothing. Raises InvalidName, which is shown the same way."""
    if not text.strip():
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise people.InvalidName(f"Outputs are kept for 1 to {MOST_DAYS} days.")
    return int(text)


def _refused(request: HttpRequest, own: Membership) -> HttpResponse:
    context = {"membership": own, "roles": people.who_may(Act.SETTINGS)}
    return render(request, "errors/role.html", context, status=403)


def _place(request: HttpRequest) -> Membership:
    return cast("Membership", cast("VitrineRequest", request).membership)


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)
