"""What all pages of one model share: what the address names, the head with its tabs, and the price of some values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing import pricing
from marketplace import catalog, schema
from playground import live, predictions
from playground.pages import shelf, social
from playground.pages.context import caller_of, workspace_of
from playground.pages.words import vocabulary

MAX_CARRIED = 4000  # characters of one value that an address carries from tab to tab
MAX_VERSION = 64
HOUSE, LANGUAGE = CHOICES = ("c", "l")  # of the API tab's address: whose client, and in which language


@dataclass(frozen=True, slots=True)
class Serving:
    """Whether a run would start at once. `status` is that of a pill."""

    status: str
    label: str
    detail: str
    is_possible: bool = True


@dataclass(frozen=True, slots=True)
class Tab:
    """One of a model's pages."""

    key: str
    label: str
    url: str
    count: int | None = None


def called_of(request: HttpRequest, publisher: str, name: str, version: str = "") -> catalog.Callable:
    """The model that the address names, in the version that is asked for; 404 for what may not be seen."""
    wanted = f"{publisher}/{name}" + (f":{version[:MAX_VERSION]}" if version else "")
    try:
        return catalog.callable_endpoint(wanted, workspace=workspace_of(request), now=timezone.now())
    except catalog.NotFound as error:
        raise Http404(str(error)) from None


def name_of(called: catalog.Callable) -> str:
    """How a run names it: with its version where that is not the one everybody gets."""
    is_default = called.version.pk == called.listing.default_version_id
    return called.model_id if is_default else f"{called.model_id}:{called.version.sha256}"


def url_of(called: catalog.Callable) -> str:
    return reverse("model", args=[called.listing.publisher.name, called.listing.name])


def page(request: HttpRequest, called: catalog.Callable, tab: str) -> dict[str, Any]:
    """What the head of each of the model's pages shows."""
    words = vocabulary(called.version.manifest)
    price = shelf.price_text(called.prices)
    return {
        "social": social.of_model(called.listing, price),
        "listing": called.listing,
        "called": called,
        "tab": tab,
        "tabs": _tabs(request, called),
        "price": price,
        "next_price": shelf.price_text(called.next_prices) if called.next_prices else "",
        "icon_name": shelf.icon_of(called.listing.task),
        "serving": serving(called),
        "cover": shelf.cover_of(called.listing),
        "words": words,
        "samples": shelf.samples(called.listing, words),
        "model_url": url_of(called),
        "other_version": called.version if called.version.pk != called.listing.default_version_id else None,
    }


def _tabs(request: HttpRequest, called: catalog.Callable) -> list[Tab]:
    """The tabs, which carry what stands in the address, so that a form survives a look at another one."""
    carried = carry(request.GET, {*CHOICES, *secret_fields(called)})
    here = url_of(called)
    examples = len(called.listing.examples) + called.listing.pinned.count()
    return [
        Tab("playground", "Playground", here + carried),
        Tab("api", "API", f"{here}/api{carried}"),
        Tab("examples", "Examples", f"{here}/examples{carried}", examples),
        Tab("readme", "README", f"{here}/readme{carried}"),
        Tab("versions", "Versions", f"{here}/versions{carried}", called.listing.versions.count()),
    ]


def secret_fields(called: catalog.Callable) -> list[str]:
    """The fields whose values no page and no address may repeat."""
    return [field.name for field in schema.fields(called.endpoint.input_schema) if field.control == "secret"]


def carry(values: Mapping[str, Any], leave_out: Iterable[str] = CHOICES) -> str:
    """The query of an address that keeps these values; nothing for none."""
    kept = {
        name: text for name, text in values.items() if name not in leave_out and len(str(text)) <= MAX_CARRIED
    }
    return f"?{urlencode(kept)}" if kept else ""


def serving(called: catalog.Callable) -> Serving:
    """Who would serve a run now."""
    if called.listing.is_paused:
        return Serving(
            "expired", "Paused", "Its publisher has paused it: it takes no new runs.", is_possible=False
        )
    if not called.offers:
        return Serving("expired", "Unavailable", "Nothing serves this model at present.", is_possible=False)
    engines = [
        engine
        for lane in {offer.lane for offer in called.offers}
        for engine in live.engines(lane)
        if not engine["draining"]
    ]
    if not engines:
        wait = called.endpoint.start_within_seconds
        patience = f"{wait // 60} min" if wait >= 120 else f"{wait} s"
        return Serving(
            "canceled",
            "No worker",
            f"No worker is there for it now. A run waits up to {patience} for one, and costs nothing if none comes.",
        )
    if any(called.version.sha256 in engine["loaded"] for engine in engines):
        return Serving("warm", "Warm", "Loaded: starts at once")
    return Serving("cold", "Cold", "The first run waits for the weights")


def quote(
    request: HttpRequest, called: catalog.Callable, values: Mapping[str, Any]
) -> tuple[pricing.QuoteJson | None, str]:
    """The price of `values`, or why there is none yet."""
    try:
        return predictions.quote(caller_of(request), model=name_of(called), data=values), ""
    except schema.InvalidInput as error:
        first = error.errors[0]
        return None, f"{schema.label_of(called.endpoint.input_schema, first.field)} {first.message}"
    except pricing.CannotPrice as error:
        return None, str(error)
