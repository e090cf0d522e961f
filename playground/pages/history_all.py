"""What a search of the history finds in all, before something is done to it: how much, and what one act takes."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.ids import encode
from marketplace.people import Act
from playground.pages.access import allows, member, own
from playground.pages.asked import Asked
from playground.pages.history import everything
from playground.predictions import TooBroad, browse, export
from playground.predictions import delete as deletion


@require_safe
@member(Act.SEE)
def history_all(request: HttpRequest) -> HttpResponse:
    """What matches, in figures, with a form for each act. The forms name the newest run and the number that are told
    here, so that nothing is done to a run that came later."""
    workspace, asked = own(request), Asked.of(request.GET)
    found: list[UUID] = []
    is_more, problem = False, ""
    try:
        found, is_more = everything(workspace, asked)
    except TooBroad as error:
        problem = str(error)
    context = {
        "asked": asked,
        "problem": problem,
        "heap": browse.heap(workspace, found),
        "is_more": is_more,
        "most": deletion.MAX_AT_ONCE,
        "newest": encode(found[0], "p") if found else "",
        "max_files": export.MAX_FILES,
        "max_bytes": export.MAX_BYTES,
        "may_run": allows(request, Act.RUN),
        "undo_minutes": int(deletion.UNDO.total_seconds() // 60),
    }
    response = render(request, "playground/history_all.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response
