"""Invoices over the API."""

from __future__ import annotations

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from playground import invoices
from playground.api import examples
from playground.api.described import Answer, Operation
from playground.api.view import ApiView, caller

SCOPES = {"GET": "usage:read"}


class Invoices(ApiView):
    """`GET /api/v1/invoices`: the months of the workspace in short, newest first."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="List invoices",
            detail="The months in which something was used or given back, and the present one, newest first and all "
            "of them on one page. A month gets its `number` when it is over; the present one is as it is so far.",
            answers={200: Answer("InvoicePage", "The months.")},
            tag="Usage",
        )
    }

    def get(self, request: Request) -> Response:
        found = invoices.listed(caller(request).workspace)
        return Response({"results": found, "next": None, "previous": None})


class Invoice(ApiView):
    """`GET /api/v1/invoices/<YYYY-MM>`: one month by model, unit and price, and the credit before and after."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="Get an invoice",
            detail="A month, named like `2026-11`, of UTC: what was charged by model, unit and price, what else came "
            "into the credit or went out of it, and the credit before and after, exact to the micro-dollar. A month "
            "that is over never changes; what is given back later stands in the month in which it is.",
            answers={200: Answer("Invoice", "The month.", example=examples.INVOICE)},
            tag="Usage",
        )
    }

    def get(self, request: Request, month: str) -> Response:
        workspace = caller(request).workspace
        return Response(invoices.as_json(workspace, invoices.invoice(workspace, month)))


class InvoicePdf(ApiView):
    """`GET /api/v1/invoices/<YYYY-MM>/pdf`: the same on paper."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="Get an invoice as PDF",
            detail="The same, on pages of A4.",
            answers={200: Answer("", "A PDF.", ("Content-Disposition",), media_type="application/pdf")},
            tag="Usage",
        )
    }

    def get(self, request: Request, month: str) -> HttpResponseBase:
        workspace = caller(request).workspace
        shown = invoices.invoice(workspace, month)
        name = invoices.file_name(workspace, shown)
        return HttpResponse(
            invoices.drawn(workspace, shown),
            content_type="application/pdf",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
