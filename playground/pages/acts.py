"""What can be done with a result: take it home, use it as input, pin it as an example."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace import catalog
from marketplace.models import User
from marketplace.people import Act
from playground import predictions
from playground.models import Prediction
from playground.pages import results
from playground.pages.access import allows, member
from playground.pages.context import workspace_of
from playground.pages.streams import Drip
from playground.predictions import export

KINDS_SECONDS = 30
STILL_COVER = (
    "It is no example any more. Its picture is still the cover of {model}, which everybody sees until it expires or "
    "you choose another."
)


def context(request: HttpRequest, row: Prediction) -> dict[str, Any]:
    """What the line of acts under a card shows."""
    media = results.media_of(row) if row.status == Prediction.Status.SUCCEEDED else []
    first = media[0] if media else None
    may_pin = bool(media) and allows(request, Act.PUBLISH) and predictions.may_pin(workspace_of(request), row)
    return {
        "acts": {
            "row": row,
            "model_url": results.model_url(row.model),
            "media": media,
            "use": first.uid if first is not None and _is_taken(first.media_type.partition("/")[0]) else "",
            "may_pin": may_pin,
            "is_pinned": may_pin and predictions.is_pinned(row),
            "is_cover": may_pin and predictions.is_cover(row),
            "may_run": allows(request, Act.RUN),
        }
    }


def _is_taken(kind: str) -> bool:
    """Whether some public model takes this kind of media; up to half a minute old."""
    return bool(
        cache.get_or_set(f"shelf:takes:{kind}", lambda: catalog.listings(takes=kind).exists(), KINDS_SECONDS)
    )


@require_safe
@member(Act.SEE)
def prediction_acts(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """The line of acts alone, for a page whose run has just ended."""
    return render(request, "playground/_acts.html", context(request, _own(request, prediction_id)))


@require_safe
@member(Act.SEE)
def prediction_zip(request: HttpRequest, prediction_id: str) -> HttpResponseBase:
    """All files of a run as one archive."""
    row = _own(request, prediction_id)
    try:
        pieces = export.as_zip([row])
    except export.TooMuch as error:
        messages.error(request, str(error))
        return redirect("prediction", row.uid)
    return Drip(pieces, content_type="application/zip", filename=f"{row.uid}.zip")


@require_POST
@member(Act.PUBLISH)
def prediction_example(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Pin one's own run to one's own model, take it away again, or move it among the others."""
    row = _own(request, prediction_id)
    if not predictions.may_pin(workspace_of(request), row):
        raise Http404("This model belongs to another workspace.")
    act = request.POST.get("act", "")
    try:
        if act == "pin":
            predictions.pin(row, by=cast("User", request.user))
        elif act == "unpin":
            predictions.unpin(row)
            if predictions.is_cover(row) and not request.headers.get("HX-Request"):
                messages.warning(request, STILL_COVER.format(model=row.version.listing.model_id))
        elif act in {"up", "down"}:
            predictions.move(row, by=-1 if act == "up" else 1)
    except predictions.CannotPin as error:
        messages.error(request, str(error))
    if request.headers.get("HX-Request") and act in {"pin", "unpin"}:
        return render(request, "playground/_acts.html", context(request, row))
    return redirect(f"{results.model_url(row.model)}/examples")


def _own(request: HttpRequest, prediction_id: str) -> Prediction:
    workspace = workspace_of(request)
    try:
        if workspace is None:
            raise predictions.NotFound("There is no such prediction in this workspace.")
        return predictions.find(workspace, prediction_id[:64])
    except predictions.NotFound as error:
        raise Http404(str(error)) from None
