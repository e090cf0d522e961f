"""`POST rest/tokens/`: a token for a browser or a socket, in place of a key."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from playground.api.key_bodies import Texts
from playground.api.parsing import Whole, read
from playground.api.view import caller
from playground.facades.fal import tokens
from playground.facades.fal.view import FalView

SECONDS: dict[str, Any] = {
    "min_value": 1,
    "max_value": tokens.REALTIME_MAXIMUM,
    "default": tokens.REALTIME_SECONDS,
}


class Wanted(serializers.Serializer[Any]):
    """The body, as the clients send it."""

    allowed_apps = Texts()
    token_expiration = Whole(**SECONDS)


class WantedRealtime(serializers.Serializer[Any]):
    """The body, as the later documentation has it."""

    allowed_apps = Texts()
    duration = Whole(**SECONDS)


class Tokens(FalView):
    """`POST rest/tokens/`: a token for some apps, by alias or whole id, alone in the answer."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request) -> Response:
        wanted = read(Wanted, request.data)
        return Response(_token(request, wanted["allowed_apps"], wanted["token_expiration"]), status=201)


class RealtimeTokens(FalView):
    """`POST rest/tokens/realtime`: the same in an object."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request) -> Response:
        wanted = read(WantedRealtime, request.data)
        token = _token(request, wanted["allowed_apps"], wanted["duration"])
        return Response({"token": token}, status=201)


def _token(request: Request, apps: list[str], seconds: int) -> str:
    key = caller(request).key
    assert key is not None  # no session comes here
    return tokens.issue(tokens.Purpose.REALTIME, key, seconds=seconds, apps=apps)[0]
