"""`/.well-known/jwks.json` of the rest face: the public keys that webhooks are checked with."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from playground.facades.fal import letters
from playground.facades.fal.view import FalView


class KeySet(FalView):
    """For everybody: there is nothing secret about it."""

    authentication_classes = ()
    permission_classes = ()
    scopes = {"GET": None}

    def get(self, request: Request) -> Response:
        return Response(letters.jwks(), headers={"Cache-Control": "public, max-age=3600"})
