"""One run for whoever has its link: making and ending the link, and what it opens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from marketplace import catalog, schema
from marketplace.models import User
from marketplace.people import Act
from playground import assets
from playground.models import Asset, Prediction, Share
from playground.pages import results, social
from playground.pages.access import member
from playground.pages.media import Medium, of_asset
from playground.pages.runs import SHARE_SPANS, own_run
from playground.predictions import share as sharing

MEDIA_SECONDS = (
    600  # for which an address of a shared medium opens: as long as one outlives its link, at most
)
SIMPLE = {
    "number",
    "slider",
    "seed",
    "segments",
    "select",
    "checkbox",
}  # controls of values that tell nothing of who
MAX_PROMPT = 2000


@require_POST
@member(Act.RUN)
def share(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Make the run's link, or give it another end."""
    row = own_run(request, prediction_id)
    days = request.POST.get("days", "")
    ends = timezone.now() + timedelta(days=int(days)) if days and days in dict(SHARE_SPANS) else None
    try:
        sharing.share(row, by=cast("User", request.user), expires_at=ends)
    except sharing.CannotShare as error:
        messages.error(request, str(error))
    return redirect(f"{reverse('prediction', args=[row.uid])}#share")


@require_POST
@member(Act.RUN)
def revoke(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """End the run's link for good."""
    row = own_run(request, prediction_id)
    if sharing.revoke(row):
        messages.success(request, "The link is revoked: it opens nothing any more.")
    return redirect(f"{reverse('prediction', args=[row.uid])}#share")


@require_safe
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """What was made, the words it was made of and the model; nothing of who made it, when, or for how much."""
    link = _opened(token)
    row = link.prediction
    media = [_medium(link, asset, number) for number, asset in enumerate(results.media_of(row), 1)]
    model = _model(row)
    context = {
        "media": media,
        "prompt": _prompt(row),
        "facts": _facts(row),
        "social": social.of_shared(token, _prompt(row), model["listing"], media),
        **model,
    }
    return _private(render(request, "playground/shared.html", context))


@require_safe
def shared_media(request: HttpRequest, token: str, number: int) -> HttpResponse:
    """The way to one medium of a shared run, for downloads and social cards: it opens as long as the link does."""
    link = _opened(token)
    media = results.media_of(link.prediction)
    if not 1 <= number <= len(media):
        raise Http404("There is no such medium.")
    address = assets.address(media[number - 1], lifetime_seconds=_seconds_left(link))
    return _private(redirect(f"{address}?download" if "download" in request.GET else address))


def _opened(token: str) -> Share:
    link = sharing.opened(token)
    if link is None:
        raise Http404("This link opens nothing.")
    return link


def _private(response: HttpResponse) -> HttpResponse:
    """Not for search engines, not for caches, and the address is told to no other site."""
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _medium(link: Share, asset: Asset, number: int) -> Medium:
    """One medium of the page: its addresses open for minutes, its link as long as the page does."""
    seconds = _seconds_left(link)
    return of_asset(
        asset,
        url=assets.address(asset, lifetime_seconds=seconds),
        poster=assets.thumbnail_address(asset, lifetime_seconds=seconds) if asset.thumbnail_name else "",
        link=reverse("shared-media", args=[link.token, number]),
    )


def _seconds_left(link: Share) -> int:
    """For how long an address of a medium opens: never beyond the end of the link."""
    if link.expires_at is None:
        return MEDIA_SECONDS
    return min(MEDIA_SECONDS, max(1, int((link.expires_at - timezone.now()).total_seconds())))


def _prompt(row: Prediction) -> str:
    prompt = schema.redact(row.endpoint.input_schema, row.input).get("prompt")
    return prompt[:MAX_PROMPT] if isinstance(prompt, str) else ""


def _values(row: Prediction) -> dict[str, tuple[str, Any]]:
    """The values that may be shown to anybody, by field: numbers, choices and switches; no other text, no file."""
    values = schema.redact(row.endpoint.input_schema, row.input)
    return {
        field.name: (field.label, values[field.name])
        for field in schema.fields(row.endpoint.input_schema)
        if field.control in SIMPLE and isinstance(values.get(field.name), str | int | float)
    }


def _facts(row: Prediction) -> list[tuple[str, Any]]:
    return [(label, _said(value)) for label, value in _values(row).values()]


def _said(value: Any) -> Any:
    return {True: "Yes", False: "No"}[value] if isinstance(value, bool) else value


def _model(row: Prediction) -> dict[str, Any]:
    """The model and a form of it filled with these values, if others can see that, on the shelf or by its address."""
    try:
        listing = catalog.listing(row.model)
    except catalog.NotFound:
        return {"listing": None, "make_url": ""}
    filled = {name: _text(value) for name, (_, value) in _values(row).items()}
    prompt = _prompt(row)
    query = urlencode({**({"prompt": prompt} if prompt else {}), **filled})
    return {"listing": listing, "make_url": f"{results.model_url(row.model)}?{query}"}


def _text(value: Any) -> str:
    """A value as the form takes it from an address."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
