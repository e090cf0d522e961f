"""Addresses below `/fal` that are nothing: an error as fal's clients read it, and not a page.

At rest.fal.ai there is more than its clients for programs use: what the command line tool asks for is 501 here.
"""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from playground.api.problems import Problem
from playground.facades.fal import errors
from playground.facades.fal.view import FalView

_ROOMS = {
    "workflows": "Workflows cannot be stored or run here yet.",
    "comfy": "Graphs cannot be stored or run here yet.",
    "users": "The name of a workspace is told at /fal/v1/account/billing, and its members on its pages.",
    "billing": "The balance is told at /fal/v1/account/billing?expand=credits.",
    "files": "Publishers bring models as listings here, and keep no folders; files for runs go to storage/upload.",
    "applications": "Publishers bring models as listings here, not as apps of their own code.",
}


class Nowhere(FalView):
    """Whatever is asked."""

    authentication_classes = ()
    permission_classes = ()
    scopes = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"))

    def get(self, request: Request, path: str) -> HttpResponse:
        face, _, rest = path.partition("/")
        sentence = _ROOMS.get(rest.partition("/")[0]) if face == "rest" else None
        if sentence is None:
            raise Problem("not_found", "There is nothing at this address.")
        detail = f"{sentence} Nothing was done."
        kind = "not_implemented"
        named = str(getattr(request._request, "request_id", ""))
        body = {"detail": detail, "message": detail, "error_type": kind, "code": kind, "request_id": named}
        return Response(body, status=501, headers={errors.TYPE_HEADER: kind})

    post = put = patch = delete = get
