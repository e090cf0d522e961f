"""A run's own page, its card, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from marketplace import catalog, schema
from marketplace.models import User
from marketplace.people import Act
from playground import predictions, receipts, webhooks
from playground.models import Prediction
from playground.pages import once, playground, results
from playground.pages.access import allows, member
from playground.pages.context import workspace_of
from playground.pages.media import icon_of, picture_of
from playground.predictions import delete as deletion
from playground.predictions import lineage
from playground.predictions import share as sharing

SHARE_SPANS = (("", "Until it is revoked"), ("1", "For a day"), ("7", "For a week"), ("30", "For 30 days"))


@require_safe
@member(Act.SEE)
def prediction(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """One run: what came out, what it cost, what took the time, how to make it again."""
    row = own_run(request, prediction_id)
    if request.headers.get("HX-Target") == "drawer":
        return _drawer(request, row)
    shown = results.input_of(row)
    context = {
        "row": row,
        "live": results.live_of(row),
        "media": results.media_of(row),
        "prompt": results.summary(row) if row.input.get("prompt") else "",
        "facts": results.input_facts(row),
        "times": times(row),
        "total_ms": results.milliseconds(row.created_at, row.finished_at),
        "model_url": results.model_url(row.model),
        "sent": json.dumps(shown, indent=2, ensure_ascii=False),
        "document": json.dumps({**predictions.as_json(row), "input": shown}, indent=2, ensure_ascii=False),
        "made_from": [_kin(one) for one in lineage.made_from(row)],
        "made_of": results.lines(map(predictions.attach_model, lineage.made_of(row))),
        "share": sharing.shared(row),
        "spans": SHARE_SPANS,
        "site": settings.PUBLIC_URL,
        "may_run": allows(request, Act.RUN),
        "is_cover": predictions.may_pin(row.workspace, row) and predictions.is_cover(row),
        "told": webhooks.of_run(row),
        "may_look": allows(request, Act.WEBHOOKS),
        **_money(receipts.receipts(row.workspace, [row.public_id])[0], row.quote),
    }
    return render(request, "playground/prediction.html", context)


def _kin(one: lineage.Kin) -> dict[str, Any]:
    """What a run was made from, for the eye: the file, and where to go from it."""
    is_live = one.asset is not None and one.asset.expires_at > timezone.now()
    return {
        "url": reverse("prediction", args=[one.run.uid]) if one.run else "",
        "thumbnail": picture_of(one.asset) if one.asset and is_live else "",
        "icon": icon_of(one.asset.media_type) if one.asset else "image",
        "field": one.path,
        "origin": one.run.model if one.run else "uploaded",
    }


def _drawer(request: HttpRequest, row: Prediction) -> HttpResponse:
    """The same page, smaller, for the side of the list."""
    context = {
        "row": row,
        "live": results.live_of(row),
        "prompt": results.summary(row),
        "facts": results.input_facts(row),
        "model_url": results.model_url(row.model),
        "may_run": allows(request, Act.RUN),
        "is_cover": predictions.may_pin(row.workspace, row) and predictions.is_cover(row),
        "refunded_micros": results.refunds_of(row.workspace, [row]).get(row.public_id, 0),
    }
    response = render(request, "playground/_drawer.html", context)
    response.headers["Cache-Control"] = "no-store"  # it has the address of a whole page
    return response


def _money(found: receipts.ReceiptJson, quote: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt as the templates draw it, beside the quote."""
    paid = (found["charged_micros"] or 0) - found["refunded_micros"]
    return {"quote": quote, "receipt": found, "paid_micros": paid}


@require_safe
@member(Act.SEE)
def prediction_card(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """The live card alone, for viewers whose socket is down."""
    response = HttpResponse(results.card_of(own_run(request, prediction_id)))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@member(Act.RUN)
def cancel(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Cancel the run if it is still open; then its card, or its page."""
    row = predictions.cancel(own_run(request, prediction_id))
    if not request.headers.get("HX-Request"):
        return redirect("prediction", row.uid)
    response = HttpResponse(results.card_of(row))
    response.headers["HX-Trigger"] = "balance-changed"
    return response


@require_POST
@member(Act.RUN)
def again(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Run the same input, seed and version once more. Where that is refused, the form says why."""
    row = own_run(request, prediction_id)
    is_htmx = bool(request.headers.get("HX-Request"))
    caller = predictions.Caller(workspace=row.workspace, user=cast("User", request.user))
    wanted = predictions.Request(
        model=f"{row.model}:{row.version.sha256}", input=row.input, via=Prediction.Via.PAGE, exact=row.exact
    )
    try:
        if _has_secrets(row):
            raise predictions.CannotRun("Its secret is not kept. Give it again, then run.")
        made = once.submit(request, caller, wanted)
    except predictions.IdempotencyInFlight:
        messages.warning(request, "It is being run again right now: look among your runs in a second.")
        back = reverse("prediction", args=[row.uid])
        return HttpResponse(status=204, headers={"HX-Redirect": back}) if is_htmx else redirect(back)
    except (catalog.NotFound, schema.InvalidInput, *playground.REFUSALS) as error:
        messages.error(request, f"It was not run. {playground.reason_of(error)}")
        form = f"{results.model_url(row.model)}?from={row.uid}"
        return HttpResponse(status=204, headers={"HX-Redirect": form}) if is_htmx else redirect(form)
    return playground.live_answer(request, made) if is_htmx else redirect("prediction", made.uid)


@require_POST
@member(Act.RUN)
def delete(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Delete the run with its media; an open one only where canceling it was asked for too."""
    row = own_run(request, prediction_id)
    with_cancel = bool(request.POST.get("cancel"))
    user = cast("User", request.user)
    done = deletion.delete(row.workspace, [row.public_id], by=user, cancel_open=with_cancel)
    if done.left_open:
        messages.error(request, "It is still open. Cancel it first, or cancel and delete it in one go.")
        return redirect("prediction", row.uid)
    back = reverse("history")
    return redirect(f"{back}?undo={done.deletion.uid}" if done.deletion else back)


@require_safe
@member(Act.SEE)
def receipt(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """What was quoted, held, charged, released and given back, and why, on a page for paper; of deleted runs too."""
    workspace = workspace_of(request)
    try:
        if workspace is None:
            raise receipts.NoSuchRun("There is no such prediction in this workspace.")
        found = receipts.receipt(workspace, prediction_id[:64])
    except receipts.NoSuchRun as error:
        raise Http404(str(error)) from None
    row = None if found["is_deleted"] else own_run(request, found["prediction"])
    quote = row.quote if row else {"amount_micros": found["quoted_micros"], "lines": found["lines"]}
    context = {
        "row": row,
        "media": results.media_of(row) if row else [],
        "times": times(row) if row else [],
        "status": Prediction.Status(found["status"]).label,
        "asked_at": datetime.fromisoformat(found["created_at"]),
        "settled_at": datetime.fromisoformat(found["settled_at"]) if found["settled_at"] else None,
        "in_full": True,
        **_money(found, quote),
    }
    return render(request, "playground/receipt.html", context)


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
        ("Storing", "store_s", "f2"),
    )
    measured = [(label, 1000 * float(metrics.get(key) or 0), fill) for label, key, fill in known]
    measured = [part for part in measured if part[1] >= 1]
    parts += measured or [("Running", ran, "f1")]
    rest = ran - sum(length for _, length, _ in measured)
    if measured and rest >= 1:
        parts.append(("Handing over", rest, "f4"))
    whole = sum(length for _, length, _ in parts) or 1.0
    found, at = [], 0.0
    for label, length, fill in parts:
        share = 100 * length / whole
        width = f"{max(share - 0.4, 0.3):.3f}"
        found.append({"label": label, "ms": length, "fill": fill, "x": f"{at:.3f}", "width": width})
        at += share
    return found


def own_run(request: HttpRequest, prediction_id: str) -> Prediction:
    """The workspace's own prediction; for everybody else there is none."""
    workspace = workspace_of(request)
    try:
        if workspace is None:
            raise predictions.NotFound("There is no such prediction in this workspace.")
        return predictions.find(workspace, prediction_id[:64])
    except predictions.NotFound as error:
        raise Http404(str(error)) from None
