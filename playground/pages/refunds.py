"""Giving charges back: the operator's page, and a run as the publisher of its model sees it.

A publisher sees of a run what it earned by it and how it went: neither who ran it, nor what was asked for, nor what
came out.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import receipts
from billing.receipts import Earned, dollars
from marketplace.ids import encode, parse
from marketplace.models import Publisher, User, Workspace
from marketplace.people import Act
from playground import refunds as charges
from playground.models import Prediction
from playground.pages.access import allows, member, operators
from playground.pages.context import workspace_of
from playground.pages.key_forms import Dollars, written
from playground.pages.results import milliseconds, took_ms

LATEST = 50


class GiveBack(forms.Form):
    """How much of a charge goes back, and why. `once` is of the page that it was on, so that a second click is none."""

    amount = Dollars()
    reason = forms.ChoiceField(choices=[("", ""), *charges.REASONS])
    note = forms.CharField(max_length=500, required=False)
    once = forms.UUIDField()

    def clean_amount(self) -> int:
        amount = cast("int | None", self.cleaned_data["amount"])
        if not amount:
            raise forms.ValidationError("must be more than nothing")
        return amount

    def clean_note(self) -> str:
        return str(self.cleaned_data["note"]).replace("\0", "")


@require_safe
@never_cache
@operators
def refunds(request: HttpRequest) -> HttpResponse:
    """What was given back lately, of all workspaces, and where one looks for a run."""
    asked = request.GET.get("run", "").strip()[:64]
    if asked:
        number = parse(asked, "p")
        if number is not None and receipts.earned(number) is not None:
            return redirect("refund", encode(number, "p"))
    latest = receipts.latest(LATEST)
    names = dict(
        Workspace.objects.filter(pk__in={one.workspace_id for one in latest}).values_list("pk", "name")
    )
    context = {
        "asked": asked,
        "lines": [(one, encode(one.reference, "p"), names.get(one.workspace_id, "")) for one in latest],
    }
    return render(request, "refunds/list.html", context, status=404 if asked else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@operators
def refund(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """One charge, what was given back of it, and the form that gives back more."""
    number = parse(prediction_id[:64], "p")
    charge = receipts.earned(number) if number is not None else None
    if number is None or charge is None:
        raise Http404("There is no such settled run.")
    context = {"buyer": Workspace.objects.get(pk=charge.workspace_id), "may_give_back": True}
    return _page(request, "refunds/operator.html", number, charge, None, context)


@require_safe
@never_cache
@member(Act.SEE)
def publisher_run(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """A run of one of the workspace's models, by whomever: what it earned and how it went."""
    return _publisher_page(request, prediction_id)


@require_POST
@never_cache
@member(Act.BILLING)
def publisher_refund(request: HttpRequest, prediction_id: str) -> HttpResponse:
    """Give a part of its charge back, out of what was earned."""
    return _publisher_page(request, prediction_id)


def _publisher_page(request: HttpRequest, prediction_id: str) -> HttpResponse:
    number = parse(prediction_id[:64], "p")
    found = _of_publisher(workspace_of(request), number) if number is not None else None
    if number is None or found is None:
        raise Http404("There is no such run of a model of this workspace.")
    publisher, row, charge = found
    context = {
        "publisher": publisher,
        "row": row,
        "queued_ms": milliseconds(row.created_at, row.started_at) if row else None,
        "ran_ms": took_ms(row) if row else None,
        "is_own": charge is not None and charge.workspace_id == publisher.workspace_id,
        "may_give_back": allows(request, Act.BILLING),
    }
    return _page(request, "refunds/publisher.html", number, charge, publisher, context)


def _of_publisher(
    workspace: Workspace | None, number: UUID
) -> tuple[Publisher, Prediction | None, Earned | None] | None:
    """The run of a model of the workspace, its row while that is there; of an open one there is no charge yet."""
    houses = list(Publisher.objects.filter(workspace=workspace)) if workspace is not None else []
    if not houses:
        return None
    rows = Prediction.objects.select_related("version__listing__publisher", "offer")
    row = rows.filter(public_id=number, version__listing__publisher__in=houses).first()
    if row is not None:
        return row.version.listing.publisher, row, receipts.earned(number)
    for one in houses:
        charge = receipts.earned(number, publisher_id=one.pk)
        if charge is not None:
            return one, None, charge
    return None


def _page(
    request: HttpRequest,
    template: str,
    number: UUID,
    charge: Earned | None,
    publisher: Publisher | None,
    context: dict[str, Any],
) -> HttpResponse:
    """The page, or what became of its form."""
    form, problem = GiveBack(request.POST if request.method == "POST" else None), ""
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            done = charges.give_back(
                number,
                given["amount"],
                reason=given["reason"],
                note=given["note"],
                once=given["once"],
                by=cast("User", request.user),
                publisher=publisher,
            )
        except charges.CannotRefund as error:
            problem = str(error)
        else:
            messages.success(request, f"{dollars(done.amount_micros)} was given back. The buyer is told.")
            return redirect("refund" if publisher is None else "publisher-run", encode(number, "p"))
    left, uid = charge.left_micros if charge is not None else 0, encode(number, "p")
    names = ("refund", "refund") if publisher is None else ("publisher-run", "publisher-refund")
    context |= {
        "uid": uid,
        "back": reverse(names[0], args=[uid]),
        "action": reverse(names[1], args=[uid]),
        "charge": charge,
        "lines": charge.quote.get("lines", []) if charge is not None else [],
        "form": form,
        "once": request.POST.get("once", "") if problem or form.is_bound else uuid4().hex,
        "amount": request.POST.get("amount", written(left)),
        "problem": problem,
        "reasons": charges.reasons(as_publisher=publisher is not None),
        "left_micros": left,
    }
    return render(request, template, context, status=422 if form.is_bound else 200)
