"""Usage and receipts over the API."""

from __future__ import annotations

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from billing import usage
from billing.usage import Group
from marketplace.schema import FieldError
from playground import receipts, statements
from playground.api import examples
from playground.api.described import Answer, Operation, query
from playground.api.paging import page_at_once
from playground.api.problems import invalid
from playground.api.view import ApiView, caller

SCOPES = {"GET": "usage:read"}
DAY = {"type": "string", "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"}
RANGE = (
    query("from", f"the first day of UTC; without it, {statements.DEFAULT_DAYS} days up to `to`", DAY),
    query("to", f"the last day, in it; today without it. At most {statements.MAX_DAYS} days in all", DAY),
)


def range_of(request: Request) -> statements.Range:
    """The days that `from` and `to` of a request ask for. Raises Problem."""
    query = request.query_params
    try:
        return statements.range_of(query.get("from", ""), query.get("to", ""))
    except statements.BadRange as error:
        raise invalid([FieldError(error.field, "pattern", str(error))]) from None


class Usage(ApiView):
    """`GET /api/v1/usage?from=&to=&group_by=`: what was spent, by day, model, key or member."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="Get what was spent",
            detail="Settled runs and what they were charged, summed up. A run counts on the day on which it was "
            "settled.",
            answers={200: Answer("Usage", "The sums.", example=examples.USAGE)},
            parameters=(
                *RANGE,
                query(
                    "group_by",
                    "what to sum up by",
                    {"type": "string", "enum": [one.value for one in Group], "default": Group.DAY.value},
                ),
            ),
            problems=("invalid_input",),
        )
    }

    def get(self, request: Request) -> Response:
        text = request.query_params.get("group_by", Group.DAY.value)
        if text not in set(Group):
            allowed = [group.value for group in Group]
            raise invalid([FieldError("group_by", "not_allowed", "is nothing to group by", allowed)])
        return Response(statements.usage_json(caller(request).workspace, range_of(request), Group(text)))


class UsageCsv(ApiView):
    """`GET /api/v1/usage.csv?from=&to=`: every settled run of the range."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="Get what was spent as CSV",
            detail="A line for each settled run, newest first: "
            + ", ".join(f"`{name}`" for name in statements.CSV_HEAD)
            + ".",
            answers={
                200: Answer("", "CSV (RFC 4180).", ("Content-Disposition",), media_type="text/csv"),
            },
            parameters=RANGE,
            problems=("invalid_input",),
        )
    }

    def get(self, request: Request) -> HttpResponseBase:
        workspace, span = caller(request).workspace, range_of(request)
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
    described = {
        "GET": Operation(
            summary="List receipts",
            detail="What each settled run was quoted and charged, and what was given back of it, the last settled "
            "first; of deleted runs too.",
            answers={200: Answer("ReceiptPage", "A page of receipts.")},
            pages=True,
            tag="Usage",
        )
    }

    def get(self, request: Request) -> Response:
        workspace = caller(request).workspace
        found = page_at_once(
            request,
            usage.references(workspace.pk),
            order=usage.RECENT,
            show=lambda rows: receipts.receipts(workspace, [row.reference for row in rows]),
        )
        return Response(found)


class Receipt(ApiView):
    """`GET /api/v1/receipts/<prediction id>`: what one run cost, and why."""

    scopes = SCOPES
    described = {
        "GET": Operation(
            summary="Get a receipt",
            detail="What a run was quoted, what of it was held, charged, released and given back, line by line, and "
            "why, in sentences. A receipt stays when its run is deleted, without anything of what the run was about. "
            "Two days later `version`, `offer`, `via`, `attempts`, `queued_ms`, `ran_ms` and `started_at` are null, "
            "and `lines` are those that were charged.",
            answers={200: Answer("Receipt", "The receipt.", example=examples.RECEIPT)},
            tag="Usage",
        )
    }

    def get(self, request: Request, prediction_id: str) -> Response:
        return Response(receipts.receipt(caller(request).workspace, prediction_id))
