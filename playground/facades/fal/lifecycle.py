"""How long an uploaded file is to be kept, as fal's clients say it in one of two headers."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from rest_framework.request import Request

from playground.facades.fal import headers

HEADERS = ("X-Fal-Object-Lifecycle", "X-Fal-Object-Lifecycle-Preference")
SECONDS = "expiration_duration_seconds"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Seconds for which a file is to be kept, None for as long as uploads are; and what of it is not done."""

    seconds: int | None = None
    ignored: tuple[str, ...] = ()


def lifecycle_of(request: Request) -> Lifecycle:
    """What the request wishes. A longer life than uploads have is cut, and named in `ignored`. Raises Problem."""
    for name in HEADERS:
        if text := request.headers.get(name, ""):
            seconds = headers.lifecycle(text, name=name)
            if seconds is not None and seconds > settings.UPLOAD_DAYS * 24 * 3600:
                return Lifecycle(None, (SECONDS,))
            return Lifecycle(seconds)
    return Lifecycle()
