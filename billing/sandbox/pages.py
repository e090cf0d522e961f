"""The pages that Stripe hosts, played: checkout, authentication, onboarding, portal, a recipient's dashboard, receipts.

Whoever has an address of one may open it, as at Stripe: each has a part that nobody can guess. They are forms and
links, and work without a script.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.sandbox import accounts, balances, cards, checkout, clockwork, customers, portal, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Json, Refused

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
COUNTRIES = {
    "AT": "Austria", "AU": "Australia", "BE": "Belgium", "CA": "Canada", "CH": "Switzerland", "DE": "Germany",
    "ES": "Spain", "FR": "France", "GB": "United Kingdom", "IE": "Ireland", "IT": "Italy", "JP": "Japan",
    "NL": "Netherlands", "PL": "Poland", "SE": "Sweden", "US": "United States",
}  # fmt: skip
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]{1,200}")
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'{more}; "
    "frame-ancestors 'none'"
)


def hosted(view: View[P]) -> View[P]:
    """A page of the sandbox: not found where there is none, or where it refuses; never kept, never framed."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not settings.STRIPE_SANDBOX or "\x00" in request.path:
            raise Http404("There is no such page.")
        try:
            return view(request, *args, **kwargs)
        except Refused:
            raise Http404("There is no such page.") from None

    return cast("View[P]", never_cache(guarded))


def leading_to(response: HttpResponse, *urls: str | None) -> HttpResponse:
    """The page's form may end at these addresses: browsers hold redirects after a form to its policy too."""
    origins = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, filter(None, urls))}
    more = "".join(f" {one}" for one in sorted(origins) if _ORIGIN.fullmatch(one))
    response["Content-Security-Policy"] = _POLICY.format(more=more)
    return response


def _said(request: HttpRequest, name: str) -> str:
    """A field as it was filled in, on one line."""
    return " ".join(request.POST.get(name, "").replace("\x00", " ").split())[:200]


# Checkout


@require_http_methods(["GET", "HEAD", "POST"])
@hosted
def pay(request: HttpRequest, session: str) -> HttpResponse:
    """The hosted checkout."""
    row = store.find(checkout.KIND, session)
    now = timezone.now()
    if row.data["status"] != "open" or row.data["expires_at"] <= now.timestamp():
        return _over(request, row)
    if request.method != "POST":
        return _checkout(request, row)
    given = _payer(request, row)
    if given.pop("wrong"):
        return _checkout(request, row, status=422)
    try:
        with store.changing():
            row = store.find(checkout.KIND, session)
            error = checkout.pay(row, now=now, **given)
    except checkout.NotOpen:
        return _over(request, store.find(checkout.KIND, session))
    if error is not None:
        return _checkout(request, row, declined=error["message"], status=422)
    intent = store.find_any(row.data["setup_intent"] or row.data["payment_intent"])
    if intent.data["status"] == "requires_action":
        return redirect("hosted-authenticate", intent.data["client_secret"])
    return HttpResponseRedirect(checkout.where_to(row))


def _payer(request: HttpRequest, row: Thing) -> Json:
    """What the form says, with what is `wrong` about it by field."""
    text = {name: _said(request, name) for name in ("card", "email", "name", "country")}
    known = row.data["customer"] or row.data["customer_email"]
    wrong = {}
    if not known or text["email"]:
        try:
            validate_email(text["email"])
        except ValidationError:
            wrong["email"] = "Enter an email address, for the receipt."
    if text["card"] not in {one.name for one in cards.OFFERED}:
        wrong["card"] = "Choose a card."
    if (text["country"] or "US") not in COUNTRIES:
        wrong["country"] = "Choose a country."
    card = cards.BY_NAME.get(f"pm_card_{text['card']}", cards.CARDS[0])
    found = {"card": card, "email": text["email"], "name": text["name"], "country": text["country"] or "US"}
    return {**found, "wrong": wrong}


def _checkout(request: HttpRequest, row: Thing, *, declined: str = "", status: int = 200) -> HttpResponse:
    posted = request.method == "POST"
    given = request.POST if posted else request.GET
    country = given.get("country", "US")
    country = country if country in COUNTRIES else "US"
    owner = Thing.objects.filter(kind="customer", name=row.data["customer"] or "").first()
    tax = checkout.tax_of(row, country)
    subtotal = row.data["amount_subtotal"]
    lines = [{**one, "amount": one["amount_subtotal"]} for one in row.hidden["lines"]]
    context = {
        "session": row.data,
        "lines": lines,
        "subtotal": subtotal,
        "tax": tax,
        "total": None if subtotal is None else subtotal + tax,
        "email": (owner.data["email"] if owner else row.data["customer_email"]) or "",
        "is_known": bool(owner or row.data["customer_email"]),
        "given": given if posted else {"card": "visa"},
        "wrong": _payer(request, row)["wrong"] if posted else {},
        "declined": declined or _last_decline(row),
        "cards": cards.OFFERED,
        "country": country,
        "countries": COUNTRIES,
        "asks_country": row.data["automatic_tax"]["enabled"]
        or row.data["billing_address_collection"] == "required",
    }
    answer = render(request, "sandbox/checkout.html", context, status=status)
    return leading_to(answer, row.data["success_url"], row.data["cancel_url"])


def _last_decline(row: Thing) -> str:
    """Why the payment before was not made, where its holder was asked on another page."""
    intent = Thing.objects.filter(name=row.data["payment_intent"] or row.data["setup_intent"] or "").first()
    data = intent.data if intent is not None else {}
    error = data.get("last_payment_error") or data.get("last_setup_error") or {}
    return str(error.get("message", ""))


def _over(request: HttpRequest, row: Thing) -> HttpResponse:
    """Paid before: on to where that leads. Over: nothing can be paid any more."""
    if row.data["status"] == "complete":
        return HttpResponseRedirect(checkout.where_to(row))
    return render(request, "sandbox/over.html", {"back": row.data["cancel_url"]}, status=410)


@require_http_methods(["GET", "HEAD", "POST"])
@hosted
def authenticate(request: HttpRequest, secret: str) -> HttpResponse:
    """The page of a bank that asks the holder of a card."""
    intent = store.find_any(secret.partition("_secret_")[0])
    if not hmac.compare_digest(str(intent.data.get("client_secret", "")).encode(), secret.encode()):
        raise Http404("There is no such page.")
    session = checkout.session_of(intent)
    if request.method == "POST":
        is_approved = request.POST.get("answer") == "approve"
        with suppress(Refused):  # nobody asks any more: a second click, or too late
            clockwork.answer_holder(intent.name, is_approved=is_approved, now=timezone.now())
        return HttpResponseRedirect(_after_holder(store.find_any(intent.name)))
    context = {
        "asks": intent.data["status"] == "requires_action",
        "amount": intent.data.get("amount"),
        "last4": _last4(intent),
        "after": _after_holder(intent),
    }
    urls = (session.data["success_url"],) if session else (intent.hidden.get("return_url"),)
    return leading_to(render(request, "sandbox/authenticate.html", context), *urls)


def _last4(intent: Thing) -> str:
    method = Thing.objects.filter(name=intent.data["payment_method"] or "").first()
    return str(method.data["card"]["last4"]) if method is not None else ""


def _after_holder(intent: Thing) -> str:
    """Where the payer goes from the bank's page."""
    session = checkout.session_of(intent)
    if session is None:
        return str(intent.hidden.get("return_url") or settings.PUBLIC_URL)
    if session.data["status"] == "open":
        return str(session.data["url"])
    return checkout.where_to(session)


# Recipients


@require_safe
@hosted
def onboarding(request: HttpRequest, token: str) -> HttpResponse:
    """An account link: it opens once, and leads to a fresh one after that."""
    with store.changing():
        link, has_opened = accounts.enter(token, now=timezone.now())
    if not has_opened:
        return HttpResponseRedirect(accounts.ways_of(link)["refresh_url"])
    return redirect("hosted-onboarding-page", link.hidden["session"])


@require_http_methods(["GET", "HEAD", "POST"])
@hosted
def onboarding_page(request: HttpRequest, session: str) -> HttpResponse:
    """What Stripe asks a recipient."""
    link = accounts.entered(session)
    if link is None:
        raise Http404("There is no such page.")
    row = accounts.find(link.data["account"])
    ways = accounts.ways_of(link)
    back = ways.get("return_url") or settings.PUBLIC_URL
    wrong = ""
    if request.method == "POST":
        name = _said(request, "name")[:100]
        is_left = request.POST.get("act") == "later"
        if not is_left and (not name or request.POST.get("terms") != "on"):
            wrong = "Say who you are and agree to the terms, or finish later."
        else:
            with store.changing():
                if not is_left:
                    outcome, bank = request.POST.get("outcome", ""), request.POST.get("bank", "")
                    accounts.onboard(row, outcome, now=timezone.now(), name=name, bank=bank)
                accounts.left(link, now=timezone.now())
            return HttpResponseRedirect(back)
    context = {
        "account": row.data,
        "name": request.POST.get("name", ""),
        "wrong": wrong,
        "outcomes": (
            ("active", "Everything is in order, at once"),
            ("pending", "Stripe looks at it, for some seconds"),
            ("restricted", "Something is still missing"),
        ),
        "banks": (("pays", "•••• 6789, takes payouts"), ("fails", "•••• 1116, closed: payouts come back")),
        "country": COUNTRIES.get(row.data["identity"]["country"], row.data["identity"]["country"]),
    }
    answer = render(request, "sandbox/onboarding.html", context, status=422 if wrong else 200)
    return leading_to(answer, back)


@require_safe
@hosted
def express(request: HttpRequest, token: str) -> HttpResponse:
    """A recipient's own dashboard."""
    row = Thing.objects.filter(kind=accounts.KIND, hidden__login=token).first()
    now = timezone.now()
    if row is None or row.hidden["login_until"] <= now.timestamp():
        raise Http404("There is no such page.")
    available, pending = balances.funds(now=now, account=row.name)
    found = Thing.objects.filter(kind="payout", account=row.name).order_by("-pk")[:50]
    context = {
        "account": row.data,
        "available": available,
        "pending": pending,
        "payouts": [{**one.data, "at": one.created_at} for one in found],
    }
    return render(request, "sandbox/express.html", context)


# Customers


@require_http_methods(["GET", "HEAD", "POST"])
@hosted
def billing(request: HttpRequest, token: str) -> HttpResponse:
    """The billing portal."""
    now = timezone.now()
    session = portal.session_of(token, now=now)
    if session is None:
        raise Http404("There is no such page.")
    owner = customers.find(session.data["customer"])
    if request.method == "POST":
        with store.changing():
            why = portal.act(owner, request.POST.get("act", ""), _said(request, "card"), now=now)
        if not why:
            return redirect("hosted-portal", token)
    else:
        why = ""
    methods = Thing.objects.filter(kind="payment_method", data__customer=owner.name).order_by("-pk")
    found = Thing.objects.filter(kind="invoice", data__customer=owner.name).order_by("-pk")[:50]
    context = {
        "owner": owner.data,
        "methods": [one.data for one in methods],
        "default": owner.data["invoice_settings"]["default_payment_method"],
        "invoices": [{**one.data, "at": one.created_at} for one in found],
        "cards": [card for card in cards.OFFERED if card.attaches],
        "back": session.data["return_url"],
        "why": why,
    }
    return render(request, "sandbox/portal.html", context, status=422 if why else 200)


@require_safe
@hosted
def receipt(request: HttpRequest, name: str) -> HttpResponse:
    """The receipt of a payment."""
    row = store.find("charge", name)
    context = {
        "title": "Receipt",
        "number": row.name,
        "at": row.created_at,
        "to": row.data["billing_details"]["email"],
        "lines": [(row.data["description"] or "Payment", row.data["amount"])],
        "total": row.data["amount"],
        "refunded": row.data["amount_refunded"],
        "card": row.data["payment_method_details"]["card"],
    }
    return render(request, "sandbox/receipt.html", context)


@require_safe
@hosted
def invoice(request: HttpRequest, name: str) -> HttpResponse:
    """A paid invoice."""
    data = store.find("invoice", name).data
    tax = data["total"] - data["total_excluding_tax"]
    lines = [(one["description"], one["amount"]) for one in data["lines"]["data"]]
    context = {
        "title": "Invoice",
        "number": data["number"],
        "at": datetime.fromtimestamp(data["created"], tz=UTC),
        "to": data["customer_name"] or data["customer_email"],
        "lines": lines,
        "tax": tax,
        "total": data["total"],
    }
    return render(request, "sandbox/receipt.html", context)
