"""Payouts over the API: what was paid to a publisher, and asking for what has matured. Where to, people say."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from billing import payouts
from billing.payouts import Payout as PayoutRow
from marketplace.models import Publisher
from playground import predictions
from playground.api import examples
from playground.api.described import Answer, Operation
from playground.api.paging import page
from playground.api.parsing import Nothing, idempotency_key, read
from playground.api.problems import Problem
from playground.api.publishers import READ, find
from playground.api.view import ApiView, caller

WRITE = "payouts:write"


class PayoutJson(TypedDict):
    """A payout in `/api/v1`."""

    id: str
    publisher: str
    status: str
    kind: str
    method: str
    amount_micros: int
    returned_micros: int
    currency: str
    waits_for: str | None
    failure: str | None
    created_at: str
    settled_at: str | None
    urls: dict[str, str]


def as_json(publisher: Publisher, row: PayoutRow) -> PayoutJson:
    """A payout of the publisher as the API shows it: where it goes to stays with people."""
    return {
        "id": row.uid,
        "publisher": publisher.name,
        "status": row.status,
        "kind": row.kind,
        "method": row.method,
        "amount_micros": row.amount_micros,
        "returned_micros": row.returned_micros,
        "currency": "USD",
        "waits_for": row.wait or None,
        "failure": row.failure or None,
        "created_at": row.created_at.isoformat(),
        "settled_at": row.settled_at.isoformat() if row.settled_at else None,
        "urls": {
            "get": settings.PUBLIC_URL + reverse("api-payout", args=[publisher.name, row.uid]),
            "page": f"{settings.PUBLIC_URL}{reverse('payouts')}?publisher={publisher.name}",
        },
    }


def _payout(publisher: Publisher, payout_id: str) -> PayoutRow:
    row = payouts.find(payout_id)
    if row is None or row.publisher_id != publisher.pk:
        raise LookupError(f"{publisher.name} has no payout {payout_id[:40]!r}.")
    return row


class Payouts(ApiView):
    """`GET /api/v1/publishers/<name>/payouts` lists payouts, newest first; `POST` asks for one."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List payouts",
            detail="All payouts of the publisher, also those that failed or came back, newest first.",
            answers={200: Answer("PayoutPage", "A page of payouts.")},
            pages=True,
        ),
        "POST": Operation(
            summary="Ask for a payout",
            detail="All whole cents that have matured, to where the publisher is paid; people say where that is, at "
            "/publish/payouts. Refused with the reason while it cannot be: too little has matured, one is under way, "
            "no account is ready, payouts are on hold. With an `Idempotency-Key` a repeated request begins no second "
            "one.",
            body=Nothing,
            body_is_optional=True,
            answers={
                201: Answer(
                    "Payout",
                    "The payout, on its way.",
                    ("Location", "Idempotent-Replayed"),
                    example=examples.PAYOUT,
                )
            },
            once=True,
            problems=("payout_refused",),
        ),
    }

    def get(self, request: Request, publisher: str) -> Response:
        row = find(request, publisher)
        return Response(
            page(request, payouts.rows(row), order=["-created_at", "-id"], show=lambda one: as_json(row, one))
        )

    def post(self, request: Request, publisher: str) -> Response:
        repeats, who, row = idempotency_key(request), caller(request), find(request, publisher)
        read(Nothing, request.data)
        by = who.user or (who.key.created_by if who.key is not None else None)
        made, is_replay = predictions.once(
            who.workspace,
            repeats,
            {"payout": row.name},
            lambda: payouts.start(row, by=by).public_id,
            lambda known: _payout(row, str(known)),
        )
        told = as_json(row, made)
        headers = {"Location": told["urls"]["get"]} | ({"Idempotent-Replayed": "true"} if is_replay else {})
        return Response(told, status=201, headers=headers)


class Payout(ApiView):
    """`GET /api/v1/publishers/<name>/payouts/<id>`: one payout, as it is now."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="Get a payout",
            detail="`new` is on its way, and `waits_for` says what keeps it: `balance` is the platform's at Stripe, "
            "`silence` Stripe's, `held` the operator. `paid` has left; `failed` was not made, and `returned` came "
            "back: its amount is there again.",
            answers={200: Answer("Payout", "The payout.")},
        )
    }

    def get(self, request: Request, publisher: str, payout_id: str) -> Response:
        row = find(request, publisher)
        try:
            return Response(as_json(row, _payout(row, payout_id)))
        except LookupError as error:
            raise Problem("not_found", str(error)) from None
