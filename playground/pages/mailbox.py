"""The mails of an installation that files them: for staff, and for whoever sits at the machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketplace import mail

PAGE = 50
# What a proxy adds for a visitor that is not on this machine, though the connection is.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "CF-Connecting-IP")
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
_URL = re.compile(r"https?://[^\s<>\"']{1,2000}")


@require_safe
@never_cache
def mailbox(request: HttpRequest) -> HttpResponse:
    """All mails, newest first."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    text = request.GET.get("from", "")
    offset = int(text) if text.isdecimal() and len(text) < 6 else 0
    found = mail.letters(limit=PAGE + 1, offset=offset)
    context = {
        "letters": found[:PAGE],
        "older": offset + PAGE if len(found) > PAGE else None,
        "newer": max(0, offset - PAGE) if offset else None,
    }
    return render(request, "people/mailbox.html", context)


@require_safe
@never_cache
def letter(request: HttpRequest, name: str) -> HttpResponse:
    """One mail, as the text that it is."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    found = mail.read(name)
    if found is None:
        raise Http404("There is no such mail.")
    return render(request, "people/letter.html", {"letter": found, "body": _with_links(request, found.body)})


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """None for who may read; for others there is no such page, and visitors may sign in first."""
    if settings.MAIL_IS_FILED and (_is_at_the_machine(request) or getattr(request.user, "is_staff", False)):
        return None
    if settings.MAIL_IS_FILED and not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    raise Http404("There is no such page.")


def _is_at_the_machine(request: HttpRequest) -> bool:
    """Whether the browser runs on this machine, as far as can be told.

    Where the site is meant for others, behind a proxy that may run here too, nobody counts as being at the machine.
    """
    try:
        is_near = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
    named = {urlsplit(settings.PUBLIC_URL).hostname, urlsplit(f"//{request.get_host()}").hostname}
    return is_near and named <= LOOPBACK_NAMES and not any(name in request.headers for name in FORWARDED)


def _with_links(request: HttpRequest, body: str) -> SafeString:
    """The text, escaped; only addresses of this site become links."""
    ours = {settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}"}
    parts, at = [], 0
    for match in _URL.finditer(body):
        url = match[0].rstrip(".,;:)")
        parts.append(escape(body[at : match.start()]))
        parsed = urlsplit(url)
        is_ours = f"{parsed.scheme}://{parsed.netloc}" in ours
        parts.append(format_html('<a href="{}">{}</a>', url, url) if is_ours else escape(url))
        at = match.start() + len(url)
    parts.append(escape(body[at:]))
    return mark_safe("".join(parts))  # noqa: S308 - every part was escaped
