"""A model's other pages: how to call it, what it made, what its publisher says, how it changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from marketplace import catalog, schema
from marketplace.models import ApiKey, Listing
from marketplace.people import Act
from playground import predictions
from playground.models import Prediction
from playground.pages import form, measured, price_words, results, shelf
from playground.pages.access import allows
from playground.pages.context import workspace_of
from playground.pages.markdown import document
from playground.pages.media import Medium, media_in
from playground.pages.model import called_of, carry, name_of, page, quote, secret_fields, url_of
from playground.snippets import KEY_VARIABLE, snippets


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
def model_api(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """How to call it: snippets with the values of the form, the tables of parameters, price and limits."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    described = called.endpoint.input_schema
    given = form.from_address(request, described)
    secret = secret_fields(called)
    values = {**schema.example(described), **given.values}
    values = {name: f"[your {name}]" if name in secret else value for name, value in values.items()}
    key_hint = _key_hint(request)
    every = snippets(settings.PUBLIC_URL, name_of(called), values, key_hint or KEY_VARIABLE)
    wanted = request.GET.get("l", "")
    chosen = next((one for one in every if one["language"] == wanted), every[0])
    context = page(request, called, "api") | {
        "snippets": [(one, carry({**request.GET.dict(), "l": one["language"]}, secret)) for one in every],
        "snippet": chosen,
        "code": _with_values_marked(chosen["code"], values),
        "key_hint": key_hint,
        "inputs": schema.parameters(called.endpoint.input_schema),
        "outputs": schema.parameters(called.endpoint.output_schema),
        "base_url": settings.PUBLIC_URL,
        "price_lines": [
            {
                "unit": line.unit,
                "unit_price": line.unit_price,
                "counts": price_words.said(line.conditions, line.from_runs),
            }
            for line in called.prices
        ],
        "quote": quote(request, called, {**schema.example(described), **given.values})[0],
    }
    return render(request, "playground/model_api.html", context)


def _with_values_marked(code: str, values: Collection[str]) -> SafeString:
    """The code as HTML, in which the values of the form stand out: they are what the reader put there."""
    names = "|".join(re.escape(name) for name in values)
    if not names:
        return mark_safe(escape(code))  # noqa: S308 - escaped here
    line = re.compile(rf"^(\s+&quot;(?:{names})&quot;: )(.+?)(,?)$", re.MULTILINE)
    return mark_safe(line.sub(r'\1<span class="v">\2</span>\3', escape(code)))  # noqa: S308 - escaped before


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


def _key_hint(request: HttpRequest) -> str:
    """The public start of the workspace's newest key; nothing for visitors."""
    workspace = workspace_of(request)
    if workspace is None:
        return ""
    key = ApiKey.objects.filter(workspace=workspace, revoked_at=None).order_by("-created_at").first()
    return str(key) if key is not None else ""
