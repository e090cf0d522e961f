"""A model's other pages: what it made, what its publisher says, how it changed. How to call it is `calling`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace import catalog, schema
from marketplace.models import Listing
from marketplace.people import Act
from playground import predictions
from playground.models import Prediction
from playground.pages import form, measured, results, shelf
from playground.pages.access import allows
from playground.pages.context import workspace_of
from playground.pages.markdown import document
from playground.pages.media import Medium, media_in
from playground.pages.model import called_of, page, url_of


@dataclass(frozen=True, slots=True)
class Shown:
    """One example: what went in, what came out, and where it fills the form."""

    title: str
    facts: tuple[tuple[str, Any], ...]
    media: tuple[Medium, ...]
    picture: str
    url: str
    row: Prediction | None


@require_safe
def model_readme(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """What the publisher says about it."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    context = page(request, called, "readme") | {"readme": document(called.listing.readme)}
    return render(request, "playground/model_readme.html", context)


@require_safe
def model_examples(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """What it made of which input; each fills the form. The publisher's members order them."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    workspace = workspace_of(request)
    is_ours = workspace is not None and called.listing.publisher.workspace_id == workspace.pk
    here = url_of(called)
    shown = [_pinned(row, here) for row in predictions.examples(called.listing)]
    shown += _shipped(called.listing, called.endpoint.input_schema, here)
    context = page(request, called, "examples") | {
        "examples": shown,
        "may_pin": is_ours and allows(request, Act.PUBLISH),
    }
    return render(request, "playground/model_examples.html", context)


def _pinned(row: Prediction, here: str) -> Shown:
    return Shown(
        title=results.summary(row),
        facts=tuple(results.input_facts(row)),
        media=media_in(predictions.as_json(row)["output"]),
        picture="",
        url=f"{here}?{urlencode({'example': row.uid})}",
        row=row,
    )


def _shipped(listing: Listing, described: schema.Schema, here: str) -> list[Shown]:
    """Those of the manifest whose picture is among the static files."""
    found = []
    fields = schema.fields(described)
    for one in listing.examples:
        picture, values = shelf.static_of(one["picture"]), one["input"]
        if not picture:
            continue
        texts: Mapping[str, Any] = {
            field.name: values[field.name] for field in fields if field.name in values
        }
        title = next((value for value in texts.values() if isinstance(value, str)), "No text input")
        facts = tuple(
            (f.label, values[f.name]) for f in fields if f.name in values and values[f.name] != title
        )
        query = urlencode(form.as_query(values))
        found.append(Shown(title, facts, (), picture, f"{here}?{query}", None))
    return found


@require_safe
def model_versions(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """Its versions, what each changed, and what it cost when."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    context = page(request, called, "versions") | {
        "revisions": [
            (one, measured.visits(one.version.measurements)) for one in catalog.revisions(called.listing)
        ],
        "most_shown": catalog.MAX_REVISIONS,
    }
    return render(request, "playground/model_versions.html", context)
