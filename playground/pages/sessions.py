"""Where somebody is signed in, and ending that: one of them, or all but the present one.

django-allauth keeps the list and ends sessions; its own page ends all others at once and no single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from allauth.usersessions.adapter import get_adapter
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from marketplace.models import User

NAME_LENGTH = 32


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    """The list, newest first; a POST ends all others."""
    own = _own(request)
    if request.method == "POST":
        get_adapter().end_sessions([one for one in own if not _is_present(request, one)])
        messages.success(request, "All other browsers are signed out.")
        return redirect("usersessions_list")
    lines = [(one, _name(one), _is_present(request, one)) for one in own]
    return render(request, "usersessions/usersession_list.html", {"lines": lines})


@require_POST
@never_cache
@login_required
def session_end(request: HttpRequest, session: str) -> HttpResponse:
    """End one. The present one has a page of its own, which asks first."""
    found = next((one for one in _own(request) if constant_time_compare(_name(one), session)), None)
    if found is None:
        raise Http404("There is no such session of yours, or it has ended.")
    if _is_present(request, found):
        return redirect("account_logout")
    get_adapter().end_sessions([found])
    messages.success(request, "That browser is signed out.")
    return redirect("usersessions_list")


def _own(request: HttpRequest) -> Sequence[UserSession]:
    found = UserSession.objects.purge_and_list(cast("User", request.user))
    return sorted(found, key=lambda one: one.created_at, reverse=True)


def _is_present(request: HttpRequest, session: UserSession) -> bool:
    return bool(session.session_key == request.session.session_key)


def _name(session: UserSession) -> str:
    """What a page calls a session: neither its key, which opens it, nor its number, which counts everybody's."""
    return salted_hmac("vitrine.session", session.session_key, algorithm="sha256").hexdigest()[:NAME_LENGTH]
