"""A token in the address, in place of a key in a header: how a browser opens a stream by itself."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from marketplace import keys
from playground import predictions
from playground.facades.fal import tokens
from playground.facades.fal.words import app_of

TOKEN = "fal_jwt_token"  # noqa: S105 - the name of a parameter


class TokenInAddress(BaseAuthentication):
    """`?fal_jwt_token=…`, of those that `POST rest/tokens/` gives out, for the app that the address names."""

    def authenticate(self, request: Request) -> tuple[None, predictions.Caller] | None:
        text = request.query_params.get(TOKEN)
        if text is None or request.headers.get("Authorization"):
            return None
        context = request.parser_context or {}
        app = app_of(context.get("kwargs", {}).get("app", ""))
        try:
            token = tokens.opened(tokens.Purpose.REALTIME, text, origin=request.headers.get("Origin", ""))
        except keys.OriginRefused:
            raise
        except keys.InvalidKey as error:
            raise AuthenticationFailed(str(error)) from None
        if app is None or not token.opens(app.model):
            raise AuthenticationFailed("This token is not for this app.")
        return None, token.caller

    def authenticate_header(self, request: Request) -> str:
        return 'Key realm="vitrine"'
