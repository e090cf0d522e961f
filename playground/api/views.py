"""The views of `/api/v1`: each translates in, makes one call, translates out. Waiting and streams are the edge's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import ledger
from marketplace import catalog
from marketplace.catalog import SORTS
from marketplace.ids import parse
from marketplace.models import Workspace
from marketplace.schema import FieldError
from playground import predictions
from playground.api import shelf
from playground.api.authentication import (
    HasWorkspace,
    IsAnybody,
    KeyAuthentication,
    PerKey,
    SessionAuthentication,
    caller_of,
)
from playground.api.listing import filters_of
from playground.api.paging import page
from playground.api.parsing import (
    AlwaysJSON,
    Nothing,
    PredictionRequest,
    QuoteRequest,
    StrictJSONParser,
    idempotency_key,
    read,
)
from playground.api.problems import Problem, invalid


class ApiView(APIView):
    """What all views of the API share."""

    authentication_classes = (KeyAuthentication, SessionAuthentication)
    permission_classes: tuple[type[BasePermission], ...] = (HasWorkspace,)
    throttle_classes = (PerKey,)
    parser_classes = (StrictJSONParser,)
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    scopes: dict[str, str] = {}
    for_browsers = False  # whether publishable keys may come here, which see nothing but their own runs

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "chunked" in request.headers.get("Transfer-Encoding", "").lower() and not request.headers.get(
            "Content-Length"
        ):
            raise Problem("length_required", "Send the body with a Content-Length, not in chunks.")

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response.headers.setdefault("Cache-Control", "no-store")
        return super().finalize_response(request, response, *args, **kwargs)


def _caller(request: Request) -> predictions.Caller:
    caller = caller_of(request)
    if caller is None:  # HasWorkspace lets nobody through without one
        raise Problem("not_authenticated", "Send an API key.")
    return caller


def _workspace(request: Request) -> Workspace | None:
    caller = caller_of(request)
    return caller.workspace if caller is not None else None


def _text(request: Request, name: str) -> str:
    """A text of the query; a null character, which the database cannot hold, matches nothing."""
    return str(request.query_params.get(name, "")).replace("\0", "\ufffd")


class Models(ApiView):
    """`GET /api/v1/models`: the shelf."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        query = request.query_params
        sort = query.get("sort", "featured")
        if sort not in SORTS:
            raise invalid([FieldError("sort", "not_allowed", "is no order of this list", list(SORTS))])
        rows = catalog.listings(
            search=_text(request, "search"),
            task=_text(request, "task"),
            sort=sort,
            workspace=_workspace(request),
        ).prefetch_related("default_version__endpoints__prices")
        return Response(page(request, rows, order=SORTS[sort], show=shelf.short))


class Model(ApiView):
    """`GET /api/v1/models/<publisher>/<name>`: one model in full."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request, publisher: str, name: str) -> Response:
        called = catalog.callable_endpoint(
            f"{publisher}/{name}", workspace=_workspace(request), now=timezone.now()
        )
        return Response(shelf.whole(called))


class Quotes(ApiView):
    """`POST /api/v1/quotes`: what a run would cost."""

    scopes = {"POST": "predictions:read"}
    for_browsers = True

    def post(self, request: Request) -> Response:
        wanted = read(QuoteRequest, request.data)
        return Response(predictions.quote(_caller(request), model=wanted["model"], data=wanted["input"]))


class Predictions(ApiView):
    """`POST /api/v1/predictions` runs a model; `GET` lists what ran: `?status=&model=&via=&from=&to=`."""

    scopes = {"GET": "predictions:read", "POST": "predictions:write"}
    for_browsers = True

    def get(self, request: Request) -> Response:
        caller = _caller(request)
        workspace, filters = caller.workspace, filters_of(request)
        if caller.key is not None and caller.key.is_publishable:
            filters = replace(filters, key_id=caller.key.pk)
        rows = predictions.matching(workspace, filters).with_model()
        with predictions.bounded():
            found = page(
                request,
                rows,
                order=predictions.ORDER,
                show=predictions.as_json,
                anchors=predictions.anchors(workspace),
            )
        return Response(found)

    def post(self, request: Request) -> Response:
        key = idempotency_key(request)
        wanted = read(PredictionRequest, request.data)
        row = predictions.submit(_caller(request), predictions.Request(**wanted, idempotency_key=key))
        body = predictions.as_json(row)
        headers = {"Location": body["urls"]["get"]}
        if row.is_replay:
            headers["Idempotent-Replayed"] = "true"
        return Response(body, status=201, headers=headers)


class Prediction(ApiView):
    """`GET /api/v1/predictions/<id>`: one run, as it is now; `DELETE` hides it with its media, an open one only with
    `?cancel=true`."""

    scopes = {"GET": "predictions:read", "DELETE": "predictions:write"}
    for_browsers = True

    def get(self, request: Request, prediction_id: str) -> Response:
        caller = _caller(request)
        row = predictions.find(caller.workspace, prediction_id, key=caller.key)
        return Response(predictions.as_json(row))

    def delete(self, request: Request, prediction_id: str) -> Response:
        caller = _caller(request)
        public_id = parse(prediction_id, "p")
        if public_id is None:
            raise predictions.NotFound("There is no such prediction in this workspace.")
        if caller.key is not None and caller.key.is_publishable:
            predictions.find(caller.workspace, public_id, key=caller.key)  # it has no runs but its own
        with_cancel = request.query_params.get("cancel") == "true"
        predictions.delete_one(caller.workspace, public_id, by=caller.user, cancel_open=with_cancel)
        return Response(status=204)


class Cancel(ApiView):
    """`POST /api/v1/predictions/<id>/cancel`: close it, if it is not closed yet."""

    scopes = {"POST": "predictions:write"}
    for_browsers = True

    def post(self, request: Request, prediction_id: str) -> Response:
        caller = _caller(request)
        row = predictions.find(caller.workspace, prediction_id, key=caller.key)
        read(Nothing, request.data)
        return Response(predictions.as_json(predictions.cancel(row)))


class Balance(ApiView):
    """`GET /api/v1/balance`: the workspace's credit."""

    scopes = {"GET": "billing:read"}

    def get(self, request: Request) -> Response:
        caller = _caller(request)
        now = ledger.balance(caller.workspace.pk)
        return Response(
            {
                "workspace": caller.workspace.slug,
                "balance_micros": now.balance_micros,
                "held_micros": now.held_micros,
                "available_micros": now.available_micros,
                "granted_micros": now.granted_micros,
                "currency": "USD",
            }
        )
