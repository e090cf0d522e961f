"""The sandbox's HTTP: Stripe's API at `/-/stripe/v1/…` and `/-/stripe/v2/…`, for who has this site's key."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from billing.sandbox.models import Fault
from billing.sandbox.refusals import Json, Refused


class Lost(StreamingHttpResponse):
    """An answer that begins, and then the connection breaks."""

    def __init__(self, promised: int = 4096) -> None:
        super().__init__(self._begin(), content_type="application/json")
        self["Content-Length"] = str(promised)

    def _begin(self) -> Iterator[bytes]:
        yield b"{"
        raise ConnectionAbortedError("the sandbox lost this answer on demand")


@csrf_exempt
@require_http_methods(["GET", "POST", "DELETE"])
def ask(request: HttpRequest, path: str) -> HttpResponse | StreamingHttpResponse:
    """One request of the API."""
    # Here, as the library and all that plays it are large, and only this one view needs them.
    from billing.sandbox import asking, faults, table
    from billing.sandbox import rooms as _  # noqa: F401 - registers what answers

    request_id = f"req_{getattr(request, 'request_id', '')[:24]}"
    verb, path = (request.method or "").lower(), f"/{path}"
    try:
        if not settings.STRIPE_SANDBOX:
            raise Refused("There is no sandbox here.", status=404)
        _know(request)
        given = _given(request, path)
    except Refused as refused:
        return _said(refused.status, {"error": refused.error}, request_id)
    found = table.find(verb, path)
    fault = faults.take(verb, found[0].path if found is not None else path)
    if fault is not None and fault.kind in {Fault.Kind.ERROR, Fault.Kind.BUSY}:
        return _faulty(fault, request_id)
    answer = asking.answer(
        verb,
        path,
        given,
        now=timezone.now(),
        is_text=verb != "post" or not path.startswith("/v2/"),
        account=request.headers.get("Stripe-Account") or request.headers.get("Stripe-Context") or "",
        key=request.headers.get("Idempotency-Key", ""),
        request_id=request_id,
    )
    if fault is not None:
        if fault.kind == Fault.Kind.DROP:
            return Lost()
        if fault.kind == Fault.Kind.LATE_ERROR:
            return _faulty(fault, request_id)
        time.sleep(fault.seconds)
    return _said(answer.status, answer.body, request_id, is_replayed=answer.is_replayed)


def _know(request: HttpRequest) -> None:
    """Refuse whoever does not have the key."""
    import stripe

    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    if not given:
        raise Refused("You did not provide an API key.", status=401)
    if not hmac.compare_digest(given.encode(), settings.STRIPE_SECRET_KEY.encode()):
        raise Refused(f"Invalid API Key provided: {given[:8]}****", status=401)
    version = request.headers.get("Stripe-Version", stripe.api_version)
    if version != stripe.api_version:
        raise Refused(
            f"The sandbox speaks {stripe.api_version}, not {version[:40]}.", code="sandbox_unsupported"
        )


def _given(request: HttpRequest, path: str) -> Json:
    """The parameters: from the query, a form, or JSON. Raises Refused."""
    from billing.sandbox import forms

    if request.method != "POST":
        return forms.decode(request.META.get("QUERY_STRING", ""))
    wanted = "application/json" if path.startswith("/v2/") else "application/x-www-form-urlencoded"
    if request.content_type != wanted and request.body:
        raise Refused(f"The Content-Type must be {wanted}.", status=415)
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise Refused("The body must be UTF-8.") from None
    if not path.startswith("/v2/"):
        return forms.decode(text)
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise Refused("The body is no JSON.") from None
    if not isinstance(found, dict):
        raise Refused("The body must be a JSON object.")
    return found


def _faulty(fault: Fault, request_id: str) -> HttpResponse:
    if fault.kind == Fault.Kind.BUSY:
        message = "Too many requests hit the API too quickly."
        return _said(429, {"error": {"type": "invalid_request_error", "code": "rate_limit", "message": message}},
                     request_id)  # fmt: skip
    message = "An unknown error occurred. (The sandbox was told so.)"
    return _said(500, {"error": {"type": "api_error", "message": message}}, request_id)


def _said(status: int, body: Json, request_id: str, *, is_replayed: bool = False) -> HttpResponse:
    answer = JsonResponse(body, status=status)
    answer["Request-Id"] = request_id
    answer["Cache-Control"] = "no-store"
    if is_replayed:
        answer["Idempotent-Replayed"] = "true"
    return answer
