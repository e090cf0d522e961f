"""A model's own pages: the playground, its API and its README, and the act of running it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing import ledger, pricing
from marketplace import catalog, schema
from marketplace.models import ApiKey
from marketplace.people import Act
from playground import examiner, predictions
from playground.assets import uploads
from playground.models import Prediction
from playground.pages import results, shelf
from playground.pages.access import allows
from playground.pages.context import caller_of, workspace_of
from playground.pages.files import files_refused, with_files
from playground.pages.markdown import to_html
from playground.pages.tags import dollars
from playground.pages.words import MAX_UNKNOWN_SHOWN, Vocabulary, vocabulary
from playground.snippets import KEY_VARIABLE, snippets

STRIP = 8
MAX_PREFILL = 4000
REFUSALS = (
    *(ledger.InsufficientCredit, ledger.LimitReached, pricing.CannotPrice, predictions.CannotRun),
    *(examiner.Busy, uploads.QuotaReached, uploads.TooManyUploads),
)


@require_safe
def model(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The playground. `?run=` shows a run of one's own with its input, `?from=` takes its seed too, other values fill
    fields."""
    called = _called(request, publisher, name)
    shown, values = _shown_and_values(request, called)
    context = _page(request, called, "playground") | _form(request, called, values)
    context |= {
        "live": results.live_of(shown, links=True) if shown else None,
        "runs": _strip(request, called),
    }
    return render(request, "playground/model.html", context)


@require_safe
def model_runs(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The strip of last runs alone, for a page whose run has just ended."""
    called = _called(request, publisher, name)
    return render(
        request, "playground/_strip.html", _page(request, called, "") | {"runs": _strip(request, called)}
    )


@require_safe
def model_api(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """How to call it: snippets with the values of the form, the tables of parameters, price and limits."""
    called = _called(request, publisher, name)
    described = called.endpoint.input_schema
    values = {**schema.example(described), **_prefilled(request, described)}
    key_hint = _key_hint(request)
    every = snippets(settings.PUBLIC_URL, called.model_id, values, key_hint or KEY_VARIABLE)
    wanted = request.GET.get("l", "")
    chosen = next((one for one in every if one["language"] == wanted), every[0])
    context = _page(request, called, "api") | {
        "snippets": every,
        "snippet": chosen,
        "key_hint": key_hint,
        "inputs": schema.parameters(called.endpoint.input_schema),
        "outputs": schema.parameters(called.endpoint.output_schema),
        "base_url": settings.PUBLIC_URL,
        "quote": _quote(request, called, values)[0],
    }
    return render(request, "playground/model_api.html", context)


@require_safe
def model_readme(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """What the publisher says about it."""
    called = _called(request, publisher, name)
    context = _page(request, called, "readme") | {"readme": to_html(called.listing.readme)}
    return render(request, "playground/model_readme.html", context)


@require_POST
def estimate(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The price of the form as it stands, and the words in it that the model does not know."""
    called = _called(request, publisher, name)
    values = schema.from_form(called.endpoint.input_schema, _posted(request))
    quote, problem = _quote(request, called, values)
    context = {"quote": quote, "problem": problem, **_unknown(called, values), "is_update": True}
    return render(request, "playground/_estimate.html", context)


@require_POST
@with_files
def run(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """Run it: htmx gets the live card, a plain form goes on to the run's page; errors come back in the form."""
    called = _called(request, publisher, name)
    values = schema.from_form(called.endpoint.input_schema, _posted(request))
    if not request.user.is_authenticated:
        return _to_sign_in(request, called, values)
    caller = caller_of(request)
    if caller is None:
        return _refused(
            request, called, values, status=403, notice="Your account belongs to no workspace yet."
        )
    if not allows(request, Act.RUN):
        notice = f"Your role in {caller.workspace.name}, {caller.role}, may look at runs and not make any."
        return _refused(request, called, values, status=403, notice=notice)
    if unusable := files_refused(request):
        return _refused(request, called, values, status=422, errors=unusable)
    wanted = predictions.Request(model=called.model_id, input=values, via=Prediction.Via.PAGE)
    try:
        row = predictions.submit(caller, wanted)
    except schema.InvalidInput as error:
        return _refused(request, called, values, status=422, errors=error.errors)
    except REFUSALS as error:
        status = 402 if isinstance(error, ledger.InsufficientCredit | ledger.LimitReached) else 409
        return _refused(request, called, values, status=status, notice=reason_of(error))
    if not request.headers.get("HX-Request"):
        return redirect("prediction", row.uid)
    return live_answer(request, row)


def reason_of(error: Exception) -> str:
    """Why a run was refused, for the person who asked for it."""
    if isinstance(error, ledger.InsufficientCredit):
        return (
            f"This run needs {dollars(error.needed_micros)}, and {dollars(error.available_micros)} is available"
            f" ({dollars(error.held_micros)} is held by open runs). Nothing was held or charged."
        )
    if isinstance(error, ledger.LimitReached):
        return (
            f"The {error.period} limit of this {error.scope.kind} is {dollars(error.limit_micros)},"
            f" of which {dollars(error.spent_micros)} is spent. Nothing was held or charged."
        )
    return str(error)


def _posted(request: HttpRequest) -> dict[str, str]:
    return {name: text for name in request.POST if (text := request.POST.get(name)) is not None}


def live_answer(request: HttpRequest, row: Prediction) -> HttpResponse:
    """The live card of a run that was just accepted, for htmx."""
    row = predictions.find(row.workspace, row.public_id)
    response = render(request, "playground/_live.html", {"live": results.live_of(row, links=True)})
    response.headers["HX-Push-Url"] = f"{results.model_url(row.model)}?run={row.uid}"
    response.headers["HX-Trigger"] = "balance-changed"
    return response


def _called(request: HttpRequest, publisher: str, name: str) -> catalog.Callable:
    try:
        return catalog.callable_endpoint(
            f"{publisher}/{name}", workspace=workspace_of(request), now=timezone.now()
        )
    except catalog.NotFound as error:
        raise Http404(str(error)) from None


def _page(request: HttpRequest, called: catalog.Callable, tab: str) -> dict[str, Any]:
    """What the head of each of the model's pages shows."""
    words = vocabulary(called.version.manifest)
    return {
        "listing": called.listing,
        "called": called,
        "tab": tab,
        "price": shelf.price_text(called.prices),
        "icon_name": shelf.icon_of(called.listing.task),
        "is_warm": shelf.is_warm(called.version.sha256, (offer.lane for offer in called.offers)),
        "cover": shelf.cover_of(called.listing),
        "words": words,
        "samples": shelf.samples(called.listing, words),
        "model_url": reverse("model", args=[called.listing.publisher.name, called.listing.name]),
    }


def _form(
    request: HttpRequest,
    called: catalog.Callable,
    values: Mapping[str, Any],
    *,
    errors: list[schema.FieldError] | None = None,
    notice: str = "",
) -> dict[str, Any]:
    """What the form shows: its controls filled, the price, and what is wrong."""
    described = called.endpoint.input_schema
    fields = schema.fields(described, values, errors)
    known = {field.name for field in fields}
    strange = [
        error for error in errors or [] if error.field.partition(".")[0].partition("[")[0] not in known
    ]
    complete = {**schema.example(described), **values}
    quote, problem = _quote(request, called, complete)
    advanced = [field for field in fields if field.is_advanced]
    return {
        "fields": [field for field in fields if not field.is_advanced],
        "advanced": advanced,
        "advanced_is_open": any(field.error for field in advanced),
        "notice": notice or " ".join(f"{error.field} {error.message}." for error in strange),
        "quote": quote,
        "problem": problem,
        **_unknown(called, complete),
    }


def _unknown(called: catalog.Callable, values: Mapping[str, Any]) -> dict[str, Any]:
    words: Vocabulary | None = vocabulary(called.version.manifest)
    unknown = words.unknown(str(values.get("prompt", ""))) if words and words.understood else []
    return {"unknown": unknown[:MAX_UNKNOWN_SHOWN], "unknown_more": max(0, len(unknown) - MAX_UNKNOWN_SHOWN)}


def _quote(
    request: HttpRequest, called: catalog.Callable, values: Mapping[str, Any]
) -> tuple[pricing.QuoteJson | None, str]:
    """The price of `values`, or why there is none yet."""
    try:
        return predictions.quote(caller_of(request), model=called.model_id, data=values), ""
    except schema.InvalidInput as error:
        first = error.errors[0]
        labels = {field.name: field.label for field in schema.fields(called.endpoint.input_schema)}
        return None, f"{labels.get(first.field, first.field)} {first.message}"
    except pricing.CannotPrice as error:
        return None, str(error)


def _shown_and_values(
    request: HttpRequest, called: catalog.Callable
) -> tuple[Prediction | None, dict[str, Any]]:
    """The run that the address names, if it is one's own and of this model, and the values of the form."""
    described = called.endpoint.input_schema
    wanted = request.GET.get("run") or request.GET.get("from") or ""
    workspace = workspace_of(request)
    if wanted and workspace is not None:
        try:
            row = predictions.find(workspace, wanted[:64])
        except predictions.NotFound:
            return None, {}
        if row.model != called.model_id:
            return None, {}
        left_out = {field.name for field in schema.fields(described) if field.control == "secret"}
        if "from" not in request.GET:
            left_out |= {field.name for field in schema.fields(described) if field.control == "seed"}
        return row, {name: value for name, value in row.input.items() if name not in left_out}
    return None, _prefilled(request, described)


def _prefilled(request: HttpRequest, described: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the address gives to fields of the form; fields it does not name keep their defaults."""
    given = {name: text[:MAX_PREFILL] for name in request.GET if (text := request.GET.get(name))}
    return {name: value for name, value in schema.from_form(described, given).items() if name in given}


def _strip(request: HttpRequest, called: catalog.Callable) -> list[results.Line]:
    workspace = workspace_of(request)
    if workspace is None:
        return []
    return results.lines(predictions.history(workspace, model=called.model_id)[:STRIP])


def _refused(
    request: HttpRequest,
    called: catalog.Callable,
    values: Mapping[str, Any],
    *,
    status: int,
    errors: list[schema.FieldError] | None = None,
    notice: str = "",
) -> HttpResponse:
    context = _page(request, called, "playground") | _form(
        request, called, values, errors=errors, notice=notice
    )
    if request.headers.get("HX-Request"):
        response = render(request, "playground/_form.html", context, status=status)
        response.headers["HX-Retarget"] = "#input"
        response.headers["HX-Reswap"] = "outerHTML"
        return response
    context |= {"live": None, "runs": _strip(request, called)}
    return render(request, "playground/model.html", context, status=status)


def _to_sign_in(request: HttpRequest, called: catalog.Callable, values: Mapping[str, Any]) -> HttpResponse:
    """To the sign-in page, and back to the form as it was left, without what is secret in it."""
    public = schema.redact(called.endpoint.input_schema, values)
    kept = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in public.items()
        if value == values.get(name) and len(str(value)) <= MAX_PREFILL
    }
    page = reverse("model", args=[called.listing.publisher.name, called.listing.name])
    address = f"{reverse('login')}?{urlencode({'next': f'{page}?{urlencode(kept)}'})}"
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect(address)


def _key_hint(request: HttpRequest) -> str:
    """The public start of the workspace's newest key; nothing for visitors."""
    workspace = workspace_of(request)
    if workspace is None:
        return ""
    key = ApiKey.objects.filter(workspace=workspace, revoked_at=None).order_by("-created_at").first()
    return str(key) if key is not None else ""
