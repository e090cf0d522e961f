"""The playground: a model's form and its result, and the act of running it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from billing import ledger, limits, pricing
from marketplace import catalog, schema
from marketplace.people import Act
from playground import examiner, predictions
from playground.assets import uploads
from playground.models import Prediction
from playground.pages import acts, billing, form, once, results
from playground.pages.access import allows
from playground.pages.context import caller_of, workspace_of
from playground.pages.files import files_refused, with_files
from playground.pages.form import Given, Shortfall
from playground.pages.key_forms import Dollars
from playground.pages.model import called_of, name_of, page, url_of
from playground.pages.model import quote as quote_of
from playground.pages.tags import dollars

STRIP = 12
SINCE_LENGTH = 40
NO_AMOUNT = "The most that it may cost must be an amount like 0.05. Nothing was held or charged."


class NotAsShown(Exception):
    """The run would cost more than the page has shown, or its cap cannot be read; the message says so."""


REFUSALS = (
    *(ledger.InsufficientCredit, ledger.LimitReached, ledger.TooManyOpen, pricing.CannotPrice),
    *(predictions.CannotRun, predictions.CostAboveCap, NotAsShown),
    *(examiner.Busy, uploads.QuotaReached, uploads.TooManyUploads, predictions.IdempotencyInFlight),
)


@require_safe
def model(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The playground. `?run=` shows a run of one's own with its input, `?from=` takes its seed too, `?example=` one
    that the publisher shows, `?use=` a file of one's own; `?version=` is another version; other values fill fields."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    shown, given = _shown_and_given(request, called)
    return _playground(request, called, form.context(request, called, given), shown=shown)


@require_safe
def model_runs(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The strip of last runs alone, for a page whose run has just ended."""
    called = called_of(request, publisher, name)
    context = {
        "model_url": url_of(called),
        "runs": _strip(request, called),
        "shown": request.GET.get("run", ""),
    }
    return render(request, "playground/_strip.html", context)


@with_files
def model_form(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The form after one of its own acts; as a page of its own where there is no htmx. To look at it is the model."""
    if request.method != "POST":
        return redirect("model", publisher, name)
    called = _posted_to(request, publisher, name)
    act = request.POST.get(form.ACT, "")[:200].replace("\0", "")
    given, was = form.turned(request, called.endpoint.input_schema, act)
    context = form.context(request, called, given, was=was)
    if request.headers.get("HX-Request"):
        return render(request, "playground/_form.html", page(request, called, "playground") | context)
    return _playground(request, called, context)


@require_POST
def estimate(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """The price of the form as it stands, and the words in it that the model does not know."""
    called = _posted_to(request, publisher, name)
    given = form.read(request, called.endpoint.input_schema)
    quote, problem = (None, str(given.trouble)) if given.trouble else quote_of(request, called, given.values)
    context = {
        "quote": quote,
        "prices_since": form.since(called),
        "problem": problem,
        "words": not given.is_json and form.knows_words(called),
        **form.unknown(called, given.values),
        "is_update": True,
    }
    return render(request, "playground/_estimate.html", context)


@with_files
def run(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """Run it: htmx gets the live card, a plain form goes on to the run's page; errors come back in the form. To look at
    it is the model: who reloads a form that was refused by its address comes here."""
    if request.method != "POST":
        return redirect("model", publisher, name)
    called = _posted_to(request, publisher, name)
    given = form.read(request, called.endpoint.input_schema)
    if not request.user.is_authenticated:
        return _to_sign_in(request, called, given)
    if given.trouble is not None:
        return _refused(request, called, given, status=422)
    caller = caller_of(request)
    if caller is None:
        notice = "You belong to no workspace, and it is workspaces that runs belong to. Make one first."
        return _refused(request, called, given, status=403, notice=notice)
    if not allows(request, Act.RUN):
        notice = f"Your role in {caller.workspace.name}, {caller.role}, may look at runs and not make any."
        return _refused(request, called, given, status=403, notice=notice)
    if unusable := files_refused(request):
        return _refused(request, called, given, status=422, errors=unusable)
    try:
        row = once.submit(request, caller, _wanted(request, called, given))
    except schema.InvalidInput as error:
        return _refused(request, called, given, status=422, errors=error.errors)
    except ledger.InsufficientCredit as error:
        shortfall = _shortfall(request, called, given, error)
        return _refused(request, called, given, status=402, notice=reason_of(error), shortfall=shortfall)
    except REFUSALS as error:
        status = 402 if isinstance(error, ledger.LimitReached | predictions.CostAboveCap) else 409
        at_limit = isinstance(error, ledger.LimitReached)
        return _refused(request, called, given, status=status, notice=reason_of(error), at_limit=at_limit)
    if not request.headers.get("HX-Request"):
        return redirect("prediction", row.uid)
    return live_answer(request, row, of_form=True)


def _wanted(request: HttpRequest, called: catalog.Callable, given: Given) -> predictions.Request:
    """The run that is asked for. Raises NotAsShown."""
    try:
        most = Dollars(required=False).clean(form.most_text(request))
    except ValidationError:
        raise NotAsShown(NO_AMOUNT) from None
    if risen := _risen(request, called, given):
        raise NotAsShown(risen)
    return predictions.Request(
        model=name_of(called), input=given.values, via=Prediction.Via.PAGE, max_cost_micros=most
    )


def _risen(request: HttpRequest, called: catalog.Callable, given: Given) -> str:
    """That the run costs more than by the prices which the form showed, if it does: nobody pays what they did not
    see."""
    shown = request.POST.get(form.SINCE, "")[:SINCE_LENGTH]
    if not shown or shown == form.since(called):
        return ""
    try:
        moment = datetime.fromisoformat(shown)
        if moment.utcoffset() is None:
            return ""
        caller, name = caller_of(request), name_of(called)
        earlier = predictions.quote(caller, model=name, data=given.values, prices_since=moment)
        before = earlier["amount_micros"]
        now = predictions.quote(caller, model=name, data=given.values)["amount_micros"]
    except (ValueError, LookupError):  # no such moment, or no price: whoever runs it is told that next
        return ""
    if now <= before:
        return ""
    return (
        f"The price has changed since this page showed it: the run costs {dollars(now)} now, and {dollars(before)} "
        "before. Nothing was held. Press Run again to run it at the new price."
    )


def reason_of(error: Exception) -> str:
    """Why a run was refused, for the person who asked for it."""
    if isinstance(error, ledger.InsufficientCredit):
        held = f" ({dollars(error.held_micros)} is held by open runs)" if error.held_micros else ""
        return (
            f"This run needs {dollars(error.needed_micros)}, and {dollars(error.available_micros)} is available"
            f"{held}. Nothing was held or charged."
        )
    if isinstance(error, ledger.LimitReached):
        at = error.resets_at
        until = f"It resets on {at:%-d %B %Y} at {at:%H:%M} UTC. " if at else ""
        return (
            f"The {limits.WORDS[error.period]} limit of this {error.scope.kind} is"
            f" {dollars(error.limit_micros)}, of which {dollars(error.spent_micros)} is spent or held: this run would"
            f" pass it. {until}Nothing was held or charged."
        )
    if isinstance(error, ledger.TooManyOpen):
        return (
            f"{error.most:,} runs of this workspace are queued or running, which is as many as may be at once."
            " Nothing was held or charged."
        )
    if isinstance(error, predictions.IdempotencyInFlight):
        return "The same form is being taken in right now. Press Run again in a second."
    if isinstance(error, predictions.CostAboveCap):
        return (
            f"This run costs {dollars(error.quote_micros)}, above the {dollars(error.cap_micros)} that you set as the"
            " most. Nothing was held or charged."
        )
    return str(error)


def live_answer(request: HttpRequest, row: Prediction, *, of_form: bool = False) -> HttpResponse:
    """The live card of a run that was just accepted, for htmx. Of one that the form made: the form stays, and is known
    by another name from now on."""
    row = predictions.find(row.workspace, row.public_id)
    context = {"live": results.live_of(row, links=True), **acts.context(request, row)}
    if of_form:
        context |= {"once": once.new(), "is_update": True}
    response = render(request, "playground/_ran.html" if of_form else "playground/_live.html", context)
    version = "" if row.version_id == row.version.listing.default_version_id else row.version.sha256[:12]
    query = {"run": row.uid} | ({"version": version} if version else {})
    response.headers["HX-Push-Url"] = f"{results.model_url(row.model)}?{urlencode(query)}"
    response.headers["HX-Trigger"] = "balance-changed"
    return response


def _posted_to(request: HttpRequest, publisher: str, name: str) -> catalog.Callable:
    version = request.POST.get(form.VERSION, "").replace("\0", "")
    return called_of(request, publisher, name, version)


def _playground(
    request: HttpRequest,
    called: catalog.Callable,
    filled: dict[str, Any],
    *,
    shown: Prediction | None = None,
    status: int = 200,
) -> HttpResponse:
    """The whole page around a filled form."""
    context = page(request, called, "playground") | filled
    context |= {
        "live": results.live_of(shown, links=True) if shown else None,
        "runs": _strip(request, called),
        "shown": shown.uid if shown else "",
        **(acts.context(request, shown) if shown else {}),
    }
    return render(request, "playground/model.html", context, status=status)


def _shown_and_given(request: HttpRequest, called: catalog.Callable) -> tuple[Prediction | None, Given]:
    """The run that the address names, if it may be seen and is of this model, and the values of the form."""
    described = called.endpoint.input_schema
    pinned = request.GET.get("example", "")
    if pinned:
        row = predictions.example(called.listing, pinned[:64])
        if row is None:
            raise Http404("There is no such example.")
        return None, form.of_run(row, described, with_seed=True, with_files=False)
    wanted = request.GET.get("run") or request.GET.get("from") or ""
    workspace = workspace_of(request)
    if wanted and workspace is not None:
        try:
            row = predictions.find(workspace, wanted[:64])
        except predictions.NotFound:
            return None, Given()
        if row.model != called.model_id:
            return None, Given()
        given = form.from_address(request, described)
        if given.values or given.is_json:  # the form as it was left, beside the run
            return row, given
        return row, form.of_run(row, described, with_seed="from" in request.GET)
    return None, form.from_address(request, described)


def _strip(request: HttpRequest, called: catalog.Callable) -> list[results.Line]:
    workspace = workspace_of(request)
    if workspace is None:
        return []
    return results.lines(predictions.history(workspace, model=called.model_id)[:STRIP])


def _refused(
    request: HttpRequest,
    called: catalog.Callable,
    given: Given,
    *,
    status: int,
    errors: Sequence[schema.FieldError] = (),
    notice: str = "",
    shortfall: Shortfall | None = None,
    at_limit: bool = False,
) -> HttpResponse:
    filled = form.context(request, called, given, errors=errors, notice=notice, shortfall=shortfall)
    filled["at_limit"] = at_limit
    if request.headers.get("HX-Request"):
        context = page(request, called, "playground") | filled
        response = render(request, "playground/_form.html", context, status=status)
        response.headers["HX-Retarget"] = "#input"
        response.headers["HX-Reswap"] = "outerHTML"
        return response
    return _playground(request, called, filled, status=status)


def _shortfall(
    request: HttpRequest, called: catalog.Callable, given: Given, error: ledger.InsufficientCredit
) -> Shortfall:
    found = Shortfall(error.needed_micros, error.available_micros, error.held_micros)
    if not allows(request, Act.BILLING):
        return found
    where = billing.address(need_micros=found.missing, back=_as_left(request, called, given))
    return replace(found, address=where)


def _as_left(request: HttpRequest, called: catalog.Callable, given: Given) -> str:
    """The address of the form as it was left, without what is secret in it."""
    kept = form.public(called.endpoint.input_schema, given, request.POST.dict())
    if called.version.pk != called.listing.default_version_id:
        kept["version"] = called.version.sha256[:12]
    return f"{url_of(called)}?{urlencode(kept)}"


def _to_sign_in(request: HttpRequest, called: catalog.Callable, given: Given) -> HttpResponse:
    """To the sign-in page, and back to the form."""
    address = f"{reverse('account_login')}?{urlencode({'next': _as_left(request, called, given)})}"
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect(address)
