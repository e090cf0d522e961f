"""Credit over the API: what there is, what was bought, and pages where people buy more. No program pays."""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import ledger, topups
from billing.gateway import hosted
from playground import predictions
from playground.api.described import Answer, Operation
from playground.api.paging import page
from playground.api.parsing import MICROS_MAXIMUM, Whole, idempotency_key, read
from playground.api.view import ApiView, caller

READ, WRITE = "billing:read", "billing:write"
CENT_MICROS = 10_000
EXAMPLE = {"amount_micros": 25_000_000}


class TopUpRequest(serializers.Serializer[Any]):
    """The body of `POST /api/v1/billing/topups`."""

    amount_micros = Whole(
        min_value=1, max_value=MICROS_MAXIMUM, help_text="the credit, in whole cents: a multiple of 10,000"
    )


class TopUpJson(TypedDict):
    """A top-up in `/api/v1`."""

    id: str
    kind: str
    status: str
    amount_micros: int
    paid_micros: int
    tax_micros: int
    refunded_micros: int
    disputed_micros: int
    currency: str
    failure: dict[str, str] | None
    created_at: str
    settled_at: str | None
    expires_at: str
    urls: dict[str, str | None]


def as_json(row: topups.TopUp) -> TopUpJson:
    """A top-up as the API shows it."""
    is_payable = row.status == topups.TopUp.Status.OPEN
    return {
        "id": row.uid,
        "kind": row.kind,
        "status": row.status,
        "amount_micros": row.amount_micros,
        "paid_micros": row.paid_cents * CENT_MICROS,
        "tax_micros": row.tax_cents * CENT_MICROS,
        "refunded_micros": row.refunded_micros,
        "disputed_micros": row.disputed_micros,
        "currency": "USD",
        "failure": {"code": row.failure_code, "message": row.failure} if row.failure_code else None,
        "created_at": row.created_at.isoformat(),
        "settled_at": row.settled_at.isoformat() if row.settled_at else None,
        "expires_at": row.expires_at.isoformat(),
        "urls": {
            "get": settings.PUBLIC_URL + reverse("api-topup", args=[row.uid]),
            "page": settings.PUBLIC_URL + reverse("topup", args=[row.uid]),
            "pay": row.url or None if is_payable else None,
            "invoice": row.invoice_url or None,
        },
    }


class Billing(ApiView):
    """`GET /api/v1/billing`: credit, the saved card, and buying by itself."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="Get credit and how it comes in",
            detail="What can be spent, the saved card as it is printed, and whether credit is bought by itself.",
            answers={200: Answer("Billing", "The workspace's credit.")},
            tag="Billing",
        )
    }

    def get(self, request: Request) -> Response:
        workspace = caller(request).workspace
        now = ledger.balance(workspace.pk)
        card = topups.customers.known(workspace)
        auto = topups.automatic.known(workspace)
        told: dict[str, Any] = {
            "available_micros": now.available_micros,
            "bought_micros": now.bought_micros,
            "granted_micros": now.granted_micros,
            "held_micros": now.held_micros,
            "owed_micros": topups.debts.owed(workspace.pk),
            "currency": "USD",
            "least_micros": topups.least(),
            "most_micros": topups.most(),
            "is_test": hosted.is_test(),
            "card": None,
            "automatic": None,
        }
        if card is not None and card.has_card:
            told["card"] = {
                "brand": card.card_brand,
                "last4": card.card_last4,
                "exp_month": card.card_month,
                "exp_year": card.card_year,
            }
        if auto is not None:
            told["automatic"] = {
                "is_on": auto.is_on,
                "below_micros": auto.below_micros,
                "amount_micros": auto.amount_micros,
                "month_micros": auto.month_micros,
                "bought_this_month_micros": topups.automatic.month_micros(workspace.pk),
                "paused": next(iter(topups.reasons(auto)), None),
            }
        return Response(told)


class TopUps(ApiView):
    """`GET /api/v1/billing/topups` lists what was bought, newest first; `POST` opens a page where more is bought."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List top-ups",
            detail="Payments for credit, also those that failed or were left, newest first.",
            answers={200: Answer("TopUpPage", "A page of top-ups.")},
            pages=True,
            tag="Billing",
        ),
        "POST": Operation(
            summary="Open a payment page",
            detail="Nothing is charged by this: a person pays at `urls.pay`. Poll the top-up, or take the webhook "
            "`credit.added`, to know when its credit is there. With an `Idempotency-Key` a repeated request has the "
            "same page.",
            body=TopUpRequest,
            body_example=EXAMPLE,
            answers={201: Answer("TopUp", "The top-up, to be paid.", ("Location", "Idempotent-Replayed"))},
            once=True,
            problems=("topup_refused",),
            tag="Billing",
        ),
    }

    def get(self, request: Request) -> Response:
        rows = topups.of(caller(request).workspace)
        return Response(page(request, rows, order=["-created_at", "-id"], show=as_json))

    def post(self, request: Request) -> Response:
        repeats, who = idempotency_key(request), caller(request)
        given = read(TopUpRequest, request.data)

        def make() -> UUID:
            return topups.attempt(who.workspace, given["amount_micros"], by=who.user).public_id

        row, is_replay = predictions.once(
            who.workspace,
            repeats,
            {"make": "topup", **given},
            make,
            lambda made: topups.find(who.workspace, str(made)),
        )
        told = as_json(topups.open_page(row))
        headers = {"Location": str(told["urls"]["get"])} | (
            {"Idempotent-Replayed": "true"} if is_replay else {}
        )
        return Response(told, status=201, headers=headers)


class TopUp(ApiView):
    """`GET /api/v1/billing/topups/<id>`: one top-up, as it is now."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="Get a top-up",
            answers={200: Answer("TopUp", "The top-up.")},
            tag="Billing",
        )
    }

    def get(self, request: Request, topup_id: str) -> Response:
        return Response(as_json(topups.find(caller(request).workspace, topup_id)))
