"""The operator's look at the books: the audits of the ledger, the comparisons with Stripe's lists, and what neither of
them can mend by itself."""

from __future__ import annotations

import logging
from typing import Any, cast

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing import auditor, payouts, topups
from billing.gateway import events, hosted
from billing.gateway.client import is_configured
from billing.topups import Reconciliation
from marketplace.models import User
from playground.pages.access import operators
from playground.pages.tags import dollars, thousands

log = logging.getLogger(__name__)

SHOWN = 20
ASIDE_SHOWN = 50
FOUND_SHOWN = 20  # of what one audit or comparison found
CENT_MICROS = 10_000
# What a comparison counts, in the order in which it is read; others are shown by their own names.
WORDS = {
    "payments": "payments of ours",
    "payments_mended": "of them brought up to date",
    "top_ups": "top-ups of ours",
    "top_ups_cents": "credited by them",
    "tax_cents": "tax on them",
    "fee_cents": "Stripe’s fees",
    "refunds": "refunds",
    "refunds_mended": "of them brought up to date",
    "disputes": "disputes",
    "disputes_mended": "of them brought up to date",
    "payouts": "transfers to publishers",
    "payouts_cents": "paid by them",
    "payouts_mended": "of them brought up to date",
    "arrivals_mended": "arrivals at banks brought up to date",
    "events": "events",
    "events_missed": "of them that had never come",
    "other_payments_cents": "payments that are not ours",
    "other_transfers_cents": "transfers that are not ours",
    "stripe_clearing_micros": "at Stripe, by our books",
}


@require_safe
@never_cache
@operators
def books(request: HttpRequest) -> HttpResponse:
    """The last audits and comparisons, with what they found, events that were put aside, and payouts that strayed."""
    reports = topups.reconciliations(SHOWN)
    aside = events.aside(ASIDE_SHOWN + 1)
    context = {
        "aside": aside[:ASIDE_SHOWN],
        "has_more_aside": len(aside) > ASIDE_SHOWN,
        "strays": payouts.strays(),
        "audits": auditor.recent(SHOWN),
        "newest": auditor.newest(),
        "reports": [(one, one.differences[:FOUND_SHOWN]) for one in reports],
        "figures": _figures(reports[0]) if reports else [],
        "has_stripe": is_configured(),
        "is_test": hosted.is_test(),
        "found_shown": FOUND_SHOWN,
    }
    return render(request, "console/books.html", context)


@require_POST
@never_cache
@operators
def books_run(request: HttpRequest) -> HttpResponse:
    """Have an audit or a comparison made now."""
    act = request.POST.get("act", "")
    if act == "audit":
        auditor.run_soon()
    elif act == "compare" and is_configured():
        topups.reconcile_soon()
    else:
        raise Http404("There is no such act.")
    messages.success(request, "Asked for. What it finds is shown here as soon as it is done.")
    return redirect("books")


@require_POST
@never_cache
@operators
def books_event(request: HttpRequest) -> HttpResponse:
    """Have an event that was put aside followed once more, or be done with it."""
    act, name = request.POST.get("act", ""), request.POST.get("event", "")[:255].replace("\0", "")
    do = {"again": events.again, "drop": events.drop}.get(act)
    if do is None:
        raise Http404("There is no such act.")
    if not do(name):
        messages.warning(request, "It is not put aside any more: nothing changed.")
        return redirect("books")
    log.warning("audit: %s: event %s of Stripe, %s", cast("User", request.user).email, name, act)
    if act == "again":
        messages.success(
            request, "It is followed once more. If it stays away from this page, that went well."
        )
    else:
        messages.success(request, "It is set aside for good.")
    return redirect("books")


def _figures(report: Reconciliation) -> list[tuple[str, str]]:
    """What the comparison counted, in words."""
    places = {name: place for place, name in enumerate(WORDS)}
    names = sorted(report.figures, key=lambda name: (places.get(name, len(places)), name))
    return [
        (WORDS.get(name, name.removesuffix("_cents").replace("_", " ")), _said(name, report.figures[name]))
        for name in names
    ]


def _said(name: str, value: Any) -> str:
    if name.endswith("_cents"):
        return str(dollars(int(value) * CENT_MICROS))
    if name.endswith("_micros"):
        return str(dollars(int(value)))
    return str(thousands(int(value)))
