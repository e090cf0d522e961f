"""The documentation as a page, and what it shows of this installation: its address, its models, its limits."""

from __future__ import annotations

import functools
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from billing import ledger
from marketplace import catalog, schema
from marketplace.keys import SCOPES
from marketplace.models import Listing
from playground import webhooks
from playground.api.codes import CODES, FAILURES, FIELD_CODES
from playground.api.examples import PREDICTION_REQUEST, PROMPT
from playground.docs import clients, moving, recipes, reference, tried
from playground.refunds import RULES
from playground.snippets import WAIT_SECONDS, snippets
from playground.webhooks.outcome import BACKOFF

GUIDES = (
    ("quickstart", "Quickstart"),
    ("authentication", "Authentication"),
    ("waiting", "Waiting, streaming, polling"),
    ("cost", "Cost and caps"),
    ("credit", "Credit"),
    ("books", "Checking the books"),
    ("refunds", "Refunds and invoices"),
    ("idempotency", "Idempotency"),
    ("files", "Files"),
    ("lists", "Lists and pages"),
    ("limits", "Rate limits"),
    ("browsers", "Browsers"),
    ("webhooks", "Webhooks"),
    ("errors", "Errors"),
    ("clients", "Clients of other services"),
    ("moving", "Moving here"),
    ("paid", "Publishing and being paid"),
)


@require_safe
@gzip_page
def docs(request: HttpRequest) -> HttpResponse:
    """Guides, then every operation and schema of the very document that programs read."""
    every = snippets(settings.PUBLIC_URL, *first_call())
    wanted = request.GET.get("l", "")
    chosen = next((one for one in every if one["language"] == wanted), every[0])
    house = request.GET.get("c", "")
    house = house if house in clients.HOUSES else next(iter(clients.HOUSES))
    context = {
        "guides": GUIDES,
        "groups": reference.groups(),
        "snippets": every,
        "snippet": chosen,
        "reference": _reference(),
        "facts": facts(),
        "base_url": settings.PUBLIC_URL,
        "codes": [(one, reference.words(one.meaning)) for one in CODES.values()],
        "field_codes": FIELD_CODES,
        "failures": FAILURES.values(),
        "refund_rules": [(one, reference.words(one.means)) for one in RULES],
        "scopes": SCOPES,
        "verify_python": recipes.VERIFY_PYTHON,
        "verify_javascript": recipes.VERIFY_JAVASCRIPT,
        "events_javascript": recipes.EVENTS_JAVASCRIPT,
        "check_python": recipes.CHECK_PYTHON,
        "houses": clients.HOUSES,
        "house": house,
        "ways": [way for way in clients.here() if way.house == house],
        "ports": {"tls": settings.TLS_PORT, "connect": settings.CONNECT_PORT if settings.TLS_PORT else 0},
        "is_https": settings.PUBLIC_URL.startswith("https:"),
        "tried": [one for one in tried.here() if one.house == house],
        "moving": _moving(clients.HOUSES[house]),
        "head": ledger.heads().get(settings.LEDGER_BOOK, ""),
    }
    return render(request, "docs/docs.html", context)


def facts() -> dict[str, Any]:
    """Figures of this installation that the guides name."""
    return {
        "per_minute": settings.API_REQUESTS_PER_MINUTE,
        "per_minute_left": settings.API_REQUESTS_PER_MINUTE * 4 // 5,
        "max_body": settings.MAX_BODY_BYTES,
        "max_wait": WAIT_SECONDS,
        "output_days": settings.OUTPUT_DAYS,
        "input_days": settings.INPUT_DAYS,
        "upload_days": settings.UPLOAD_DAYS,
        "most_open": settings.MAX_OPEN_RUNS,
        "most_open_granted": settings.GRANTED_OPEN_RUNS,
        "free_cancels": settings.FREE_CANCELS_PER_DAY,
        "refund_days": settings.REFUND_DAYS,
        "share_percent": settings.PUBLISHER_SHARE_PERCENT,
        "payout_delay": settings.PAYOUT_DELAY_DAYS,
        "payout_day": settings.PAYOUT_DAY,
        "payout_least": settings.PAYOUT_LEAST_MICROS,
        "tries": len(BACKOFF) + 1,
        "most_webhooks": webhooks.MAX_WEBHOOKS,
    }


@functools.cache
def _reference() -> SafeString:
    """The part that only a new release changes."""
    context = {
        "groups": reference.groups(),
        "schemas": reference.schemas(),
        "permissions": reference.permissions(),
        "base_url": settings.PUBLIC_URL,
    }
    return render_to_string("docs/_reference.html", context)


@functools.cache
def _moving(house: str) -> dict[str, list[dict[str, str]]]:
    """The guide for who moves here from one of `clients.HOUSES`, its code marked as such."""
    parts = {
        "maps": moving.MAPS,
        "better": moving.BETTER,
        "ignored": (moving.IGNORED,),
        "refused": (moving.REFUSED,),
        "absent": moving.ABSENT,
        "webhooks": moving.WEBHOOKS,
    }
    return {
        name: [
            {"there": reference.words(one.there), "here": reference.words(one.here)}
            for one in said
            if one.whose in {house, "All", ""}
        ]
        for name, said in parts.items()
    }


def first_call() -> tuple[str, dict[str, Any]]:
    """A model of this installation and an input of its that runs; the one we ship, where there is none."""
    listing = catalog.listings(sort="featured").first()
    if isinstance(listing, Listing):
        called = catalog.callable_endpoint(listing.model_id, workspace=None, now=timezone.now())
        return called.model_id, schema.example(called.endpoint.input_schema)
    return PREDICTION_REQUEST["model"], {"prompt": PROMPT}
