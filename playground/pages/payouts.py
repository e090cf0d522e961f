"""How a publisher is paid: where to, when, what was paid so far; and for staff, what is to be paid by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing import earnings as books
from billing import payouts as paying
from billing.gateway import hosted
from billing.payouts import Method, Payout, PayoutAccount
from billing.payouts.find import held, under_way
from marketplace.models import Publisher, User
from marketplace.people import Act
from playground import statements
from playground.middleware import policy_with_forms_to
from playground.pages.access import member, operators, private
from playground.pages.earnings import chosen
from playground.pages.key_forms import Dollars, written
from playground.pages.tags import dollars, money

SHOWN, MONTHS_SHOWN, OF_NOBODY_SHOWN = 50, 24, 50
# What Stripe asks for, by what the names of its fields begin with; the longest that fits.
ASKED = {
    "identity": "who you are",
    "identity.individual": "your name and address",
    "identity.business_details": "your company",
    "identity.attestations": "agreeing to Stripe’s terms",
    "configuration.recipient.default_outbound_destination": "a bank account",
    "contact": "how to reach you",
}


class Wishes(forms.Form):
    """Whether payouts come by themselves, and from which amount on, in dollars."""

    automatic = forms.BooleanField(required=False)
    least = Dollars(required=False)


@require_safe
@member(Act.BILLING)
def payouts(request: HttpRequest) -> HttpResponse:
    """The whole page."""
    return _page(request)


@require_POST
@member(Act.BILLING)
def payout_request(request: HttpRequest) -> HttpResponse:
    """Pay out now what has matured."""
    publisher = _publisher(request)
    try:
        row = paying.start(publisher, by=cast("User", request.user))
    except paying.Refused as error:
        return _page(request, problem=str(error), status=409)
    messages.success(request, f"{dollars(row.amount_micros)} is on its way.")
    return _back(publisher)


@require_POST
@member(Act.BILLING)
def payout_wishes(request: HttpRequest) -> HttpResponse:
    """When payouts come by themselves."""
    publisher, form = _publisher(request), Wishes(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    try:
        paying.set_wishes(
            publisher, is_automatic=form.cleaned_data["automatic"], least_micros=form.cleaned_data["least"]
        )
    except paying.Refused:
        form.add_error("least", f"must be {money(paying.floor())} at least")
        return _page(request, form=form, status=422)
    messages.success(request, "Saved.")
    return _back(publisher)


@require_POST
@member(Act.BILLING)
def payout_method(request: HttpRequest) -> HttpResponse:
    """Be paid by the operator's hand, or through Stripe again."""
    publisher, details = _publisher(request), request.POST.get("details", "")
    try:
        paying.set_method(
            publisher,
            request.POST.get("method", "")[:20],
            bank_details=details,
            by=cast("User", request.user),
        )
    except paying.Refused as error:
        return _page(request, details=details, details_problem=str(error), status=422)
    messages.success(request, "Saved. The next payout goes there; one that is under way does not change.")
    return _back(publisher)


@require_POST
@member(Act.BILLING)
def payout_connect(request: HttpRequest) -> HttpResponse:
    """To Stripe's page, where an account is opened or finished."""
    return _to_stripe(request, lambda publisher: _link(request, publisher))


@require_safe
@never_cache
@member(Act.BILLING)
def payout_again(request: HttpRequest) -> HttpResponse:
    """Where Stripe sends whom an old link brought: a new one, for an account that was begun."""
    publisher = _publisher(request)
    if not paying.account_of(publisher).account_id:
        return _back(publisher)
    return _to_stripe(request, lambda publisher: _link(request, publisher))


@require_safe
@never_cache
@member(Act.BILLING)
def payout_return(request: HttpRequest) -> HttpResponse:
    """Where Stripe's page leads back to. That proves nothing: the account is read."""
    publisher = _publisher(request)
    account = paying.look(paying.account_of(publisher))
    if account.is_connected:
        messages.success(request, "You are set up to be paid.")
    return _back(publisher)


@require_POST
@member(Act.BILLING)
def payout_dashboard(request: HttpRequest) -> HttpResponse:
    """To the publisher's own page at Stripe."""
    return _to_stripe(request, paying.dashboard)


def _to_stripe(request: HttpRequest, where: Callable[[Publisher], str]) -> HttpResponse:
    try:
        return redirect(where(_publisher(request)))
    except paying.Refused as error:
        return _page(request, problem=str(error), status=409)
    except paying.Unavailable as error:
        return _page(request, problem=str(error), status=503)


def _link(request: HttpRequest, publisher: Publisher) -> str:
    named = urlencode({"publisher": publisher.name})
    return paying.connect(
        publisher,
        by=cast("User", request.user),
        country=request.POST.get("country", "")[:10],
        return_url=f"{settings.PUBLIC_URL}{reverse('payout-return')}?{named}",
        refresh_url=f"{settings.PUBLIC_URL}{reverse('payout-again')}?{named}",
    )


def _publisher(request: HttpRequest) -> Publisher:
    publisher, _ = chosen(request)
    if publisher is None:
        raise Http404("This workspace does not publish.")
    return publisher


def _back(publisher: Publisher) -> HttpResponse:
    return redirect(f"{reverse('payouts')}?{urlencode({'publisher': publisher.name})}")


def _page(
    request: HttpRequest,
    *,
    form: Wishes | None = None,
    details: str | None = None,
    details_problem: str = "",
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    publisher, context = chosen(request)
    if publisher is not None:
        account = paying.account_of(publisher)
        rows = paying.of(publisher, limit=SHOWN + 1)
        outlook = paying.outlook(account)
        context |= {
            "account": account,
            "outlook": outlook,
            "today": statements.today(),
            "least": paying.least(account),
            "delay_days": paying.delay(account).days,
            "floor_words": written(paying.floor()),
            **_steps(account, outlook, rows),
            "due": asked_for(account),
            "methods": paying.methods(),
            "countries": sorted(paying.COUNTRIES.items(), key=lambda one: one[1]),
            "country": request.POST.get("country", "US")[:2].upper(),
            "rows": rows[:SHOWN],
            "has_more": len(rows) > SHOWN,
            "arrivals": paying.arrivals_of(publisher, limit=12),
            "months": books.months(publisher.pk)[:MONTHS_SHOWN],
            "form": form
            or Wishes(initial={"automatic": account.is_automatic, "least": written(account.least_micros)}),
            "details": account.bank_details if details is None else details,
            "details_problem": details_problem,
        }
    context |= {"problem": problem, "is_test": hosted.is_test()}
    response = private(render(request, "publish/payouts.html", context, status=status))
    # Its forms lead to Stripe's pages: browsers look at where a form is redirected to, too.
    response.headers["Content-Security-Policy"] = policy_with_forms_to(*hosted.origins())
    return response


def _steps(account: PayoutAccount, outlook: paying.Outlook, rows: list[Payout]) -> dict[str, Any]:
    """What stands between a newcomer and the first payout: title, explanation, done. Empty once nothing does."""
    if any(row.status in {Payout.Status.PAID, Payout.Status.RETURNED} for row in rows):
        return {}
    found = outlook.balance
    has_earned = found.pending_micros + found.payable_micros + found.in_transit_micros > 0
    has_enough = outlook.amount_micros >= outlook.least_micros or found.in_transit_micros > 0
    steps = [
        ("Earn", "Somebody runs one of your models with credit that was bought.", has_earned),
        (
            "Say where the money goes",
            "Your details stay with Stripe, or with the operator.",
            account.method != Method.NONE,
        ),
        ("Be ready to be paid", "Stripe checks who you are, mostly at once.", account.is_connected),
        (
            f"Have {money(outlook.least_micros)} matured",
            "What is earned waits some days, in case the payment behind it is disputed.",
            has_enough,
        ),
    ]
    done = [is_done for _, _, is_done in steps]
    if all(done):
        return {}
    return {"steps": steps, "steps_done": sum(done), "steps_at": done.index(False)}


def asked_for(account: PayoutAccount) -> list[str]:
    """What Stripe still wants, in words."""
    found = []
    for name in account.due:
        fitting = [start for start in ASKED if str(name).startswith(start)]
        words = ASKED[max(fitting, key=len)] if fitting else str(name).rpartition(".")[2].replace("_", " ")
        if words not in found:
            found.append(words)
    return found


# For staff


@require_safe
@never_cache
@operators
def console(request: HttpRequest) -> HttpResponse:
    """Payouts that are not decided, those by hand with where they go to, those that nobody hears of, and holds."""
    return _console(request)


@require_POST
@never_cache
@operators
def console_act(request: HttpRequest) -> HttpResponse:
    """Say what became of a payout by hand, or hold a publisher's payouts back."""
    try:
        said = _act(request)
    except paying.Refused as error:
        return _console(request, problem=str(error), status=422)
    messages.success(request, said)
    return redirect("payouts-console")


def _act(request: HttpRequest) -> str:
    # The database has no room for a null character, and no name or reason has one.
    names = ("act", "payout", "publisher", "text")
    given = {name: request.POST.get(name, "")[:500].replace("\0", "") for name in names}
    by = cast("User", request.user)
    if given["act"] in {"paid", "failed"}:
        row = paying.find(given["payout"])
        if row is None:
            raise Http404("There is no such payout.")
        if given["act"] == "paid":
            is_news = paying.mark_paid(row, reference=given["text"], by=by)
        else:
            is_news = paying.mark_failed(row, given["text"], by=by)
        return (
            "Noted, and told to the publisher." if is_news else "It had been closed before: nothing changed."
        )
    publisher = Publisher.objects.filter(name=given["publisher"]).select_related("workspace").first()
    if publisher is None:
        raise paying.Refused("There is no publisher of that name.")
    if given["act"] == "hold":
        paying.hold(publisher, given["text"], by=by)
        return f"The payouts of {publisher.name} are on hold."
    if given["act"] == "lift":
        paying.lift(publisher)
        return f"The payouts of {publisher.name} go on."
    raise Http404("There is no such act.")


def _console(request: HttpRequest, *, problem: str = "", status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "by_hand": paying.open_by_hand(),
        "waiting": [row for row in under_way() if row.method != Method.MANUAL],
        "held": held(),
        "of_nobody": paying.of_nobody(limit=OF_NOBODY_SHOWN),
        "problem": problem,
        "typed": request.POST if problem else {},
    }
    return render(request, "console/payouts.html", context, status=status)
