"""The documentation as plain text, for programs that read: https://llmstxt.org."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.html import strip_tags
from django.views.decorators.cache import cache_control
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from marketplace import catalog
from marketplace.models import Listing
from playground.api import shelf
from playground.api.codes import CODES
from playground.docs import clients, moving, reference, tried
from playground.docs.page import facts, first_call
from playground.snippets import snippets

MAX_MODELS = 100
PLAIN = "text/plain; charset=utf-8"


@require_safe
@gzip_page
@cache_control(public=True, max_age=300)
def llms(request: HttpRequest) -> HttpResponse:
    """What this is, the API in short, the models with their prices."""
    return HttpResponse("\n".join(_short()), content_type=PLAIN)


@require_safe
@gzip_page
@cache_control(public=True, max_age=300)
def llms_full(request: HttpRequest) -> HttpResponse:
    """The same, and how clients of other services are led here, every operation with its fields, and every error."""
    return HttpResponse("\n".join([*_short(), *_clients(), *_operations(), *_errors()]), content_type=PLAIN)


def _short() -> Iterator[str]:
    url, known = settings.PUBLIC_URL, facts()
    yield "# Vitrine"
    yield ""
    yield "> Generative models behind one API and one bill: a quote before every run, charged only when it succeeds."
    yield ""
    yield f"Base address: {url}/api/v1. Send an API key as `Authorization: Bearer vt_…`. Bodies and answers are JSON;"
    yield "amounts are integer micro-dollars (`*_micros`, 1,000,000 are one US dollar); errors are problem+json with a"
    yield "stable `code`."
    yield ""
    yield '- Run a model: `POST /api/v1/predictions` with `{"model": "publisher/name", "input": {…}}`. With the'
    yield f"  header `Prefer: wait={known['max_wait']}` the answer comes at its end. Output media have a `url`."
    yield f"- Not finished yet: `GET /api/v1/predictions/{{id}}?wait={known['max_wait']}`, or server-sent events at"
    yield "  `…/{id}/events`, or a `webhook` address in the request."
    yield "- What goes in: `GET /api/v1/models/{publisher}/{name}/schema` is the JSON Schema of `input`."
    yield "- What it costs: `POST /api/v1/quotes` with the same body; `max_cost_micros` refuses a dearer run."
    yield "- Once only: an `Idempotency-Key` header makes a repeated request make nothing new."
    yield "- Too fast: 429 with `Retry-After`; `RateLimit-Remaining` says how many requests are left in the minute."
    yield ""
    yield "```sh"
    yield from snippets(url, *first_call())[0]["code"].rstrip().split("\n")
    yield "```"
    yield ""
    yield "## Documentation"
    yield ""
    yield f"- [Guides and reference]({url}/docs)"
    yield f"- [OpenAPI 3.1]({url}/api/v1/openapi.json)"
    yield f"- [All of it as text]({url}/llms-full.txt)"
    yield ""
    yield "## Models"
    yield ""
    yield from _shelf()


def _shelf() -> Iterator[str]:
    rows = catalog.listings(sort="featured").prefetch_related("default_version__endpoints__prices")
    listing: Listing
    for listing in rows[:MAX_MODELS]:
        prices = ", ".join(
            f"${line['unit_price']} per {line['unit']}{_when(line)}"
            for line in shelf.prices(catalog.prices_now(listing))
        )
        page = f"{settings.PUBLIC_URL}/m/{listing.model_id}"
        said = f" Its publisher says: {_words(listing.tagline)}" if listing.tagline else ""
        yield f"- [{listing.model_id}]({page}): Task: {listing.task}. Price: {prices}.{said}"
    yield ""


def _when(line: Mapping[str, Any]) -> str:
    after = f" after {line['from_runs']:,} runs a month" if line["from_runs"] else ""
    return f"{after} under conditions" if line["conditions"] else after


def _clients() -> Iterator[str]:
    yield "## Clients of other services"
    yield ""
    yield "They run here unchanged, with these settings, a key as their token, and `publisher/name` for the model."
    if settings.TLS_PORT:
        yield f"{settings.TLS_PORT} is TLS_PORT, whose authority is var/tls/ca.pem."
    if settings.TLS_PORT and settings.CONNECT_PORT:
        yield f"{settings.CONNECT_PORT} is CONNECT_PORT, for the machine itself alone."
    for way in clients.here():
        yield ""
        yield f"### {way.title}"
        yield ""
        yield "```"
        yield from way.code.split("\n")
        yield "```"
        yield ""
        yield way.runs + (f" It needs {way.lacks}, which is off at present." if way.lacks else "")
    yield ""
    yield "### Libraries on top of them"
    yield ""
    yield "These were tried by hand at the version that is named; no test runs them."
    yield ""
    for library in tried.here():
        yield f"- {library.library}: `{library.code}`. {library.runs}"
    yield ""
    yield "## Moving here"
    parts = (
        ("What is called how", moving.MAPS),
        ("What is better", moving.BETTER),
        ("What is ignored, and what is refused", (moving.IGNORED, moving.REFUSED)),
        ("What is not there", moving.ABSENT),
        ("Webhooks", moving.WEBHOOKS),
    )
    for title, said in parts:
        yield ""
        yield f"### {title}"
        yield ""
        for one in said:
            yield f"- {one.whose}, {one.there}: {one.here}" if one.whose else f"- {one.here}"
    yield ""


def _operations() -> Iterator[str]:
    yield "## Operations"
    for group in reference.groups():
        for op in group.operations:
            yield ""
            yield f"### {op.method} {op.path}"
            yield ""
            yield f"{op.summary}. {_line(strip_tags(op.detail))}".strip()
            if op.scope:
                yield f"Scope: `{op.scope}`{', or no key' if op.is_open else ''}."
            for field in (*op.parameters, *op.fields):
                where = f" in {field.where}" if field.where else ""
                need = ", required" if field.is_required else ""
                yield f"- `{field.name}` ({field.type}{where}{need}): {_line(strip_tags(field.description))}"
            for reply in op.replies:
                yield f"- {reply.status}: {reply.schema or reply.description}"
            yield "- Errors: " + ", ".join(op.problems)
    yield ""
    yield "## Schemas"
    for name, description, fields in reference.schemas():
        yield ""
        yield f"### {name}"
        yield ""
        yield description
        for field in fields:
            yield f"- `{field.name}` ({field.type}) {_line(strip_tags(field.description))}".rstrip()
    yield ""


def _errors() -> Iterator[str]:
    yield "## Errors"
    yield ""
    for one in CODES.values():
        yield f"- {one.status} `{one.code}`: {one.meaning}"
    yield ""


def _words(text: str) -> str:
    """What a publisher wrote, as words and nothing else: no link, no code, no emphasis, no tag."""
    return re.sub(r"([\\`*_~\[\]<>|&])", r"\\\1", "".join(one for one in _line(text) if one.isprintable()))


def _line(text: str) -> str:
    """What others wrote, as one line that cannot begin anything of its own."""
    return re.sub(r"\s+", " ", text).strip()
