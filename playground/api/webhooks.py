"""`/api/v1/webhooks`: who is told what happened, and what became of telling them."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.schema import FieldError
from playground import predictions, webhooks
from playground.api import examples
from playground.api.described import Answer, Operation, choice
from playground.api.paging import page
from playground.api.parsing import Nothing, WebhookChange, WebhookRequest, idempotency_key, read
from playground.api.problems import invalid
from playground.api.view import ApiView, caller
from playground.models import Delivery
from playground.models import Webhook as WebhookRow

READ, WRITE = "webhooks:read", "webhooks:write"


def _find(request: Request, webhook_id: str) -> WebhookRow:
    return webhooks.find(caller(request).workspace, webhook_id)


class Webhooks(ApiView):
    """`GET /api/v1/webhooks` lists them; `POST` makes one."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List webhooks", answers={200: Answer("WebhookPage", "A page of webhooks.")}, pages=True
        ),
        "POST": Operation(
            summary="Make a webhook",
            detail="The answer has the secret that signs its deliveries; a replay of the answer has it too.",
            body=WebhookRequest,
            body_example=examples.WEBHOOK_REQUEST,
            answers={201: Answer("Webhook", "The webhook.", ("Location", "Idempotent-Replayed"))},
            problems=("too_many",),
            once=True,
        ),
    }

    def get(self, request: Request) -> Response:
        rows = webhooks.of(caller(request).workspace)
        return Response(page(request, rows, order=["-id"], show=webhooks.as_json))

    def post(self, request: Request) -> Response:
        key, who = idempotency_key(request), caller(request)
        wanted = read(WebhookRequest, request.data)
        row, is_replay = predictions.once(
            who.workspace,
            key,
            {"make": "webhook", **wanted},
            lambda: webhooks.make(who.workspace, **wanted, by=who.user).public_id,
            lambda made: webhooks.find(who.workspace, str(made)),
        )
        body = webhooks.as_json(row, with_secret=True)
        return _made(body, body["urls"]["get"], is_replay=is_replay)


class Webhook(ApiView):
    """`GET`, `PATCH`, `DELETE /api/v1/webhooks/<id>`."""

    scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}
    described = {
        "GET": Operation(summary="Get a webhook", answers={200: Answer("Webhook", "The webhook.")}),
        "PATCH": Operation(
            summary="Change a webhook",
            detail="Fields that are left out stay. Enabling one that was disabled lets go what was held.",
            body=WebhookChange,
            body_example={"is_enabled": False},
            answers={200: Answer("Webhook", "The webhook, changed.")},
        ),
        "DELETE": Operation(
            summary="Delete a webhook",
            detail="With its log; what is on its way is given up.",
            answers={204: Answer(None, "It is gone.")},
        ),
    }

    def get(self, request: Request, webhook_id: str) -> Response:
        return Response(webhooks.as_json(_find(request, webhook_id)))

    def patch(self, request: Request, webhook_id: str) -> Response:
        row = _find(request, webhook_id)
        return Response(webhooks.as_json(webhooks.change(row, **read(WebhookChange, request.data))))

    def delete(self, request: Request, webhook_id: str) -> HttpResponse:
        webhooks.remove(_find(request, webhook_id))
        return Response(status=204)


class Rotate(ApiView):
    """`POST /api/v1/webhooks/<id>/rotate`: a new secret; the old one signs too for a day."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Replace a webhook's secret",
            detail="For a day both sign, so that you can change over without a gap.",
            body=Nothing,
            body_is_optional=True,
            answers={200: Answer("Webhook", "The webhook with its new secret.")},
        )
    }

    def post(self, request: Request, webhook_id: str) -> Response:
        row = _find(request, webhook_id)
        read(Nothing, request.data)
        return Response(webhooks.as_json(webhooks.rotate(row), with_secret=True))


class Test(ApiView):
    """`POST /api/v1/webhooks/<id>/test`: send an event that means nothing."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Send a test event",
            detail="Tried once, also while the webhook is paused.",
            body=Nothing,
            body_is_optional=True,
            answers={201: Answer("Delivery", "The delivery, about to be sent.", ("Idempotent-Replayed",))},
            once=True,
        )
    }

    def post(self, request: Request, webhook_id: str) -> Response:
        key, row = idempotency_key(request), _find(request, webhook_id)
        read(Nothing, request.data)
        delivery, is_replay = predictions.once(
            row.workspace,
            key,
            {"test": row.uid},
            lambda: webhooks.send_test(row).public_id,
            lambda made: webhooks.find_delivery(row.workspace, row, str(made)),
        )
        body = webhooks.delivery_as_json(delivery)
        return _made(body, None, is_replay=is_replay)


class Deliveries(ApiView):
    """`GET /api/v1/webhooks/<id>/deliveries`: what was sent, newest first."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="List deliveries",
            detail="Kept for thirty days.",
            answers={200: Answer("DeliveryPage", "A page of deliveries, newest first.")},
            parameters=(
                choice("status", "only these", Delivery.Status.values),
                choice("event", "only these", webhooks.EVENTS),
            ),
            pages=True,
        )
    }

    def get(self, request: Request, webhook_id: str) -> Response:
        row = _find(request, webhook_id)
        status, event = (
            _one_of(request, "status", Delivery.Status.values),
            _one_of(request, "event", webhooks.EVENTS),
        )
        rows = webhooks.deliveries(row, status=status, event=event).select_related("prediction")
        return Response(page(request, rows, order=["-id"], show=webhooks.delivery_as_json))


class Redeliver(ApiView):
    """`POST /api/v1/webhooks/<id>/deliveries/<id>/redeliver`: send it again, under the same id."""

    scopes = {"POST": WRITE}
    described = {
        "POST": Operation(
            summary="Send a delivery again",
            detail="At once and with all its tries anew; `webhook-id` stays, so that a receiver knows it.",
            body=Nothing,
            body_is_optional=True,
            answers={202: Answer("Delivery", "The delivery, about to be sent.")},
        )
    }

    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        row = _find(request, webhook_id)
        delivery = webhooks.find_delivery(row.workspace, row, delivery_id)
        read(Nothing, request.data)
        return Response(webhooks.delivery_as_json(webhooks.redeliver(delivery)), status=202)


class RequestSecret(ApiView):
    """`GET /api/v1/webhooks/request-secret`: what signs deliveries to addresses that requests name."""

    scopes = {"GET": WRITE, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="Get the request secret",
            detail="It signs deliveries to the address that a prediction's `webhook` names.",
            answers={200: Answer("Secret", "The secret.")},
        ),
        "POST": Operation(
            summary="Replace the request secret",
            detail="For a day both sign.",
            body=Nothing,
            body_is_optional=True,
            answers={200: Answer("Secret", "The new secret.")},
        ),
    }

    def get(self, request: Request) -> Response:
        return Response(webhooks.secret_as_json(webhooks.request_secret(caller(request).workspace)))

    def post(self, request: Request) -> Response:
        workspace = caller(request).workspace
        read(Nothing, request.data)
        return Response(webhooks.secret_as_json(webhooks.rotate_request_secret(workspace)))


def _one_of(request: Request, name: str, allowed: Any) -> str:
    value = str(request.query_params.get(name, ""))
    if value and value not in allowed:
        raise invalid([FieldError(name, "not_allowed", f"is no {name}", list(allowed))])
    return value


def _made(body: Any, location: str | None, *, is_replay: bool) -> Response:
    headers = {"Location": location} if location else {}
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    return Response(body, status=201, headers=headers)
