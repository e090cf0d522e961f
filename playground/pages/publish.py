"""A workspace's publisher: becoming one, what it sells, its name, closing it and opening it again."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from billing import ledger, payouts
from billing.gateway import hosted
from marketplace import catalog, people, publishers
from marketplace.models import Publisher, User
from marketplace.people import Act
from playground import departures
from playground.middleware import VitrineRequest
from playground.pages.access import allows, member, own, private
from playground.pages.earnings import chosen
from playground.pages.shelf import price_text

LISTED = 200
RAW = 200  # characters of a field that are looked at
UNFIT = {
    "null_characters_not_allowed": "has characters that no name can have",
    "max_length": "is far too long",
}


class NameForm(forms.Form):
    """The name and the display name of a publisher."""

    name = forms.CharField(max_length=RAW, required=False, error_messages=UNFIT)
    title = forms.CharField(max_length=RAW, required=False, error_messages=UNFIT)


class OpeningForm(NameForm):
    """What one says to become a publisher."""

    terms = forms.BooleanField(required=False)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.SEE)
def publish(request: HttpRequest) -> HttpResponse:
    """What publishing means and how one begins; for who publishes, what they sell."""
    publisher, context = chosen(request)
    if request.method == "POST":
        if not allows(request, Act.PUBLISHER):
            return _refused(request)
        return _open(request)
    if publisher is None:
        return _invitation(request, OpeningForm())
    return _home(request, publisher, context)


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.PUBLISHER)
def publisher_settings(request: HttpRequest) -> HttpResponse:
    """The name, as long as nothing is published under it, and the display name."""
    publisher = _publisher(request)
    form = NameForm(initial={"name": publisher.name, "title": publisher.title})
    status, problem = 200, ""
    if request.method == "POST":
        form = NameForm(request.POST)
        is_free = publishers.can_be_renamed(publisher)
        try:
            given = _texts(form)
            row = publishers.change(publisher, name=given["name"] if is_free else None, title=given["title"])
        except publishers.Invalid as error:
            _complain(form, error)
            status = 422
        except publishers.Refused as error:
            status, problem = 409, str(error)
        else:
            messages.success(request, "Saved.")
            return redirect(_address("publisher-settings", row))
    context = {
        "publisher": publisher,
        "form": form,
        "problem": problem,
        "can_be_renamed": publishers.can_be_renamed(publisher),
        "name_length": publishers.NAME_LENGTH,
        "title_length": publishers.TITLE_LENGTH,
    }
    return private(render(request, "publish/settings.html", context, status=status))


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.PUBLISHER)
def publisher_close(request: HttpRequest) -> HttpResponse:
    """What closing would do, and the act, once the name is typed."""
    publisher = _publisher(request)
    if publisher.is_closed:
        return redirect(_address("publish", publisher))
    problem = ""
    if request.method == "POST":
        if request.POST.get("name", "").strip() == publisher.name:
            publishers.close(publisher)
            messages.success(request, f"{publisher.name} is closed. What it earned is still paid.")
            return redirect(_address("publish", publisher))
        problem = "Type the name of the publisher exactly as it stands above."
    context = {"publisher": publisher, "closing": departures.preview_publisher(publisher), "problem": problem}
    return private(render(request, "publish/close.html", context, status=422 if problem else 200))


@require_POST
@member(Act.PUBLISHER)
def publisher_reopen(request: HttpRequest) -> HttpResponse:
    """Publish again; the models stay private until they are put back."""
    publisher = _publisher(request)
    try:
        is_news = publishers.reopen(publisher)
    except publishers.Refused as error:
        messages.error(request, str(error))
    else:
        if is_news:
            said = f"{publisher.name} is open. Its models are private until you change that."
            messages.success(request, said)
    return redirect(_address("publish", publisher))


def _open(request: HttpRequest) -> HttpResponse:
    form = OpeningForm(request.POST)
    try:
        given = _texts(form)
        made = publishers.found(
            own(request),
            name=given["name"],
            title=given["title"],
            agreed=bool(form.cleaned_data.get("terms")),
            by=cast("User", request.user),
        )
    except publishers.Invalid as error:
        _complain(form, error)
        return _invitation(request, form, status=422)
    except publishers.Refused as error:
        known, context = chosen(request)
        if known is not None:
            return _home(request, known, context, problem=str(error), status=409)
        return _invitation(request, form, problem=str(error), status=409)
    messages.success(request, f"{made.name} is yours.")
    return redirect(_address("publish", made))


def _invitation(
    request: HttpRequest, form: OpeningForm, *, problem: str = "", status: int = 200
) -> HttpResponse:
    usual = payouts.PayoutAccount()
    share = settings.PUBLISHER_SHARE_PERCENT
    context = {
        "form": form,
        "problem": problem,
        "may_open": allows(request, Act.PUBLISHER),
        "roles": people.who_may(Act.PUBLISHER),
        "share_percent": share,
        "fee_percent": 100 - share,
        "delay_days": payouts.delay(usual).days,
        "least_micros": payouts.least(usual),
        "payout_day": settings.PAYOUT_DAY,
        "methods": payouts.methods(),
        "terms_url": settings.PUBLISHER_TERMS_URL,
        "is_test": hosted.is_test(),
        "name_length": publishers.NAME_LENGTH,
        "title_length": publishers.TITLE_LENGTH,
    }
    return private(render(request, "publish/invitation.html", context, status=status))


def _home(
    request: HttpRequest,
    publisher: Publisher,
    context: dict[str, Any],
    *,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    rows = (
        catalog.own_listings(own(request))
        .filter(publisher=publisher)
        .prefetch_related("default_version__endpoints__prices")
        .defer("search", "readme")
    )
    context |= {
        "models": [(row, price_text(catalog.prices_now(row))) for row in rows[:LISTED]],
        "balance": ledger.publisher_balance(publisher.pk),
        "may_edit": allows(request, Act.PUBLISH),
        "may_change": allows(request, Act.PUBLISHER),
        "may_bill": allows(request, Act.BILLING),
        "fee_percent": 100 - publisher.share_percent,
        "problem": problem,
    }
    return private(render(request, "publish/home.html", context, status=status))


def _texts(form: NameForm) -> dict[str, str]:
    """What was typed. Raises publishers.Invalid where the form itself has said why it is none."""
    if not form.is_valid():
        raise publishers.Invalid([])
    return {"name": form.cleaned_data["name"], "title": form.cleaned_data["title"]}


def _complain(form: NameForm, error: publishers.Invalid) -> None:
    for one in error.errors:
        form.add_error(one.field, one.message)


def _publisher(request: HttpRequest) -> Publisher:
    publisher, _ = chosen(request)
    if publisher is None:
        raise Http404("This workspace does not publish.")
    return publisher


def _address(name: str, publisher: Publisher) -> str:
    return f"{reverse(name)}?{urlencode({'publisher': publisher.name})}"


def _refused(request: HttpRequest) -> HttpResponse:
    membership = cast("VitrineRequest", request).membership
    context = {"membership": membership or None, "roles": people.who_may(Act.PUBLISHER)}
    return render(request, "errors/role.html", context, status=403)
