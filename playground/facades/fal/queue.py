"""The queue: a run is submitted, asked after, fetched and canceled. What polls and streams the edge answers."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from playground import predictions
from playground.api.authentication import KeyAuthentication
from playground.facades.fal import asking, errors, headers
from playground.facades.fal.bearer import TokenInAddress
from playground.facades.fal.frames import States
from playground.facades.fal.view import FalView
from playground.models import Prediction


class Submit(FalView):
    """`POST /fal/queue/<owner>/<alias>`: starts a run and answers at once; `GET` takes the input as a query."""

    scopes = {"GET": "predictions:write", "POST": "predictions:write"}
    for_browsers = True
    # HEAD would be GET, and nobody who asks for headers means to pay for a run.
    http_method_names = [name for name in FalView.http_method_names if name != "head"]

    def get(self, request: Request, app: str) -> HttpResponse:
        return self.post(request, app)

    def post(self, request: Request, app: str) -> HttpResponse:
        row, ignored = asking.run_of(request, self.caller(), app)
        return self.told(row, ignored)


class Asked(FalView):
    """`GET …/requests/<id>/status` and `…/requests/<id>`: where it stands, and what it made."""

    scopes = {"GET": "predictions:read"}
    for_browsers = True

    def get(self, request: Request, app: str, request_id: str) -> HttpResponse:
        row = self.own(app, request_id)
        return self.shown(row, position=self.position(row))


class StatusStream(FalView):
    """`GET …/requests/<id>/status/stream`: where it stands, as that changes, in events."""

    authentication_classes = (TokenInAddress, KeyAuthentication)
    scopes = {"GET": "predictions:read"}
    for_browsers = True

    def get(self, request: Request, app: str, request_id: str) -> HttpResponse:
        row = self.own(app, request_id)
        states = States.of(row, self.scope, with_logs=headers.with_logs(request.query_params))
        return self.shown(row, frames=states)


class Cancel(FalView):
    """`PUT …/requests/<id>/cancel`: closes it, if it is not closed yet."""

    scopes = {"PUT": "predictions:write"}
    for_browsers = True

    def put(self, request: Request, app: str, request_id: str) -> Response:
        row = self.own(app, request_id)
        was_open = not row.is_terminal
        row = predictions.cancel(row)
        named = str(row.public_id)
        sent = {errors.ID_HEADER: named}
        if was_open and row.status == Prediction.Status.CANCELED:
            body = {"status": "CANCELLATION_REQUESTED", "request_id": named}
            return Response(body, status=202, headers=sent)
        detail = "The request is completed already."
        body = {"status": "ALREADY_COMPLETED", "request_id": named, "detail": detail, "message": detail}
        return Response(body, status=400, headers=sent)
