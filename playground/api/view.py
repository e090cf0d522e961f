"""What all views of the API share: who calls, what they may, how often, and that every answer says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.models import Workspace
from playground import predictions
from playground.api import rates
from playground.api.authentication import (
    HasWorkspace,
    KeyAuthentication,
    SessionAuthentication,
    caller_of,
    counted_as,
)
from playground.api.described import Described
from playground.api.parsing import AlwaysJSON, StrictJSONParser
from playground.api.problems import RETRY_SECONDS, Problem

UNREAD_KEY = (
    "vitrine.unread"  # in the scope of a request whose body the edge did not read, as nobody answered for it
)
_SOON = {"Retry-After": str(RETRY_SECONDS)}


class ApiView(APIView):
    """One address of the API.

    `scopes` names for each method the scope that a key needs, or None where any valid key will do; a test finds the
    method that is missing there. `described` gives the documentation what the code does not say.
    """

    authentication_classes: tuple[type[BaseAuthentication], ...] = (KeyAuthentication, SessionAuthentication)
    permission_classes: tuple[type[BasePermission], ...] = (HasWorkspace,)
    throttle_classes = ()
    parser_classes: tuple[type[BaseParser], ...] = (StrictJSONParser,)
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    scopes: ClassVar[Mapping[str, str | None]] = {}
    schema: Described | None = Described()
    is_counted: ClassVar[bool] = True
    for_browsers: ClassVar[bool] = (
        False  # whether publishable keys may come here, which see nothing but their own runs
    )
    _rate: rates.Rate | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Counted before anything is refused, so that guessing keys is held up too, and every answer can say the count.
        self._count(request)
        super().initial(request, *args, **kwargs)
        if getattr(request._request, "scope", {}).get(UNREAD_KEY):
            # Between two looks at it the key came to be. Without its body the request means something else.
            raise Problem("unavailable", "Your key is known only now. Send the request again.", headers=_SOON)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        return Response(status=204, headers={"Allow": ", ".join(self.allowed_methods)})

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        for name, value in rates.headers(self._rate).items():
            response.headers[name] = value
        return super().finalize_response(request, response, *args, **kwargs)

    def _count(self, request: Request) -> None:
        if not self.is_counted:
            return
        refused: APIException | None = None
        try:
            request.auth  # noqa: B018 - authenticates; DRF raises what it finds the first time only
        except APIException as error:
            refused = error
        self._rate = rates.take(counted_as(request))
        if self._rate is not None and self._rate.is_over:
            raise rates.throttled(self._rate)
        if refused is not None:
            raise refused


def caller(request: Request) -> predictions.Caller:
    """Who calls, where somebody must."""
    found = caller_of(request)
    if found is None:  # HasWorkspace lets nobody through without one
        raise Problem("not_authenticated", "Send an API key.")
    return found


def workspace(request: Request) -> Workspace | None:
    """The caller's workspace; None for visitors."""
    found = caller_of(request)
    return found.workspace if found is not None else None


def text(request: Request, name: str) -> str:
    """A text of the query; a null character, which the database cannot hold, matches nothing."""
    return str(request.query_params.get(name, "")).replace("\0", "\ufffd")
