"""Credit: buying it, the card that is saved, buying by itself, codes, refunds, and coming back from the payment."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import ledger, topups
from billing.gateway import hosted
from billing.topups import Plan, TopUp
from marketplace.models import User, Workspace
from marketplace.people import Act
from playground.middleware import policy_with_forms_to
from playground.pages import attempts
from playground.pages.access import member, own, private
from playground.pages.key_forms import Dollars, written
from playground.pages.tags import dollars

MICROS = 1_000_000
AMOUNTS = (10, 25, 100)  # dollars that one picks
OTHER = "other"
SHOWN = 50
CODES_PER_HOUR = 10  # that a workspace may try, and a person in all of theirs
REFRESH_SECONDS = 3
MAX_BACK = 4000  # characters, as an address spells them
_BACK = re.compile(r"/(?![/\\])[^\x00-\x20\\]*")  # a path of this site


class Buying(forms.Form):
    """How much credit, and whether the card is kept."""

    amount = forms.ChoiceField(choices=[(str(one), str(one)) for one in AMOUNTS] + [(OTHER, OTHER)])
    other = Dollars(required=False)
    save = forms.BooleanField(required=False)
    back = forms.CharField(required=False, max_length=2 * MAX_BACK)

    def micros(self) -> int:
        """What was chosen, in micro-dollars. Call it after `is_valid`."""
        chosen = self.cleaned_data["amount"]
        return int(self.cleaned_data["other"] or 0) if chosen == OTHER else int(chosen) * MICROS


class GoesBack(forms.Form):
    """How much of a payment goes back. `once` is of the page that it was on: a second click on the same is no second
    refund."""

    amount = Dollars()
    once = forms.UUIDField()


class Automatic(forms.Form):
    """When how much is bought by itself, in dollars."""

    below = Dollars()
    amount = Dollars()
    month = Dollars()

    def plan(self) -> Plan:
        given = self.cleaned_data
        return Plan(given["below"] or 0, given["amount"] or 0, given["month"] or 0)


@require_safe
@member(Act.BILLING)
def billing(request: HttpRequest) -> HttpResponse:
    """The whole page. `?need=` is what a run lacked, in micro-dollars, `?back=` the page to come back to."""
    return _page(request)


@require_POST
@member(Act.BILLING)
def top_up_new(request: HttpRequest) -> HttpResponse:
    """Open a payment page, and go there."""
    form = Buying(request.POST)
    if not form.is_valid():
        return _page(request, buying=form, status=422)
    try:
        row = topups.begin(
            own(request),
            form.micros(),
            by=cast("User", request.user),
            saves_card=form.cleaned_data["save"],
            back=safe_path(form.cleaned_data["back"]),
        )
    except topups.Refused as error:
        form.add_error("other" if form.cleaned_data["amount"] == OTHER else "amount", str(error))
        return _page(request, buying=form, status=422)
    except topups.Unavailable as error:
        return _page(request, buying=form, problem=str(error), status=503)
    return redirect(row.url)


@require_safe
@member(Act.BILLING)
def top_up(request: HttpRequest, topup_id: str) -> HttpResponse:
    """One payment: where its buyer comes back to. While it is undecided it looks again by itself; once it is paid, it
    goes on to where the buyer came from."""
    row = topups.look(_own(request, topup_id))
    is_fragment = request.headers.get("HX-Request") == "true"
    if row.is_paid and row.back and "paid" in request.GET:
        messages.success(
            request, f"{dollars(row.amount_micros)} of credit was added. Your form is as you left it."
        )
        if is_fragment:
            return HttpResponse(status=204, headers={"HX-Redirect": row.back})
        return redirect(row.back)
    context = {
        "row": row,
        "is_test": hosted.is_test(),
        "wants_more_looks": row.is_undecided and "left" not in request.GET,
        "refresh_seconds": REFRESH_SECONDS,
        "back": row.back,
        **_refund_of(row),
    }
    template = "dashboard/billing/_top_up.html" if is_fragment else "dashboard/billing/top_up.html"
    return private(render(request, template, context))


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.BILLING)
def top_up_refund(request: HttpRequest, topup_id: str) -> HttpResponse:
    """What can go back of a payment, and sending it."""
    row = _own(request, topup_id)
    form, problem = GoesBack(request.POST if request.method == "POST" else None), ""
    if form.is_valid():
        micros = form.cleaned_data["amount"]
        try:
            topups.refunds.start(
                row,
                micros,
                by=cast("User", request.user),
                reason="Asked for by the buyer",
                once=form.cleaned_data["once"],
            )
        except topups.Refused as error:
            problem = str(error)
        else:
            messages.success(request, f"{dollars(micros)} is on its way back to the card.")
            return redirect("topup", row.uid)
    elif form.errors:
        wrong = form.errors.get("amount")
        problem = f"The amount {wrong[0]}." if wrong else "The form was not whole. Send it again."
    can = _refund_of(row)
    typed = request.POST.get("amount", "")[:40] or written(can["refundable_micros"])
    context = {
        "row": row,
        "problem": problem,
        "typed": typed,
        "is_test": hosted.is_test(),
        "once": uuid4().hex,
    }
    return private(
        render(request, "dashboard/billing/refund.html", context | can, status=422 if problem else 200)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member(Act.BILLING)
def card(request: HttpRequest) -> HttpResponse:
    """POST: to the page where a card is saved. GET: back from there."""
    if request.method == "POST":
        return _to_stripe(request, topups.begin_card)
    saved = request.GET.get("saved", "")
    if re.fullmatch(r"cs_[A-Za-z0-9_]{4,200}", saved) and topups.look_card(own(request), saved):
        messages.success(request, "The card is saved.")
    return redirect("billing")


@require_POST
@member(Act.BILLING)
def card_remove(request: HttpRequest) -> HttpResponse:
    """Forget the saved card, here and at the payment processor."""
    try:
        if topups.forget_card(own(request)):
            messages.success(request, "The card is removed. Nothing is bought by itself any more.")
    except topups.Unavailable:
        messages.warning(
            request,
            "The card is removed here. The payment processor did not answer, so it may keep it for now: nothing is "
            "charged to it.",
        )
    return redirect("billing")


@require_POST
@member(Act.BILLING)
def portal(request: HttpRequest) -> HttpResponse:
    """To the payment processor's own page of cards, invoices and tax numbers."""
    return _to_stripe(request, topups.portal)


@require_POST
@member(Act.BILLING)
def automatic(request: HttpRequest) -> HttpResponse:
    """Turn buying by itself on with a plan, off, or let it try again after a pause."""
    workspace, act = own(request), request.POST.get("act", "")
    row = topups.automatic.known(workspace)
    if act == "off":
        topups.automatic.turn_off(workspace)
        messages.success(request, "Nothing is bought by itself from now on.")
        return redirect("billing")
    if act == "resume" and row is not None:
        topups.resume(row)
        if topups.reasons(row):
            messages.warning(request, "It goes on when the dispute is closed.")
        else:
            messages.success(request, "It tries again when credit runs low.")
        return redirect("billing")
    form = Automatic(request.POST)
    if not form.is_valid():
        return _page(request, automatic=form, status=422)
    try:
        topups.automatic.turn_on(workspace, form.plan(), by=cast("User", request.user))
    except topups.Refused as error:
        form.add_error(None, str(error))
        return _page(request, automatic=form, status=422)
    messages.success(request, "Saved. Credit is bought by itself when it runs low.")
    return redirect("billing")


@require_POST
@member(Act.BILLING)
def coupon(request: HttpRequest) -> HttpResponse:
    """Use a code."""
    workspace = own(request)
    typed = request.POST.get("code", "")[:60].strip()
    try:
        limits = {f"coupon:{workspace.pk}": CODES_PER_HOUR, f"coupon-by:{request.user.pk}": CODES_PER_HOUR}
        if not attempts.are_allowed(limits, window_seconds=3600):
            return _page(
                request, code=typed, code_problem="Too many codes were tried. Wait an hour.", status=429
            )
        given = topups.coupons.use(workspace, typed, by=cast("User", request.user))
    except attempts.CannotCount:
        return _page(
            request, code=typed, code_problem="Codes cannot be taken now. Try again soon.", status=503
        )
    except topups.Refused as error:
        return _page(request, code=typed, code_problem=str(error), status=422)
    messages.success(request, f"{dollars(given)} of credit was added.")
    return redirect("billing")


def address(*, need_micros: int = 0, back: str = "") -> str:
    """The page of credit, for somebody who lacks so much and wants to come back to `back`."""
    query = [f"need={need_micros}"] if need_micros > 0 else []
    spelled = quote(back, safe="")
    if back and len(spelled) <= MAX_BACK:
        query.append(f"back={spelled}")
    return reverse("billing") + (f"?{'&'.join(query)}" if query else "")


def safe_path(text: str) -> str:
    """A path of this site, or nothing: what else somebody put there is no place to send people to."""
    parts = urlsplit(text) if _BACK.fullmatch(text) else None
    return text if parts is not None and not parts.scheme and not parts.netloc else ""


def _page(
    request: HttpRequest,
    *,
    buying: Buying | None = None,
    automatic: Automatic | None = None,
    code: str = "",
    code_problem: str = "",
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    workspace = own(request)
    need, owed = _need(request), topups.debts.owed(workspace.pk)
    row = topups.automatic.known(workspace)
    customer = topups.customers.known(workspace)
    back = safe_path((buying.data.get("back") if buying else request.GET.get("back")) or "")
    balance = ledger.balance(workspace.pk)
    month = topups.automatic.month_micros(workspace.pk)
    rows = list(topups.of(workspace).prefetch_related("refunds", "disputes")[: SHOWN + 1])
    context: dict[str, Any] = {
        "balance": balance,
        "owed": owed,
        "amounts": [str(one) for one in AMOUNTS],
        "least": topups.least(),
        "most": topups.most(),
        "buying": buying or Buying(initial=_suggested(need + owed if need else 0, back)),
        "need": need,
        "back": back,
        "problem": problem,
        "customer": customer if customer and customer.customer_id else None,
        "auto": row,
        "pauses": topups.reasons(row) if row and row.is_on else [],
        "auto_form": automatic or Automatic(initial=_initial(row)),
        "auto_is_possible": topups.automatic.is_possible(),
        "month": ledger.Limit(row.month_micros, month, None) if row else None,
        "code": code,
        "code_problem": code_problem,
        "lines": [
            {"row": one, "can": topups.refundable(one, bought_micros=balance.bought_micros)}
            for one in rows[:SHOWN]
        ],
        "has_more": len(rows) > SHOWN,
        "is_configured": hosted.is_configured(),
        "is_test": hosted.is_test(),
        "with_tax": hosted.with_tax(),
    }
    response = private(render(request, "dashboard/billing/billing.html", context, status=status))
    # What its forms lead to: a browser looks at where a form is redirected to, too.
    response.headers["Content-Security-Policy"] = policy_with_forms_to(*hosted.origins())
    return response


def _to_stripe(request: HttpRequest, where: Callable[[Workspace], str]) -> HttpResponse:
    try:
        return redirect(where(own(request)))
    except (topups.Unavailable, topups.Refused) as error:
        status = 503 if isinstance(error, topups.Unavailable) else 409
        return _page(request, problem=str(error), status=status)


def _need(request: HttpRequest) -> int:
    text = request.POST.get("need") or request.GET.get("need", "")
    return min(int(text), topups.most()) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _suggested(need_micros: int, back: str) -> dict[str, Any]:
    """The smallest amount that is enough, where something is needed."""
    fitting = next((one for one in AMOUNTS if one * MICROS >= need_micros), None)
    if fitting is not None:
        return {"amount": str(fitting if need_micros else AMOUNTS[1]), "back": back}
    dollars_needed = -(-need_micros // MICROS)
    return {"amount": OTHER, "other": str(dollars_needed), "back": back}


def _initial(row: topups.AutoTopUp | None) -> dict[str, str]:
    if row is None:
        return {"below": "5", "amount": "25", "month": "100"}
    return {
        "below": written(row.below_micros),
        "amount": written(row.amount_micros),
        "month": written(row.month_micros),
    }


def _refund_of(row: TopUp) -> dict[str, Any]:
    bought = ledger.balance(row.workspace_id).bought_micros
    return {
        "refundable_micros": topups.refundable(row, bought_micros=bought),
        "refund_days": hosted.refund_days(),
    }


def _own(request: HttpRequest, topup_id: str) -> TopUp:
    try:
        return topups.find(own(request), topup_id[:64])
    except topups.NotFound as error:
        raise Http404(str(error)) from None
