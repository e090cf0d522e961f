"""The API tab of a model: the run of its form as a program of each house, then the words of the model itself."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from marketplace import catalog, schema
from marketplace.models import ApiKey
from playground import assets
from playground.calling.house import Asked, files_in
from playground.calling.houses import offered
from playground.docs.reference import words
from playground.pages import form, price_words
from playground.pages.context import workspace_of
from playground.pages.model import HOUSE, LANGUAGE, called_of, carry, name_of, page, quote, secret_fields
from playground.snippets import KEY_VARIABLE


@require_safe
def model_api(request: HttpRequest, publisher: str, name: str) -> HttpResponse:
    """How to call it: programs with the values of the form, the tables of parameters, price and limits."""
    called = called_of(request, publisher, name, request.GET.get("version", ""))
    described = called.endpoint.input_schema
    given = form.from_address(request, described)
    secret = secret_fields(called)
    values = {**schema.example(described), **given.values}
    values = {name: f"[your {name}]" if name in secret else value for name, value in values.items()}
    key_hint = _key_hint(request)
    asked = _asked(request, called, values, key_hint or KEY_VARIABLE)
    houses = offered(asked)
    house = next((one for one in houses if one.name == request.GET.get(HOUSE)), houses[0])
    programs = house.programs(asked)
    program = next((one for one in programs if one.language == request.GET.get(LANGUAGE)), programs[0])
    here = {**request.GET.dict(), HOUSE: house.name, LANGUAGE: program.language}
    context = page(request, called, "api") | {
        "houses": [(one, carry({**here, HOUSE: one.name}, secret)) for one in houses],
        "house": house,
        "programs": [(one, carry({**here, LANGUAGE: one.language}, secret)) for one in programs],
        "program": program,
        "is_ours": house is houses[0],
        "reply": words(house.reply),
        "code": _with_values_marked(program.code, program.words),
        "missing_files": [schema.label_of(described, one) for one in asked.missing_files],
        "is_lent": _is_lent(asked, program.code),
        "key_hint": key_hint,
        "inputs": schema.parameters(described),
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


def _asked(request: HttpRequest, called: catalog.Callable, values: dict[str, Any], key: str) -> Asked:
    asked = Asked(
        base=settings.PUBLIC_URL,
        model=name_of(called),
        task=called.endpoint.task,
        input_schema=called.endpoint.input_schema,
        output_schema=called.endpoint.output_schema,
        values=values,
        key=key,
    )
    own = {str(file): form.own_asset(request, file) for file in files_in(asked.given) if ":" not in file}
    addresses = {
        uid: settings.PUBLIC_URL + assets.address(asset) for uid, asset in own.items() if asset is not None
    }
    return replace(asked, files=addresses)


def _is_lent(asked: Asked, code: str) -> bool:
    """Whether the program reads a file at an address that ends."""
    return any(address in code for address in asked.files.values())


def _with_values_marked(code: str, names: Collection[str]) -> SafeString:
    """The code as HTML, in which the values of the form stand out: they are what the reader put there."""
    known = "|".join(re.escape(escape(name)) for name in sorted(names))
    if not known:
        return escape(code)
    line = re.compile(
        rf"^(\s+(?:&quot;(?:{known})&quot;: |(?:{known})(?:=|: )))(.*[^\[{{(\n,])(,?)$", re.MULTILINE
    )
    return mark_safe(line.sub(r'\1<span class="v">\2</span>\3', escape(code)))  # noqa: S308 - escaped before


def _key_hint(request: HttpRequest) -> str:
    """The public start of the workspace's newest key; nothing for visitors."""
    workspace = workspace_of(request)
    if workspace is None:
        return ""
    key = ApiKey.objects.filter(workspace=workspace, revoked_at=None).order_by("-created_at").first()
    return str(key) if key is not None else ""
