"""The sandbox's control room: for staff, and as JSON for who has the sandbox's key."""

from __future__ import annotations

import hmac
import json
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.sandbox import control as room
from billing.sandbox.models import Fault
from playground.pages.access import operators

# What a fault can be for, as the page offers it; the API takes any operation that the library knows.
OPERATIONS = (
    ("* *", "any request"),
    ("post /v1/checkout/sessions", "opening a checkout"),
    ("post /v1/payment_intents", "charging a saved card"),
    ("post /v1/refunds", "a refund"),
    ("post /v2/core/accounts", "making a recipient"),
    ("post /v1/transfers", "a transfer"),
    ("post /v1/transfers/{id}/reversals", "taking a transfer back"),
)
REFUNDS = {"succeed": "succeed", "fail": "succeed, then fail", "pending": "stay pending"}
LABELS = {
    "webhook_delay_seconds": ("Webhooks come late", "seconds"),
    "webhook_disorder_seconds": ("… and overtake each other within", "seconds"),
    "webhook_copies": ("Each is sent", "times"),
    "settle_seconds": ("Payments can be paid out after", "seconds"),
    "payout_seconds": ("Payouts reach the bank after", "seconds"),
    "automatic_payout_seconds": ("Recipients’ money goes to the bank after", "seconds, 0 is never"),
}


@require_safe
@never_cache
@operators
def sandbox(request: HttpRequest) -> HttpResponse:
    """The modes, what is to go wrong, and the newest of everything."""
    found = room.state(now=timezone.now())
    context = {
        "state": found,
        "numbers": [
            (name, *LABELS[name], getattr(found.modes, name), most) for name, most in room.NUMBERS.items()
        ],
        "kinds": Fault.Kind.choices,
        "refunds": [(name, REFUNDS[name]) for name in room.CHOICES["refunds"]],
        "operations": OPERATIONS,
    }
    return render(request, "sandbox/control.html", context)


@require_POST
@never_cache
@operators
def act(request: HttpRequest, act: str) -> HttpResponse:
    """One act of the page."""
    try:
        if act == "modes":
            room.set_modes(**_modes(request))
            said = "The sandbox behaves so from now on."
        elif act == "fault":
            given = request.POST
            room.plan_fault(
                given.get("kind", ""),
                operation=given.get("operation", ""),
                times=_number(given.get("times", "")),
                seconds=_number(given.get("seconds", "") or "0"),
            )
            said = "It is planned."
        else:
            target, value = request.POST.get("target", ""), request.POST.get("value", "")
            said = room.do(act, target=target, value=value, now=timezone.now())
        messages.success(request, said)
    except room.Impossible as error:
        messages.error(request, str(error))
    return redirect("sandbox")


def _modes(request: HttpRequest) -> dict[str, Any]:
    given = {name: _number(request.POST[name]) for name in room.NUMBERS if name in request.POST}
    return given | {name: request.POST[name] for name in room.CHOICES if name in request.POST}


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise room.Impossible(f"{text[:20]!r} is no whole number.")
    return int(text)


@csrf_exempt
@never_cache
@require_http_methods(["GET", "POST"])
def control(request: HttpRequest) -> HttpResponse:
    """The same for programs: `{"modes": {…}, "fault": {…}, "act": "…", "target": "…", "value": "…"}`, what is
    wanted of it."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), settings.STRIPE_SECRET_KEY.encode()):
        return JsonResponse({"detail": "Send the sandbox’s key."}, status=401)
    said = ""
    if request.method == "POST":
        try:
            wanted = json.loads(request.body)
            if not isinstance(wanted, dict):
                raise TypeError
            if "modes" in wanted:
                room.set_modes(**wanted["modes"])
            if "fault" in wanted:
                room.plan_fault(**wanted["fault"])
            if "act" in wanted:
                names = ("target", "value")
                said = room.do(
                    wanted["act"], now=timezone.now(), **{one: str(wanted.get(one, "")) for one in names}
                )
        except room.Impossible as error:
            return JsonResponse({"detail": str(error)}, status=422)
        except (TypeError, ValueError, RecursionError):
            return JsonResponse({"detail": "This is not understood."}, status=400)
    return JsonResponse({**room.as_json(now=timezone.now()), "said": said})
