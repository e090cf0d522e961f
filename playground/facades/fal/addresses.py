"""Where fal's faces are for who asks."""

from __future__ import annotations

from rest_framework.request import Request

from playground.facades.dialect import origin_of
from playground.facades.fal.hosts import face_at
from playground.facades.view import scope_of


def face_url(request: Request, face: str) -> str:
    """Where the caller finds a face: by its host name if they came by one, else by prefix here."""
    scheme, _, host = origin_of(scope_of(request)).partition("://")
    return face_at(scheme, host, face)
