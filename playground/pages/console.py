"""The operator's pages: engines and lanes as they are, what can be done with them, and the figures for Prometheus."""

from __future__ import annotations

import hmac
from typing import cast

import redis
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from marketplace.models import User
from playground import console
from playground.pages.access import is_at_the_machine, operators


@require_safe
@never_cache
@operators
def engines(request: HttpRequest) -> HttpResponse:
    """Engines, lanes, what is paused and what went wrong lately; htmx asks for the board alone, again and again."""
    template = "console/_board.html" if request.headers.get("HX-Request") else "console/engines.html"
    return render(request, template, {"board": console.board()})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@operators
def engine_act(request: HttpRequest, act: str, target: str) -> HttpResponse:
    """Ask before an act, and do it once that was confirmed."""
    try:
        if request.method == "POST":
            messages.success(request, console.do(act, target, by=cast("User", request.user)))
            return redirect("engines")
        found, name = console.confirm(act, target)
    except KeyError:
        raise Http404("There is no such act.") from None
    except console.Gone as error:
        messages.error(request, str(error))
        return redirect("engines")
    except redis.RedisError:
        messages.error(request, "Redis does not answer, so the engine cannot be told. Try again.")
        return redirect("engines")
    context = {"act": found, "name": act, "target": target, "title": found.title.format(name=name)}
    return render(request, "console/act.html", context)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, for staff, for programs on this machine, and for who has `METRICS_TOKEN`."""
    if not _may_collect(request):
        raise Http404("There is no such page.")
    try:
        body, content_type = console.exposition()
    except redis.RedisError:
        return HttpResponse("Redis does not answer.\n", status=503, content_type="text/plain; charset=utf-8")
    return HttpResponse(body, content_type=content_type)


def _may_collect(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode()):
            return True
    return is_at_the_machine(request) or bool(getattr(request.user, "is_staff", False))
