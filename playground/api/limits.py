"""Spend limits over the API."""

from __future__ import annotations

from typing import Any, TypedDict

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import limits
from playground.api import examples
from playground.api.described import Answer, Operation
from playground.api.paging import page_at_once
from playground.api.parsing import Text, Whole, read
from playground.api.view import ApiView, caller

READ, WRITE = "billing:read", "billing:write"


class LimitJson(TypedDict):
    """A spend limit in `/api/v1`. Amounts are integer micro-dollars, times ISO 8601 in UTC."""

    id: str
    scope: str
    target: str | None
    name: str
    period: str
    limit_micros: int
    spent_micros: int
    is_reached: bool
    currency: str
    alert_at: list[int]
    resets_at: str | None
    created_at: str
    urls: dict[str, str]


def as_json(one: limits.Standing) -> LimitJson:
    """A limit as the API shows it."""
    return {
        "id": one.uid,
        "scope": one.target.kind,
        "target": one.target.id or None,
        "name": one.target.name,
        "period": one.period,
        "limit_micros": one.limit_micros,
        "spent_micros": one.spent_micros,
        "is_reached": one.is_reached,
        "currency": "USD",
        "alert_at": list(one.alert_at),
        "resets_at": one.resets_at.isoformat() if one.resets_at else None,
        "created_at": one.created_at.isoformat(),
        "urls": {"get": settings.PUBLIC_URL + reverse("api-limit", args=[one.uid])},
    }


class LimitChange(serializers.Serializer[Any]):
    """The body of `PATCH /api/v1/limits/<id>`: what is given changes, all else stays."""

    limit_micros = Whole(
        required=False, min_value=0, max_value=limits.MOST_MICROS, help_text="the most that may be spent"
    )
    alert_at = serializers.ListField(
        child=Whole(min_value=1, max_value=limits.ALL),
        required=False,
        max_length=limits.MAX_ALERTS,
        help_text="at which percents of it the workspace is told; empty: never",
    )


class LimitRequest(LimitChange):
    """The body of `POST /api/v1/limits`."""

    scope = serializers.ChoiceField(choices=list(limits.KINDS), help_text="what kind of thing it is on")
    target = Text(
        required=False,
        default="",
        allow_blank=True,
        max_length=160,
        help_text="the id of the key or member, or publisher/name; none for the workspace",
    )
    period = serializers.ChoiceField(
        choices=list(limits.PERIODS), help_text="of UTC: a day, a week from Monday, a month; or all time"
    )
    limit_micros = Whole(min_value=0, max_value=limits.MOST_MICROS, help_text="the most that may be spent")


class Limits(ApiView):
    """`GET /api/v1/limits` lists the workspace's spend limits; `POST` sets one."""

    scopes = {"GET": READ, "POST": WRITE}
    described = {
        "GET": Operation(
            summary="List spend limits",
            detail="All limits of the workspace: on itself, its keys, its members, and on models, the newest first.",
            answers={200: Answer("LimitPage", "A page of limits.")},
            pages=True,
        ),
        "POST": Operation(
            summary="Set a spend limit",
            detail="There is one limit for each scope, target and period: setting it again changes it, so the request "
            "can be repeated. What was spent in its present period before counts, and what open runs hold; runs that "
            "would pass it are refused with `limit_reached`. A key can lower its own limits, its maker's and the "
            "workspace's, and "
            "not raise or remove them.",
            body=LimitRequest,
            body_example=examples.LIMIT_REQUEST,
            answers={200: Answer("Limit", "The limit.", example=examples.LIMIT)},
            problems=("too_many",),
        ),
    }

    def get(self, request: Request) -> Response:
        workspace = caller(request).workspace
        found = page_at_once(
            request,
            limits.rows(workspace),
            order=["-id"],
            show=lambda rows: [as_json(one) for one in limits.standing(workspace, rows)],
        )
        return Response(found)

    def post(self, request: Request) -> Response:
        who, given = caller(request), read(LimitRequest, request.data)
        made = limits.put(who.workspace, kind=given.pop("scope"), key=who.key, **given)
        return Response(as_json(made))


class Limit(ApiView):
    """`/api/v1/limits/<id>`: one limit; `PATCH` changes it, `DELETE` lifts it."""

    scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}
    described = {
        "GET": Operation(summary="Get a spend limit", answers={200: Answer("Limit", "The limit.")}),
        "PATCH": Operation(
            summary="Change a spend limit",
            detail="Fields that are left out stay. What was counted in the present period stays counted.",
            body=LimitChange,
            body_example={"limit_micros": 50_000_000},
            answers={200: Answer("Limit", "The limit, changed.")},
        ),
        "DELETE": Operation(
            summary="Remove a spend limit",
            detail="Runs that it counts are bound by the other limits alone from then on.",
            answers={204: Answer(None, "It is gone.")},
        ),
    }

    def get(self, request: Request, limit_id: str) -> Response:
        return Response(as_json(limits.find(caller(request).workspace, limit_id)))

    def patch(self, request: Request, limit_id: str) -> Response:
        who, given = caller(request), read(LimitChange, request.data)
        return Response(as_json(limits.change(who.workspace, limit_id, key=who.key, **given)))

    def delete(self, request: Request, limit_id: str) -> Response:
        who = caller(request)
        limits.remove(who.workspace, limit_id, key=who.key)
        return Response(status=204)
