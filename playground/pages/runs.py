"""A run's own page, its card, what can be done with it, and the list of all runs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from marketplace import catalog, schema
from marketplace.ids import parse
from marketplace.models import User
from marketplace.people import Act
from playground import predictions
from playground.models import Prediction
from playground.pages import playground, results
from playground.pages.access import member
from playground.pages.context import workspace_of

PAGE = 30
RECENT_DAYS = 30


@require_safe
@member(Act.SEE)
def prediction(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """One run: what came out, what it cost, what took the time, how to make it again."""
    row = _own(request, prediction_id)
    context = {
        "row": row,
        "live": results.live_of(row),
        "media": results.media_of(row),
        "prompt": results.summary(row) if row.input.get("prompt") else "",
        "facts": results.input_facts(row),
        "quote": row.quote,
        "released_micros": row.held_micros - row.cost_micros if row.cost_micros is not None else None,
        "times": times(row),
        "total_ms": results.milliseconds(row.created_at, row.finished_at),
        "model_url": results.model_url(row.model),
        "document": json.dumps(predictions.as_json(row), indent=2, ensure_ascii=False),
    }
    return render(request, "playground/prediction.html", context)


@require_safe
@member(Act.SEE)
def prediction_card(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """The live card alone, for viewers whose socket is down."""
    response = HttpResponse(results.card_of(_own(request, prediction_id)))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@member(Act.RUN)
def cancel(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Cancel the run if it is still open; then its card, or its page."""
    row = predictions.cancel(_own(request, prediction_id))
    if not request.headers.get("HX-Request"):
        return redirect("prediction", row.uid)
    response = HttpResponse(results.card_of(row))
    response.headers["HX-Trigger"] = "balance-changed"
    return response


@require_POST
@member(Act.RUN)
def again(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Run the same input, seed and version once more. Where that is refused, the form says why."""
    row = _own(request, prediction_id)
    is_htmx = bool(request.headers.get("HX-Request"))
    caller = predictions.Caller(workspace=row.workspace, user=cast("User", request.user))
    wanted = predictions.Request(
        model=f"{row.model}:{row.version.sha256}", input=row.input, via=Prediction.Via.PAGE, exact=row.exact
    )
    try:
        if _has_secrets(row):
            raise predictions.CannotRun("Its secret is not kept. Give it again, then run.")
        made = predictions.submit(caller, wanted)
    except (catalog.NotFound, schema.InvalidInput, *playground.REFUSALS) as error:
        messages.error(request, f"It was not run. {playground.reason_of(error)}")
        form = f"{results.model_url(row.model)}?from={row.uid}"
        return HttpResponse(status=204, headers={"HX-Redirect": form}) if is_htmx else redirect(form)
    return playground.live_answer(request, made) if is_htmx else redirect("prediction", made.uid)


@require_safe
@member(Act.SEE)
def history(request: HttpRequest) -> HttpResponse:
    """All runs of the workspace, newest first; `?status=` filters, `?before=` goes on from a run."""
    workspace = workspace_of(request)
    status = request.GET.get("status", "")
    status = status if status in Prediction.Status.values else ""
    rows = predictions.history(workspace, status=status) if workspace else Prediction.objects.none()
    before = parse(request.GET.get("before", "")[:64], "p")
    if before is not None:
        last = rows.filter(public_id=before).values_list("pk", flat=True).first()
        rows = rows.filter(pk__lt=last) if last is not None else rows
    found = list(rows[: PAGE + 1])
    since = timezone.now() - timedelta(days=RECENT_DAYS)
    recent = Prediction.objects.filter(workspace=workspace, created_at__gte=since)
    return render(
        request,
        "playground/history.html",
        {
            "lines": results.lines(found[:PAGE]),
            "status": status,
            "statuses": Prediction.Status.choices,
            "older": found[PAGE - 1].uid if len(found) > PAGE else "",
            "is_first": before is None,
            "totals": recent.aggregate(runs=Count("pk"), cost=Sum("cost_micros")) if workspace else {},
            "days": RECENT_DAYS,
        },
    )


@require_safe
@login_required
def balance(request: HttpRequest) -> HttpResponse:
    """The balance of the top bar alone."""
    response = render(request, "parts/_balance.html")
    response.headers["Cache-Control"] = "no-store"
    return response


def _has_secrets(row: Prediction) -> bool:
    fields = schema.fields(row.endpoint.input_schema)
    return any(row.input.get(field.name) for field in fields if field.control == "secret")


def times(row: Prediction) -> list[dict[str, Any]]:
    """What took the time, in milliseconds, with the place of each part on a bar of 100."""
    ran = results.took_ms(row)
    if ran is None:
        return []
    metrics = row.metrics
    parts = [("Queued", results.milliseconds(row.created_at, row.started_at) or 0.0, "f4")]
    known = (
        ("Loading weights", "load_s", "f3"),
        ("Reading the prompt", "encode_s", "f2"),
        (f"{row.steps} steps" if row.steps else "Running", "steps_s", "f1"),
        ("Decoding", "decode_s", "f2"),
        ("Writing the file", "file_s", "f3"),
    )
    measured = [(label, 1000 * float(metrics.get(key) or 0), fill) for label, key, fill in known]
    measured = [part for part in measured if part[1] >= 1]
    parts += measured or [("Running", ran, "f1")]
    rest = ran - sum(length for _, length, _ in measured)
    if measured and rest >= 1:
        parts.append(("Handing over and storing", rest, "f4"))
    whole = sum(length for _, length, _ in parts) or 1.0
    found, at = [], 0.0
    for label, length, fill in parts:
        share = 100 * length / whole
        width = f"{max(share - 0.4, 0.3):.3f}"
        found.append({"label": label, "ms": length, "fill": fill, "x": f"{at:.3f}", "width": width})
        at += share
    return found


def _own(request: HttpRequest, prediction_id: str) -> Prediction:
    """The workspace's own prediction; for everybody else there is none."""
    workspace = workspace_of(request)
    try:
        if workspace is None:
            raise predictions.NotFound("There is no such prediction in this workspace.")
        return predictions.find(workspace, prediction_id[:64])
    except predictions.NotFound as error:
        raise Http404(str(error)) from None
