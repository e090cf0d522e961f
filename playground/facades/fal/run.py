"""Runs that are waited for, and runs whose pictures are watched as they come. Both waits are the edge's."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from playground.api.authentication import KeyAuthentication
from playground.facades.fal import asking
from playground.facades.fal.bearer import TokenInAddress
from playground.facades.fal.frames import Pictures
from playground.facades.fal.view import FalView
from playground.facades.fal.words import SYNC_MODE


class Run(FalView):
    """`POST /fal/run/<owner>/<alias>`: starts a run and answers with what it made; `GET` takes the input as a query."""

    scopes = {"GET": "predictions:write", "POST": "predictions:write"}
    for_browsers = True
    # HEAD would be GET, and nobody who asks for headers means to pay for a run.
    http_method_names = [name for name in FalView.http_method_names if name != "head"]

    def get(self, request: Request, app: str) -> HttpResponse:
        return self.post(request, app)

    def post(self, request: Request, app: str) -> HttpResponse:
        row, ignored = asking.run_of(request, self.caller(), app)
        return self.told(row, ignored)


class Stream(FalView):
    """`POST /fal/run/<owner>/<alias>/stream`: what is seen of it so far, and last what it made, in events."""

    authentication_classes = (TokenInAddress, KeyAuthentication)
    scopes = {"POST": "predictions:write"}
    for_browsers = True

    def post(self, request: Request, app: str) -> HttpResponse:
        row, ignored = asking.run_of(request, self.caller(), app)
        if (row.asked or {}).get(SYNC_MODE):
            ignored = [
                *ignored,
                SYNC_MODE,
            ]  # an event is drawn by the loop that sends it, which reads no files
        return self.told(row, ignored, frames=Pictures.of(row))
