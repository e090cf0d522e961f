"""`/v1/models`, and what they cost: the shelf as fal's tools read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from billing import pricing, usage
from billing.usage import Group
from marketplace import catalog, schema
from marketplace.models import Listing
from playground import predictions
from playground.api import shelf
from playground.api.authentication import IsAnybody, caller_of
from playground.api.view import text, workspace
from playground.facades.fal import described
from playground.facades.fal.addresses import face_url
from playground.facades.fal.platform.asked import (
    Json,
    PlatformView,
    app_of,
    expanded,
    needed,
    paged,
    texts,
    whole,
    wrong,
)
from playground.facades.view import IGNORED
from playground.predictions import Caller

OPENAPI, ENTERPRISE = "openapi-3.0", "enterprise_status"
STATUSES = ("active", "deprecated")
HISTORY = timedelta(days=30)
MICROS = 1_000_000
QUANTITY_MAXIMUM = 10**9


class Models(PlatformView):
    """`GET /v1/models`: those that are named, or a page of the shelf."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        more = expanded(request, OPENAPI, ENTERPRISE)
        status = request.query_params.get("status", "")
        if status and status not in STATUSES:
            raise wrong("status", "is no status of a model", list(STATUSES))
        rows = catalog.listings(
            search=text(request, "q"), task=text(request, "category"), workspace=workspace(request)
        )
        ids = texts(request, "endpoint_id")
        if ids:
            # An app's address is known to whoever names it, on the shelf or not.
            known = [catalog.listing(app_of(one), workspace=workspace(request)).pk for one in ids]
            narrowed = request.query_params.get("q") or request.query_params.get("category")
            rows = rows.filter(pk__in=known) if narrowed else Listing.objects.filter(pk__in=known)
            rows = rows.select_related("publisher", "default_version").defer("search")
        if status == "deprecated":
            rows = rows.none()
        rows = rows.prefetch_related("default_version__endpoints__prices")

        def show(found: list[Listing]) -> list[Json]:
            named = workspace(request) is not None
            shown = shelf.several(found)
            return [
                _model(request, row, one, has_openapi=OPENAPI in more, is_named=named)
                for row, one in zip(found, shown, strict=True)
            ]

        answer = paged(request, "models", rows, order=catalog.SORTS["featured"], show=show)
        headers = {IGNORED: f"expand={ENTERPRISE}"} if ENTERPRISE in more else {}
        return Response(answer, headers=headers)


class Document(PlatformView):
    """`GET /fal/openapi?endpoint_id=`: the OpenAPI document of one app, as fal.ai has it for everybody."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        (app, *others) = needed(request, "endpoint_id")
        if others:
            raise wrong("endpoint_id", "names one app here", code="too_many")
        return Response(_document(request, app_of(app)))


class Prices(PlatformView):
    """`GET /v1/models/pricing?endpoint_id=`."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        now, prices = timezone.now(), []
        for one in needed(request, "endpoint_id"):
            called = catalog.callable_endpoint(app_of(one), workspace=workspace(request), now=now)
            prices += [
                {
                    "endpoint_id": called.model_id,
                    "unit_price": float(line.unit_price),
                    "unit": line.unit,
                    "currency": "USD",
                    "unit_price_exact": format(line.unit_price.normalize(), "f"),
                    "conditions": line.conditions,
                    "from_runs": line.from_runs,
                }
                for line in called.prices
            ]
        return Response(whole(prices=prices))


class Estimate(PlatformView):
    """`POST /v1/models/pricing/estimate`: by units and their price, or by what calls cost until now."""

    scopes = {"POST": "predictions:read"}

    def post(self, request: Request) -> Response:
        body = request.data if isinstance(request.data, dict) else {}
        kind, endpoints = body.get("estimate_type"), body.get("endpoints")
        each = {"unit_price": _by_units, "historical_api_price": _by_calls}.get(str(kind))
        if each is None:
            raise wrong("estimate_type", "must be one of these", ["historical_api_price", "unit_price"])
        if not isinstance(endpoints, dict) or not 0 < len(endpoints) <= 50:
            raise wrong("endpoints", "must be an object with 1 to 50 apps", code="type")
        who = caller_of(request)
        assert who is not None  # nobody else is let in
        total = sum((each(who, app, given) for app, given in endpoints.items()), Decimal(0))
        return Response({"estimate_type": kind, "total_cost": float(total), "currency": "USD"})


def _quantity(app: str, given: Any, name: str) -> Decimal:
    value = given.get(name) if isinstance(given, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value is None or not 0 < value <= QUANTITY_MAXIMUM:
        allowed = {"exclusiveMinimum": 0, "maximum": QUANTITY_MAXIMUM}
        raise wrong(f"endpoints.{app[:80]}.{name}", "must be a number above 0", allowed, "type")
    return Decimal(str(value))


def _by_units(who: Caller, app: str, given: Any) -> Decimal:
    called = catalog.callable_endpoint(app_of(app), workspace=who.workspace, now=timezone.now())
    first = [line for line in called.prices if not line.conditions and line.from_runs <= 1]
    if len(first) != 1 or len({line.unit for line in called.prices}) != 1:
        message = "has more than one unit price; ask for a quote of the input that you mean"
        raise wrong(f"endpoints.{app[:80]}", message, shelf.prices(called.prices))
    return first[0].unit_price * _quantity(app, given, "unit_quantity")


def _by_calls(who: Caller, app: str, given: Any) -> Decimal:
    """What calls cost the workspace on the average of the last days; before there are any, what a typical one does."""
    calls = _quantity(app, given, "call_quantity")
    called = catalog.callable_endpoint(app_of(app), workspace=who.workspace, now=timezone.now())
    today = timezone.now().date()
    sums = usage.by(who.workspace.pk, Group.MODEL, today - HISTORY, today).get(called.model_id)
    if sums is not None and sums.runs > sums.not_charged:
        return Decimal(sums.amount_micros) / (sums.runs - sums.not_charged) * calls / MICROS
    try:
        quote = predictions.quote(
            who, model=called.model_id, data=schema.example(called.endpoint.input_schema)
        )
    except (schema.InvalidInput, pricing.CannotPrice) as error:
        message = "was not called yet, and has no example that could be priced"
        raise wrong(f"endpoints.{app[:80]}", message) from error
    return Decimal(quote["amount_micros"]) * calls / MICROS


def _model(
    request: Request, listing: Listing, shown: Mapping[str, Any], *, has_openapi: bool, is_named: bool
) -> Json:
    run = f"{face_url(request, 'run')}/{listing.model_id}"
    version = listing.default_version
    endpoint = version.endpoints.all()[0] if version is not None and version.endpoints.all() else None
    found: Json = {
        "endpoint_id": listing.model_id,
        "metadata": {
            "display_name": listing.name,
            "category": listing.task,
            "description": listing.tagline,
            "status": "active",
            "tags": ["paused"] if listing.is_paused else [],
            "updated_at": (version or listing).created_at.isoformat(),
            "is_favorited": False if is_named else None,
            "thumbnail_url": shown["cover_url"] or "",
            "model_url": run,
            "date": listing.created_at.isoformat(),
            "highlighted": False,
            "pinned": False,
            "kind": "training" if listing.task == "training" else "inference",
            "license": listing.license,
            "page_url": shown["urls"]["page"],
        },
    }
    if endpoint is not None:
        found["metadata"]["duration_estimate"] = round(endpoint.typical_ms / 60_000, 4)
    if has_openapi:
        found["openapi"] = _document(request, listing.model_id)
    return found


def _document(request: Request, app: str) -> Json:
    called = catalog.callable_endpoint(app, workspace=workspace(request), now=timezone.now())
    return described.document(called, queue_url=face_url(request, "queue"), run_url=face_url(request, "run"))
