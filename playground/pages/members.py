"""Who is in the workspace: members and open invitations, and what can be done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from marketplace import people
from marketplace.ids import encode, parse
from marketplace.models import Membership, User
from marketplace.people import Act
from playground.middleware import VitrineRequest
from playground.pages.access import allows, member

PAGE = 50
ROLES = {
    Membership.Role.ADMIN: "runs, keys, members and settings; everything but deleting the workspace",
    Membership.Role.DEVELOPER: "runs models, makes keys and webhooks, publishes",
    Membership.Role.BILLING: "sees runs and usage, keeps credit and spend limits",
    Membership.Role.OWNER: "everything, deleting the workspace too",
}


@require_safe
@member(Act.SEE)
def members(request: HttpRequest) -> HttpResponse:
    """Everybody who is in it, owners first, and who is asked."""
    return _page(request)


@require_POST
@member(Act.MEMBERS)
def invite(request: HttpRequest) -> HttpResponse:
    """Mail an invitation. What is wrong comes back in the form."""
    asked = {"email": request.POST.get("email", "")[:254], "role": request.POST.get("role", "")}
    try:
        role = _role(asked["role"])
        row = people.invite(_place(request).workspace, asked["email"], role, by=_user(request), link=link_of)
    except people.Refused as error:
        return _page(request, {"asked": asked, "problem": str(error)}, status=422)
    messages.success(request, f"An invitation is on its way to {row.email}.")
    return redirect("members")


@require_POST
@member(Act.MEMBERS)
def member_role(request: HttpRequest, member_id: str) -> HttpResponse:
    def act() -> str:
        role = _role(request.POST.get("role", ""))
        place = people.change_role(
            _place(request).workspace, _number(member_id, "u"), role, by=_user(request)
        )
        return f"{place.user.email} is {place.get_role_display().lower()} now."

    return _done(request, act)


@require_POST
@member(Act.MEMBERS)
def member_remove(request: HttpRequest, member_id: str) -> HttpResponse:
    def act() -> str:
        place = people.remove(_place(request).workspace, _number(member_id, "u"), by=_user(request))
        return f"{place.user.email} is no member any more. Keys that they made still work; revoke them if need be."

    return _done(request, act)


@require_POST
@member(Act.SEE)
def leave(request: HttpRequest) -> HttpResponse:
    """Go, and on to another workspace if there is one."""
    workspace = _place(request).workspace
    try:
        people.leave(workspace, _user(request))
    except people.Refused as error:
        messages.error(request, str(error))
        return redirect("settings")
    request.session.pop("workspace", None)
    messages.success(request, f"You left {workspace.name}.")
    return redirect("workspaces")


@require_POST
@member(Act.MEMBERS)
def invitation_resend(request: HttpRequest, invitation_id: str) -> HttpResponse:
    def act() -> str:
        row = people.resend(
            _place(request).workspace,
            _number(invitation_id, "i"),
            by=_user(request),
            link=link_of,
        )
        return f"A new link is on its way to {row.email}. The old one stopped working."

    return _done(request, act)


@require_POST
@member(Act.MEMBERS)
def invitation_revoke(request: HttpRequest, invitation_id: str) -> HttpResponse:
    def act() -> str:
        row = people.revoke(_place(request).workspace, _number(invitation_id, "i"), by=_user(request))
        return f"The invitation of {row.email} was withdrawn."

    return _done(request, act)


def link_of(token: str) -> str:
    """The address of the page that an invitation's token opens: at the site's own, wherever the inviter reaches it."""
    return settings.PUBLIC_URL + reverse("invitation", args=[token])


def _done(request: HttpRequest, act: Callable[[], str]) -> HttpResponse:
    try:
        messages.success(request, act())
    except people.Refused as error:
        messages.error(request, str(error))
    except (people.NoSuchMember, people.NoSuchInvitation) as error:
        raise Http404(str(error)) from None
    return redirect("members")


def _page(request: HttpRequest, extra: dict[str, Any] | None = None, *, status: int = 200) -> HttpResponse:
    own = _place(request)
    everybody = (
        Membership.objects.filter(workspace=own.workspace).select_related("user").order_by("created_at", "id")
    )
    page = Paginator(everybody, PAGE).get_page(request.GET.get("page"))
    may_manage, is_owner = allows(request, Act.MEMBERS), allows(request, Act.CLOSE)
    lines = [
        {
            "place": place,
            "uid": encode(place.user.public_id, "u"),
            "is_self": place.pk == own.pk,
            "may_change": may_manage and (is_owner or place.role != Membership.Role.OWNER),
        }
        for place in page
    ]
    context = {
        "lines": lines,
        "page": page,
        "invitations": [
            (row, encode(row.public_id, "i")) for row in people.pending(own.workspace).order_by("-sent_at")
        ]
        if may_manage
        else [],
        "roles": [
            (role, role.label, said)
            for role, said in ROLES.items()
            if is_owner or role != Membership.Role.OWNER
        ],
        "may_manage": may_manage,
        "own": own,
        **(extra or {}),
    }
    return render(request, "people/members.html", context, status=status)


def _role(text: str) -> str:
    if text not in Membership.Role.values:
        raise people.Refused("Choose a role.")
    return text


def _number(text: str, prefix: str) -> UUID:
    found = parse(text[:64], prefix)
    if found is None:
        raise Http404("There is nobody by this id.")
    return found


def _place(request: HttpRequest) -> Membership:
    """One's own place; `member` has seen to it that there is one."""
    return cast("Membership", cast("VitrineRequest", request).membership)


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)
