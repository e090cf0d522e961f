"""Pages for what went wrong: each says what happened and what to do, and names the request. Under /api they are problem
documents.

Those that tell of a broken server need nothing that may be broken: no database, no session, no context.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import redis
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.shortcuts import render
from django.template.loader import render_to_string

from playground.pages.access import came_from

# What a request meets whose database or Redis is away, for a restart or for good.
AWAY = (OperationalError, InterfaceError, redis.RedisError)
RETRY_SECONDS = 5
# No page has an address that begins like this: see the map of the site.
NOT_PAGES = ("/api/", "/v1/", "/openai/", "/fal/", "/hf/", "/media/", "/ws/")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of page. `code` is that of the API's list; `todo` are the ways on, the likeliest first."""

    status: int
    code: str
    title: str
    happened: str
    todo: tuple[str, ...]
    is_plain: bool = False  # drawn without request and context
    is_again: bool = False  # the same address may work in a while


DAMAGED = Trouble(
    400,
    "malformed_request",
    "That request could not be read",
    "Something in the address or the form was damaged. Nothing was changed.",
    ("Go back, reload the page and try once more.", "If you followed a link, look whether it is whole."),
)
FORBIDDEN = Trouble(
    403,
    "forbidden",
    "You may not do that here",
    "Whoever you are signed in as is not allowed to. Nothing was changed.",
    ("Sign in as somebody who is, or ask an owner of the workspace.", "Go back to where you came from."),
)
STALE = Trouble(
    403,
    "forbidden",
    "The form was not taken",
    "Its page was open for a long time, or you have signed in or out since. Nothing was changed.",
    (
        "Go back to the form, reload it, and send it once more.",
        "What you typed is still in it if you go back.",
    ),
)
NO_COOKIE = Trouble(
    403,
    "forbidden",
    "The form was not taken",
    "The browser sent no cookie with it, so we cannot tell that it comes from our own page. Nothing was changed.",
    ("Allow cookies for this site, then reload the form and send it again.",),
)
MISSING = Trouble(
    404,
    "not_found",
    "There is nothing here",
    "The address may have a slip in it, what was here may be deleted or its link ended, or the page belongs to another "
    "workspace.",
    ("Look whether the address is whole.", "Sign in, or switch to the workspace that it belongs to."),
)
NO_SUCH_ACT = Trouble(
    405,
    "method_not_allowed",
    "This address only takes a form",
    "It does something when a form is sent to it, and has nothing to show. Nothing was done.",
    ("Go back to the page with the form, and use its button.",),
)
TOO_SLOW = Trouble(
    408,
    "request_timeout",
    "The request did not come to its end",
    "It came so slowly, or stopped for so long, that this server no longer waited. Nothing was kept or charged.",
    ("Look whether your connection is well, then send it again.",),
    is_plain=True,
)
TOO_LARGE = Trouble(
    413,
    "body_too_large",
    "That is more than we take at once",
    "The form with its files is larger than this server reads. Nothing was kept or charged.",
    (
        "Choose a smaller file, or fewer at once.",
        "With JavaScript on, large files are uploaded in parts; a field takes the address of a file too.",
    ),
    is_plain=True,
)
ADDRESS_TOO_LONG = Trouble(
    414,
    "uri_too_long",
    "That address is too long",
    "With all that it asks for it is longer than this server reads. Nothing was changed.",
    (
        "Begin from the page itself, and ask for less at once: fewer words in a search, fewer filters.",
        "If you followed a link, look whether it is whole.",
    ),
    is_plain=True,
)
HEADERS_TOO_LARGE = Trouble(
    431,
    "headers_too_large",
    "Your browser sent too much along",
    "What goes with every request, its cookies above all, is larger than this server reads. Nothing was changed.",
    (
        "Delete the cookies of this site, then load the page again.",
        "If an extension or a proxy adds headers, try without it.",
    ),
    is_plain=True,
)
TOO_FAST = Trouble(
    429,
    "throttled",
    "That was a little fast",
    "Too many attempts came from here within a short time.",
    ("Wait a minute, then try once more.",),
    is_again=True,
)
BROKEN = Trouble(
    500,
    "internal_error",
    "Something broke on our side",
    "It was noted with the id below. What fails is not charged.",
    ("Try again.", "If it stays, tell whoever runs this site the id."),
    is_plain=True,
    is_again=True,
)
BACK_SOON = Trouble(
    503,
    "unavailable",
    "We are back in a moment",
    "A part of the server does not answer: it is being restarted or looked after. Runs that were accepted are kept "
    "and go on.",
    ("Try again in a few seconds.", "If it stays, tell whoever runs this site the id."),
    is_plain=True,
    is_again=True,
)
EDGE = {
    one.code: one
    for one in (DAMAGED, MISSING, TOO_SLOW, TOO_LARGE, ADDRESS_TOO_LONG, HEADERS_TOO_LARGE, BROKEN, BACK_SOON)
}
# Said to whoever opens a fresh install by another name of its machine; they can mend it.
OTHER_HOST = (
    "This server answers only for the names in its setting ALLOWED_HOSTS; add this one there to use it."
)
MAX_HOST_SHOWN = 100


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        named = request.META.get("HTTP_HOST", "")[:MAX_HOST_SHOWN]
        return _page(request, DAMAGED, happened=f"{OTHER_HOST} The request came for {named!r}.", plain=True)
    return _page(request, DAMAGED)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(request, NO_COOKIE if reason == REASON_NO_CSRF_COOKIE else STALE)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, MISSING)


def too_many(request: HttpRequest) -> HttpResponse:
    return _page(request, TOO_FAST)


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault of ours; or a part that does not answer, which is no fault of the page. Django calls it while it handles
    the exception."""
    is_away = isinstance(sys.exc_info()[1], AWAY)
    return _page(request, BACK_SOON if is_away else BROKEN)


class MethodNotAllowedPage:
    """Middleware: whoever opens the address of an act, by its address bar or by Back, sees more than nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != NO_SUCH_ACT.status or not is_page(request.path):
            return response
        page = _page(request, NO_SUCH_ACT)
        page.headers["Allow"] = response.headers.get("Allow", "")
        return page


def is_page(path: str) -> bool:
    """Whether people look at what is at this address, and not programs."""
    return not path.startswith(NOT_PAGES)


def plain_page(code: str, *, request_id: str) -> str:
    """The page of an error that is found before Django sees the request."""
    return render_to_string("errors/error.html", _context(EDGE.get(code, DAMAGED), request_id=request_id))


def _page(request: HttpRequest, trouble: Trouble, *, happened: str = "", plain: bool = False) -> HttpResponse:
    request_id = getattr(request, "request_id", "")
    if request.path.startswith("/api/"):
        return _problem(trouble, happened or f"{trouble.happened} {trouble.todo[0]}", request_id)
    context = _context(trouble, request_id=request_id, happened=happened)
    is_plain = trouble.is_plain or plain
    if trouble.is_again and request.method == "GET":
        context["again"] = request.get_full_path()
    if not is_plain:
        context |= {"is_plain": False, "back": came_from(request)}
    response = render(None if is_plain else request, "errors/error.html", context, status=trouble.status)
    if trouble is BACK_SOON:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _context(trouble: Trouble, *, request_id: str, happened: str = "") -> dict[str, object]:
    return {
        "trouble": trouble,
        "happened": happened or trouble.happened,
        "request_id": request_id,
        "is_plain": True,
    }


def _problem(trouble: Trouble, detail: str, request_id: str) -> HttpResponse:
    problem: dict[str, object] = {
        "type": f"urn:vitrine:problem:{trouble.code}",
        "title": trouble.title,
        "status": trouble.status,
        "detail": detail,
        "code": trouble.code,
        "errors": [],
        "request_id": request_id,
    }
    return JsonResponse(problem, status=trouble.status, content_type="application/problem+json")
