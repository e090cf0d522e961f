"""Publishers over the API: opening one, its names, what it earns by day and by month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, TypedDict

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import earnings as books
from billing import ledger, payouts
from billing.earnings import Earned, Group
from billing.months import following
from marketplace import publishers
from marketplace.models import Publisher as PublisherRow
from marketplace.schema import FieldError
from playground import statements
from playground.api import examples
from playground.api.described import Answer, Operation, query
from playground.api.parsing import Text, YesNo, read
from playground.api.problems import Problem, invalid
from playground.api.usage import RANGE, range_of
from playground.api.view import ApiView, caller

READ, WRITE = "publishers:read", "publishers:write"
GROUPS = (Group.MODEL, Group.UNIT)


class PublisherJson(TypedDict):
    """A publisher in `/api/v1`. Its id is its name; `share_percent` is a decimal."""

    id: str
    title: str
    share_percent: str
    is_closed: bool
    can_be_renamed: bool
    created_at: str
    urls: dict[str, str]


class EarnedJson(TypedDict):
    """What runs earned."""

    runs: int
    charged_micros: int
    earned_micros: int
    payable_micros: int


class StatementJson(TypedDict):
    """A month of a publisher."""

    month: str
    is_final: bool
    runs: int
    opening_micros: int
    earned_micros: int
    refunded_micros: int
    disputes_micros: int
    paid_out_micros: int
    returned_micros: int
    closing_micros: int
    pending_micros: int
    payable_micros: int
    in_transit_micros: int
    unpayable_micros: int
    currency: str
    urls: dict[str, str]


class PublisherChange(serializers.Serializer[Any]):
    """The body of `PATCH /api/v1/publishers/<name>`: what is given changes, all else stays."""

    name = Text(max_length=200, required=False, help_text="the first half of its models' ids")
    title = Text(max_length=200, required=False, allow_blank=True, help_text="what people read; may be empty")


class PublisherRequest(serializers.Serializer[Any]):
    """The body of `POST /api/v1/publishers`."""

    name = Text(max_length=200, help_text="the first half of its models' ids")
    title = Text(
        max_length=200,
        required=False,
        default="",
        allow_blank=True,
        help_text="what people read; may be empty",
    )
    terms = YesNo(help_text="true: you agree to what /publish says, and may offer what you publish")


def as_json(row: PublisherRow) -> PublisherJson:
    """A publisher as the API shows it."""
    at = [row.name]
    return {
        "id": row.name,
        "title": row.title,
        "share_percent": format(row.share_percent.normalize(), "f"),
        "is_closed": row.is_closed,
        "can_be_renamed": publishers.can_be_renamed(row),
        "created_at": row.created_at.isoformat(),
        "urls": {
            "get": settings.PUBLIC_URL + reverse("api-publisher", args=at),
            "earnings": settings.PUBLIC_URL + reverse("api-earnings", args=at),
            "statements": settings.PUBLIC_URL + reverse("api-statements", args=at),
            "payouts": settings.PUBLIC_URL + reverse("api-payouts", args=at),
            "page": f"{settings.PUBLIC_URL}{reverse('publish')}?publisher={row.name}",
        },
    }


def find(request: Request, name: str) -> PublisherRow:
    """The caller's publisher of that name."""
    return publishers.find(caller(request).workspace, name)


class Publishers(ApiView):
    """`GET /api/v1/publishers` lists the workspace's publishers; `POST` makes it one."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List publishers",
            detail="The publishers of the workspace, on one page: most have one or none.",
            answers={200: Answer("PublisherPage", "The publishers.")},
        ),
        "POST": Operation(
            summary="Start publishing",
            detail="Makes the workspace a publisher, with the share that newcomers have now. A workspace has one. The "
            "name can be changed until the first model stands under it.",
            body=PublisherRequest,
            body_example=examples.PUBLISHER_REQUEST,
            answers={201: Answer("Publisher", "The publisher.", ("Location",), example=examples.PUBLISHER)},
            problems=("publisher_refused",),
        ),
    }

    def get(self, request: Request) -> Response:
        rows = publishers.of(caller(request).workspace)
        return Response({"results": [as_json(row) for row in rows], "next": None, "previous": None})

    def post(self, request: Request) -> Response:
        who, given = caller(request), read(PublisherRequest, request.data)
        by = who.user or (who.key.created_by if who.key is not None else None)
        made = publishers.found(
            who.workspace, name=given["name"], title=given["title"], agreed=given["terms"], by=by
        )
        told = as_json(made)
        return Response(told, status=201, headers={"Location": told["urls"]["get"]})


class Publisher(ApiView):
    """`/api/v1/publishers/<name>`: one publisher; `PATCH` changes its names."""

    scopes = {"GET": READ, "PATCH": WRITE}
    described = {
        "GET": Operation(summary="Get a publisher", answers={200: Answer("Publisher", "The publisher.")}),
        "PATCH": Operation(
            summary="Rename a publisher",
            detail="The title at any time; the name as long as `can_be_renamed` says so.",
            body=PublisherChange,
            body_example={"title": "Northlight Studio"},
            answers={200: Answer("Publisher", "The publisher, changed.")},
            problems=("publisher_refused",),
        ),
    }

    def get(self, request: Request, publisher: str) -> Response:
        return Response(as_json(find(request, publisher)))

    def patch(self, request: Request, publisher: str) -> Response:
        row, given = find(request, publisher), read(PublisherChange, request.data)
        return Response(as_json(publishers.change(row, **given)))


class Earnings(ApiView):
    """`GET /api/v1/publishers/<name>/earnings?from=&to=&group_by=`: what was earned by day, model or unit."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="Get what was earned",
            detail="What there is now, and what was earned on each day of the range by model or unit, before refunds: "
            "days and groups without any are left out. `payable_micros` is the part that is paid out; the rest was "
            "earned from granted credit or from own runs.",
            answers={200: Answer("Earnings", "The sums.", example=examples.EARNINGS)},
            parameters=(
                *RANGE,
                query(
                    "group_by",
                    "what to sum up by, beside the day",
                    {"type": "string", "enum": [one.value for one in GROUPS], "default": Group.MODEL.value},
                ),
            ),
            problems=("invalid_input",),
        )
    }

    def get(self, request: Request, publisher: str) -> Response:
        row, text = find(request, publisher), request.query_params.get("group_by", Group.MODEL.value)
        if text not in GROUPS:
            allowed = [group.value for group in GROUPS]
            raise invalid([FieldError("group_by", "not_allowed", "is nothing to group by", allowed)])
        group, span = Group(text), range_of(request)
        found = books.by_day(row.pk, group, span.first, span.last)
        refunded, refunded_unpayable = books.refunded(row.pk, span.first, span.last)
        total = Earned()
        for groups in found.values():
            for one in groups.values():
                total = total.plus(one)
        return Response(
            {
                "publisher": row.name,
                "from": span.first.isoformat(),
                "to": span.last.isoformat(),
                "group_by": group.value,
                "currency": "USD",
                "balance": _balance(row),
                "total": _earned(total),
                "refunded_micros": refunded + refunded_unpayable,
                "results": list(_results(found, group)),
            }
        )


def _results(found: Mapping[date, Mapping[str, Earned]], group: Group) -> list[dict[str, Any]]:
    return [
        {"day": day.isoformat(), group.value: name, **_earned(one)}
        for day, groups in sorted(found.items())
        for name, one in sorted(groups.items())
    ]


def _earned(one: Earned) -> EarnedJson:
    return {
        "runs": one.runs,
        "charged_micros": one.charged_micros,
        "earned_micros": one.share_micros,
        "payable_micros": one.payable_micros,
    }


def _balance(row: PublisherRow) -> dict[str, Any]:
    account = payouts.account_of(row)
    outlook = payouts.outlook(account)
    has = outlook.balance
    return {
        "pending_micros": has.pending_micros,
        "payable_micros": has.payable_micros,
        "in_transit_micros": has.in_transit_micros,
        "paid_out_micros": has.paid_out_micros,
        "unpayable_micros": has.unpayable_micros,
        "next_payout_on": outlook.next_on.isoformat() if outlook.next_on else None,
        "least_payout_micros": outlook.least_micros,
        "obstacle": outlook.obstacle or None,
        "maturing": [
            {"on": (day + payouts.delay(account)).isoformat(), "amount_micros": micros}
            for day, micros in sorted(ledger.maturing(row.pk).items())
        ],
    }


class Statements(ApiView):
    """`GET /api/v1/publishers/<name>/statements`: the months of a publisher, newest first."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="List statements",
            detail="The months since the first earning, newest first and all of them on one page, the present one as "
            "it is so far.",
            answers={200: Answer("StatementPage", "The months.")},
        )
    }

    def get(self, request: Request, publisher: str) -> Response:
        row = find(request, publisher)
        found = [_statement(row, one) for one in books.statements(row.pk)]
        return Response({"results": found, "next": None, "previous": None})


class Statement(ApiView):
    """`GET /api/v1/publishers/<name>/statements/<YYYY-MM>`: one month, which adds up to the micro-dollar."""

    scopes = {"GET": READ}
    described = {
        "GET": Operation(
            summary="Get a statement",
            detail="A month, named like `2026-11`, of UTC: opening + earned − refunded + disputes − paid out + "
            "returned = closing. The runs behind it are in the file that the page offers.",
            answers={200: Answer("Statement", "The month.", example=examples.STATEMENT)},
        )
    }

    def get(self, request: Request, publisher: str, month: str) -> Response:
        row = find(request, publisher)
        known = {f"{one:%Y-%m}": one for one in books.months(row.pk)}
        if month not in known:
            raise Problem("not_found", f"{row.name} has no statement of {month[:20]!r}.")
        return Response(_statement(row, books.statement(row.pk, known[month])))


def _statement(row: PublisherRow, one: books.Statement) -> StatementJson:
    name = f"{one.month:%Y-%m}"
    page = settings.PUBLIC_URL + reverse("statement", args=[name])
    return {
        "month": name,
        "is_final": following(one.month) - timedelta(days=1) < statements.today(),
        "runs": one.runs,
        "opening_micros": one.opening_micros,
        "earned_micros": one.earned_micros,
        "refunded_micros": one.refunded_micros,
        "disputes_micros": one.disputes_micros,
        "paid_out_micros": one.paid_out_micros,
        "returned_micros": one.returned_micros,
        "closing_micros": one.closing_micros,
        "pending_micros": one.pending_micros,
        "payable_micros": one.payable_micros,
        "in_transit_micros": one.in_transit_micros,
        "unpayable_micros": one.unpayable_micros,
        "currency": "USD",
        "urls": {
            "get": settings.PUBLIC_URL + reverse("api-statement", args=[row.name, name]),
            "page": f"{page}?publisher={row.name}",
        },
    }
