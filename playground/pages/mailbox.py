"""The mails of an installation that files them: for staff, and for whoever sits at the machine."""

from __future__ import annotations

import re
from functools import wraps
from typing import ParamSpec, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from marketplace import mail
from playground.pages.access import View, staff

PAGE = 50
_URL = re.compile(r"https?://[^\s<>\"']{1,2000}")
P = ParamSpec("P")


def filed(view: View[P]) -> View[P]:
    """There is no such page where mails are sent, for nobody."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not settings.MAIL_IS_FILED:
            raise Http404("There is no such page.")
        return view(request, *args, **kwargs)

    return cast("View[P]", guarded)


@require_safe
@never_cache
@filed
@staff
def mailbox(request: HttpRequest) -> HttpResponse:
    """All mails, newest first."""
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
@filed
@staff
def letter(request: HttpRequest, name: str) -> HttpResponse:
    """One mail, as the text that it is."""
    found = mail.read(name)
    if found is None:
        raise Http404("There is no such mail.")
    return render(request, "people/letter.html", {"letter": found, "body": _with_links(request, found.body)})


def _with_links(request: HttpRequest, body: str) -> SafeString:
    """The text, escaped; only addresses of this site become links."""
    ours = {settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}"}
    parts, at = [], 0
    for match in _URL.finditer(body):
        url = match[0].rstrip(".,;:)")
        parts.append(escape(body[at : match.start()]))
        is_ours = _origin(url) in ours
        parts.append(format_html('<a href="{}">{}</a>', url, url) if is_ours else escape(url))
        at = match.start() + len(url)
    parts.append(escape(body[at:]))
    return mark_safe("".join(parts))  # noqa: S308 - every part was escaped


def _origin(url: str) -> str:
    """Scheme and host; empty for what only looks like an address, as the name of a workspace may."""
    try:
        parsed = urlsplit(url)
    except ValueError:
        return ""
    return f"{parsed.scheme}://{parsed.netloc}"
