"""What belongs to the installation and not to a model: its health."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from playground.health import problems


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when everything works, 503 with a sentence for each thing that does not."""
    found = problems()
    if found:
        return JsonResponse({"status": "unavailable", "problems": found}, status=503)
    return JsonResponse({"status": "ok"})
