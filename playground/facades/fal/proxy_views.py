"""The contract of @fal-ai/server-proxy: one address that stands for all of fal's, for clients that are told to use it.

What it does is `playground.facades.fal.proxy`; a request comes to a view only where it leads nowhere.
"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from playground.facades.fal.hosts import FACES
from playground.facades.fal.proxy import METHODS, TARGET_HEADER
from playground.facades.fal.view import FalView

INVALID = "Invalid request"


class Misdirected(FalView):
    """What is asked of the proxy without a target, or with one that is none of fal's: 400, as the original says it."""

    authentication_classes = ()
    permission_classes = ()
    scopes = dict.fromkeys(METHODS)

    def get(self, request: Request) -> Response:
        hosts = ", ".join(sorted(FACES))
        detail = f"Name the address in {TARGET_HEADER}: https, at one of {hosts}."
        return Response({"detail": INVALID, "message": f"{INVALID}. {detail}"}, status=400)

    post = put = get
