"""What the platform API of fal has and this server has not: each room says what is there in its place."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from playground.api.authentication import IsAnybody
from playground.api.problems import Problem
from playground.facades.fal.platform.asked import PlatformView

_ROOMS = {
    "workflows": "Workflows cannot be stored or run here yet.",
    "assets": "Collections, tags and characters are not here yet; stored files are at /api/v1/assets.",
    "storage": "Of storage, only files/acl, files/sign and reading the settings are here.",
    "serverless": "Publishers bring models as listings here, not as apps of their own code.",
    "compute": "No machines are rented out here.",
    "organization": "A workspace is on its own here; its usage is at /v1/models/usage.",
    "account": "Of the account, only /v1/account/billing is here.",
}


class NotHere(PlatformView):
    """Whatever is asked of a room that is not here: 501, and of what is no room 404."""

    permission_classes = (IsAnybody,)
    scopes = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"))

    def get(self, request: Request, path: str) -> Response:
        path = path.rstrip("/")
        room = path if path in _ROOMS else path.partition("/")[0]
        if room not in _ROOMS:
            raise Problem("not_found", f"There is nothing at /v1/{path[:200]}.")
        return not_here(request, _ROOMS[room])

    post = put = patch = delete = get


def not_here(request: Request, sentence: str) -> Response:
    """501 with a sentence, in the platform's envelope."""
    kind = "not_implemented"
    named = str(getattr(request._request, "request_id", ""))
    told = {"type": kind, "message": f"{sentence} Nothing was done.", "code": kind, "request_id": named}
    return Response({"error": told}, status=501)
