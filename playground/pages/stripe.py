"""Where Stripe, or the sandbox in its place, tells what happened."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.gateway import events

log = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Keep one event. The body is taken as it came: its signature is over these very bytes."""
    try:
        is_new = events.receive(request.body, request.headers.get("Stripe-Signature", ""))
    except events.Refused as error:
        log.warning("a webhook was refused: %s", error)
        return HttpResponse("Refused.\n", status=400, content_type="text/plain")
    return HttpResponse("Kept.\n" if is_new else "Known.\n", content_type="text/plain")
