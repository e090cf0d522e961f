"""Pages for what went wrong: each says what happened and where to go on. Under /api they are problem documents."""

from __future__ import annotations

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

CODES = {
    400: "malformed_request",
    403: "forbidden",
    404: "not_found",
    429: "throttled",
    500: "internal_error",
}
TITLES = {
    400: "That request could not be read",
    403: "You may not do that here",
    404: "There is nothing here",
    429: "That was a little fast",
    500: "Something broke on our side",
}
DETAILS = {
    400: "Something in the address or the form was damaged. Go back, reload the page and try once more.",
    403: "The page was open for a long time, or you have signed in or out since. Reload it and try once more.",
    404: "The address may have a slip in it, or the page belongs to another workspace. Nothing was charged.",
    429: "Too many attempts came from here within a short time. Wait a minute, then try once more.",
    500: "It was noted. Nothing is charged for what failed. Try again; if it stays, tell the operator the id below.",
}
# Said to whoever opens a fresh install by another name of its machine; they can mend it.
OTHER_HOST = (
    "This server answers only for the names in its setting ALLOWED_HOSTS; add this one there to use it."
)
MAX_HOST_SHOWN = 100


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        named = request.META.get("HTTP_HOST", "")[:MAX_HOST_SHOWN]
        return _page(request, 400, detail=f"{OTHER_HOST} The request came for {named!r}.")
    return _page(request, 400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _page(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(request, 404)


def too_many(request: HttpRequest) -> HttpResponse:
    return _page(request, 429)


def server_error(request: HttpRequest) -> HttpResponse:
    return _page(request, 500)


def _page(request: HttpRequest, status: int, *, detail: str = "") -> HttpResponse:
    detail = detail or DETAILS[status]
    request_id = getattr(request, "request_id", "")
    if request.path.startswith("/api/"):
        problem: dict[str, object] = {
            "type": f"urn:vitrine:problem:{CODES[status]}",
            "title": TITLES[status],
            "status": status,
            "detail": detail,
            "code": CODES[status],
            "errors": [],
            "request_id": request_id,
        }
        return JsonResponse(problem, status=status, content_type="application/problem+json")
    context = {"status": status, "title": TITLES[status], "detail": detail, "request_id": request_id}
    # A page for a broken server must not need anything that may be broken: no database, no session.
    plain = status == 500
    return render(
        None if plain else request, "errors/error.html", context | {"is_plain": plain}, status=status
    )
