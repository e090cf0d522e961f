"""The views of `/api/v1`: each translates in, makes one call, translates out. Waiting and streams are the edge's."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.gzip import gzip_page
from rest_framework.request import Request
from rest_framework.response import Response

from billing import ledger
from marketplace import catalog, people
from marketplace.catalog import SORTS
from marketplace.ids import encode, parse
from marketplace.schema import FieldError
from playground import predictions
from playground.api import examples, openapi, shelf, shown
from playground.api.authentication import IsAnybody
from playground.api.described import Answer, Operation, choice, header, query
from playground.api.listing import filters_of
from playground.api.paging import page
from playground.api.parsing import Nothing, PredictionRequest, QuoteRequest, idempotency_key, read
from playground.api.problems import Problem, invalid
from playground.api.view import ApiView, caller, text, workspace
from playground.models import Prediction as PredictionRow

WAIT = {"type": "integer", "minimum": 0, "maximum": 999_999}


class Models(ApiView):
    """`GET /api/v1/models`: the shelf."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}
    described = {
        "GET": Operation(
            summary="List models",
            detail="The shelf, as everybody sees it, or with a key as its workspace does.",
            answers={200: Answer("ModelPage", "A page of models.")},
            parameters=(
                query("search", "words that name, publisher and tagline must have"),
                query("task", "such as `text-to-image`"),
                query("sort", "the order", {"type": "string", "enum": list(SORTS), "default": "featured"}),
            ),
            pages=True,
        )
    }

    def get(self, request: Request) -> Response:
        asked = request.query_params
        sort = asked.get("sort", "featured")
        if sort not in SORTS:
            raise invalid([FieldError("sort", "not_allowed", "is no order of this list", list(SORTS))])
        rows = catalog.listings(
            search=text(request, "search"),
            task=text(request, "task"),
            sort=sort,
            workspace=workspace(request),
        ).prefetch_related("default_version__endpoints__prices")
        found = page(request, rows, order=SORTS[sort], show=lambda row: row)
        found["results"] = shelf.several(found["results"])
        return Response(found)


class Model(ApiView):
    """`GET /api/v1/models/<publisher>/<name>`: one model in full."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}
    described = {
        "GET": Operation(
            summary="Get a model",
            detail="Its input and output schemas, prices, limits and versions.",
            answers={200: Answer("ModelInFull", "The model.")},
        )
    }

    def get(self, request: Request, publisher: str, name: str) -> Response:
        called = catalog.callable_endpoint(
            f"{publisher}/{name}", workspace=workspace(request), now=timezone.now()
        )
        return Response(shelf.whole(called))


class ModelSchema(ApiView):
    """`GET /api/v1/models/<publisher>/<name>/schema`: the JSON Schema of one model's input."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}
    described = {
        "GET": Operation(
            summary="Get a model's input schema",
            detail="JSON Schema 2020-12 of `input`, alone: for validators and code generators.",
            answers={200: Answer("", "The schema.", media_type="application/schema+json")},
        )
    }

    def get(self, request: Request, publisher: str, name: str) -> Response:
        called = catalog.callable_endpoint(
            f"{publisher}/{name}", workspace=workspace(request), now=timezone.now()
        )
        address = request.build_absolute_uri(request.path)
        return Response(shelf.input_schema(called, address), content_type="application/schema+json")


class Quotes(ApiView):
    """`POST /api/v1/quotes`: what a run would cost."""

    scopes = {"POST": "predictions:read"}
    for_browsers = True
    described = {
        "POST": Operation(
            summary="Get a price",
            detail="What a run would cost, exactly. Holds nothing and starts nothing.",
            body=QuoteRequest,
            body_example=examples.QUOTE_REQUEST,
            answers={200: Answer("Quote", "The quote.", example=examples.QUOTE)},
            problems=("not_found", "cannot_price", "model_not_allowed"),
        )
    }

    def post(self, request: Request) -> Response:
        wanted = read(QuoteRequest, request.data)
        return Response(predictions.quote(caller(request), model=wanted["model"], data=wanted["input"]))


class Predictions(ApiView):
    """`POST /api/v1/predictions` runs a model; `GET` lists what ran: `?status=&model=&via=&from=&to=`."""

    scopes = {"GET": "predictions:read", "POST": "predictions:write"}
    for_browsers = True
    described = {
        "GET": Operation(
            summary="List predictions",
            detail="The workspace's runs, newest first.",
            answers={200: Answer("PredictionPage", "A page of predictions.")},
            parameters=(
                choice("status", "only these", PredictionRow.Status.values),
                query("model", "only runs of this model, as `publisher/name`"),
                choice("via", "only runs asked for there", PredictionRow.Via.values),
                query("from", "a date or time of UTC, ISO 8601: those made since then"),
                query("to", "a date or time of UTC, ISO 8601: those made before"),
            ),
            pages=True,
            problems=("too_broad",),
        ),
        "POST": Operation(
            summary="Run a model",
            detail="Holds the quote and queues the run. Answers at once, or with `Prefer: wait=N` at the end of the "
            "run, at the latest after N seconds. `input` is cleaned by the model's own schema: see "
            "`GET /api/v1/models/{publisher}/{name}/schema`.",
            body=PredictionRequest,
            body_example=examples.PREDICTION_REQUEST,
            answers={
                201: Answer(
                    "Prediction",
                    "The run, waiting or ended.",
                    ("Location", "Idempotent-Replayed", "Preference-Applied"),
                    examples.PREDICTION,
                )
            },
            problems=(
                *("model_not_allowed", "quota_reached", "too_many_uploads", "storage_full"),
                *("insufficient_credit", "limit_reached", "cost_above_cap", "not_found", "cannot_price"),
                *("model_unavailable", "too_many_runs"),
            ),
            parameters=(header("Prefer", "`wait=N`: wait for the end, 1 to 60 seconds", {"type": "string"}),),
            once=True,
        ),
    }

    def get(self, request: Request) -> Response:
        asking, filters = caller(request), filters_of(request)
        anchors = predictions.anchors(asking.workspace)
        if asking.key is not None and asking.key.is_publishable:
            # To it there are no runs but its own, in a cursor neither.
            filters = replace(filters, key_id=asking.key.pk)
            anchors = anchors.filter(api_key=asking.key)
        rows = predictions.matching(asking.workspace, filters).with_model()
        with predictions.bounded():
            found = page(
                request,
                rows,
                order=predictions.ORDER,
                show=predictions.as_json,
                anchors=anchors,
            )
        return Response(found)

    def post(self, request: Request) -> Response:
        key = idempotency_key(request)
        wanted = read(PredictionRequest, request.data)
        asking = caller(request).key
        if asking is not None and asking.is_publishable and wanted.get("webhook"):
            # Whoever reads the page that it lies open in could have us call whom they like.
            raise invalid([FieldError("webhook", "not_allowed", "cannot be set with a publishable key")])
        row = predictions.submit(caller(request), predictions.Request(**wanted, idempotency_key=key))
        body = shown.show(request, row).shown
        headers = {"Location": body["urls"]["get"]}
        if row.is_replay:
            headers["Idempotent-Replayed"] = "true"
        return Response(body, status=201, headers=headers)


class Prediction(ApiView):
    """`GET /api/v1/predictions/<id>`: one run, as it is now; `DELETE` hides it with its media, an open one only with
    `?cancel=true`."""

    scopes = {"GET": "predictions:read", "DELETE": "predictions:write"}
    for_browsers = True
    described = {
        "GET": Operation(
            summary="Get a prediction",
            detail="As it is now; with `wait` as it is at its end, at the latest after so many seconds. Polling is "
            "cheap, listening to its events or a webhook is cheaper.",
            answers={200: Answer("Prediction", "The run.", ("Preference-Applied",), examples.PREDICTION)},
            parameters=(query("wait", "seconds to wait for the end, 60 at most", WAIT),),
            problems=("invalid_input",),
        ),
        "DELETE": Operation(
            summary="Delete a prediction",
            detail="Hides it at once, with the media it made; a quarter of an hour later they are gone for good. What "
            "it was charged stays in the usage. Deleting it again changes nothing.",
            answers={204: Answer(None, "It is deleted.")},
            parameters=(
                query(
                    "cancel",
                    "`true` cancels it first if it is open",
                    {"type": "string", "enum": ["true", "false"]},
                ),
            ),
            problems=("prediction_open", "invalid_input"),
        ),
    }

    def get(self, request: Request, prediction_id: str) -> Response:
        wait = request.query_params.get("wait", "0")
        if not (wait.isascii() and wait.isdigit() and len(wait) < 7):
            raise invalid([FieldError("wait", "type", "must be a number of seconds", "integer")])
        asking = caller(request)
        row = predictions.find(asking.workspace, prediction_id, key=asking.key)
        return Response(shown.show(request, row).shown)

    def delete(self, request: Request, prediction_id: str) -> Response:
        asking = caller(request)
        public_id = parse(prediction_id, "p")
        if public_id is None:
            raise predictions.NotFound("There is no such prediction in this workspace.")
        if asking.key is not None and asking.key.is_publishable:
            predictions.find(asking.workspace, public_id, key=asking.key)  # it has no runs but its own
        with_cancel = request.query_params.get("cancel", "false")
        if with_cancel not in {"true", "false"}:
            raise invalid([FieldError("cancel", "not_allowed", "must be true or false", ["true", "false"])])
        predictions.delete_one(asking.workspace, public_id, by=asking.user, cancel_open=with_cancel == "true")
        return Response(status=204)


class Events(ApiView):
    """`GET /api/v1/predictions/<id>/events`: how a run goes on, as it happens. The edge answers it."""

    scopes = {"GET": "predictions:read"}
    for_browsers = True
    described = {
        "GET": Operation(
            summary="Follow a prediction",
            detail="Server-sent events, each with the whole present state: the newest at once, the end last, then the "
            "stream closes. An `EventSource` that comes back after the end gets 204 and stays away.",
            answers={
                200: Answer("Event", "Events, each with this in `data`.", media_type="text/event-stream"),
                204: Answer(None, "It has ended, and you have seen the end."),
            },
            parameters=(header("Last-Event-ID", "the `id` of the last event you have", {"type": "string"}),),
        )
    }

    def get(self, request: Request, prediction_id: str) -> Response:
        predictions.find(caller(request).workspace, prediction_id, key=caller(request).key)
        raise Problem("unavailable", "Streams are answered by the web process, not by this one.")


class Cancel(ApiView):
    """`POST /api/v1/predictions/<id>/cancel`: close it, if it is not closed yet."""

    scopes = {"POST": "predictions:write"}
    for_browsers = True
    described = {
        "POST": Operation(
            summary="Cancel a prediction",
            detail="Closes it at once; one that has ended is answered as it is. Waiting runs are free to cancel, "
            f"running ones {settings.FREE_CANCELS_PER_DAY} times a day, after that they cost their share of the steps.",
            body=Nothing,
            body_is_optional=True,
            answers={200: Answer("Prediction", "The run, closed.")},
        )
    }

    def post(self, request: Request, prediction_id: str) -> Response:
        asking = caller(request)
        row = predictions.find(asking.workspace, prediction_id, key=asking.key)
        read(Nothing, request.data)
        return Response(predictions.as_json(predictions.cancel(row)))


class Balance(ApiView):
    """`GET /api/v1/balance`: the workspace's credit."""

    scopes = {"GET": "billing:read"}
    described = {
        "GET": Operation(
            summary="Get the balance",
            answers={200: Answer("Balance", "The credit.", example=examples.BALANCE)},
        )
    }

    def get(self, request: Request) -> Response:
        payer = caller(request).workspace
        now = ledger.balance(payer.pk)
        return Response(
            {
                "workspace": payer.slug,
                "balance_micros": now.balance_micros,
                "held_micros": now.held_micros,
                "available_micros": now.available_micros,
                "granted_micros": now.granted_micros,
                "currency": "USD",
            }
        )


class Workspace(ApiView):
    """`GET /api/v1/workspace`: the workspace that the key or the person is in."""

    scopes = {"GET": "workspace:read"}
    described = {
        "GET": Operation(
            summary="Get the workspace",
            detail="Whose it is, how many people are in it, and what the caller may do. Good for a first call.",
            answers={200: Answer("Workspace", "The caller's own workspace.", example=examples.WORKSPACE)},
        )
    }

    def get(self, request: Request) -> Response:
        who = caller(request)
        counts = people.count_roles(who.workspace)
        return Response(
            {
                "id": encode(who.workspace.public_id, "ws"),
                "slug": who.workspace.slug,
                "name": who.workspace.name,
                "member_count": sum(counts.values()),
                "members": [{"role": role, "count": count} for role, count in counts.items()],
                "caller": {
                    "kind": "key" if who.key is not None else "person",
                    "scopes": list(who.key.scopes) if who.key is not None else None,
                    "role": who.role,
                },
                "created_at": who.workspace.created_at.isoformat(),
            }
        )


@method_decorator(gzip_page, name="dispatch")
class OpenApi(ApiView):
    """`GET /api/v1/openapi.json`: this document."""

    authentication_classes = ()
    permission_classes = ()
    scopes = {"GET": None}
    described = {
        "GET": Operation(summary="Get this document", answers={200: Answer("", "OpenAPI 3.1.")}, tag="About")
    }

    def get(self, request: Request) -> HttpResponse:
        headers = {"Cache-Control": "public, max-age=300"}
        return HttpResponse(openapi.as_bytes(), content_type="application/json", headers=headers)
