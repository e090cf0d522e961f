"""Usage and receipts over the API."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from billing.usage import Group
from marketplace.models import Workspace
from marketplace.schema import FieldError
from playground import predictions, statements
from playground.api.authentication import caller_of
from playground.api.paging import page
from playground.api.problems import Problem, invalid
from playground.api.view import ApiView

SCOPES = {"GET": "usage:read"}


def _workspace(request: Request) -> Workspace:
    caller = caller_of(request)
    if caller is None:  # HasWorkspace lets nobody through without one
        raise Problem("not_authenticated", "Send an API key.")
    return caller.workspace


def _range(request: Request) -> statements.Range:
    query = request.query_params
    try:
        return statements.range_of(query.get("from", ""), query.get("to", ""))
    except statements.BadRange as error:
        raise invalid([FieldError(error.field, "pattern", str(error))]) from None


class Usage(ApiView):
    """`GET /api/v1/usage?from=&to=&group_by=`: what was spent, by day, model, key or member."""

    scopes = SCOPES

    def get(self, request: Request) -> Response:
        text = request.query_params.get("group_by", Group.DAY.value)
        if text not in set(Group):
            allowed = [group.value for group in Group]
            raise invalid([FieldError("group_by", "not_allowed", "is nothing to group by", allowed)])
        return Response(statements.usage_json(_workspace(request), _range(request), Group(text)))


class UsageCsv(ApiView):
    """`GET /api/v1/usage.csv?from=&to=`: every settled run of the range."""

    scopes = SCOPES

    def get(self, request: Request) -> HttpResponseBase:
        workspace, span = _workspace(request), _range(request)
        lines = statements.csv_lines(workspace, span)
        name = statements.csv_name(workspace, span)
        return StreamingHttpResponse(
            lines,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


class Receipts(ApiView):
    """`GET /api/v1/receipts`: what settled runs cost, newest first."""

    scopes = SCOPES

    def get(self, request: Request) -> Response:
        rows = statements.receipts(_workspace(request))
        return Response(page(request, rows, order=["-id"], show=statements.receipt))


class Receipt(ApiView):
    """`GET /api/v1/receipts/<prediction id>`: what one run cost, and why."""

    scopes = SCOPES

    def get(self, request: Request, prediction_id: str) -> Response:
        return Response(statements.receipt(predictions.find(_workspace(request), prediction_id)))
