"""`/v1/models/requests/…`: the workspace's runs of some apps, and deleting what one of them took and made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django.db.models import DurationField, ExpressionWrapper, F
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import parse
from playground import predictions
from playground.api.view import caller
from playground.facades.dialect import Document
from playground.facades.fal import errors, show
from playground.facades.fal.platform.asked import (
    Json,
    PlatformView,
    app_of,
    expanded,
    needed,
    paged,
    span,
    wrong,
)
from playground.models import Prediction
from playground.predictions.timings import CALLERS_FAULTS

DAY, LONG_AGO = timedelta(days=1), timedelta(days=90)  # without a start, and for one that is named
PAYLOADS = "payloads"
STATUSES = ("success", "error", "user_error")
SORTS = {"ended_at": ("-finished_at", "-id"), "duration": ("-took", "-id")}


class ByEndpoint(PlatformView):
    """`GET /v1/models/requests/by-endpoint`: runs that are over, the last first, or the longest."""

    scopes = {"GET": "predictions:read"}

    def get(self, request: Request) -> Response:
        more = expanded(request, PAYLOADS)
        sort = request.query_params.get("sort_by", "ended_at")
        status = request.query_params.get("status", "")
        if sort not in SORTS:
            raise wrong("sort_by", "is no order of this list", list(SORTS))
        if status and status not in STATUSES:
            raise wrong("status", "is no status of a request", list(STATUSES))
        named = request.query_params.get("request_id")
        workspace = caller(request).workspace
        asked = span(request, default=LONG_AGO if named else DAY)
        took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
        rows = Prediction.objects.of(workspace).with_model().annotate(took=took)
        rows = rows.filter(
            model__in=[app_of(one) for one in needed(request, "endpoint_id")],
            created_at__gte=asked.since,
            created_at__lt=asked.until,
            status__in=Prediction.TERMINAL,
        )
        rows = _by_status(rows, status)
        if sort == "duration":
            rows = rows.filter(started_at__isnull=False)
        if named:
            rows = rows.filter(public_id=_id(named))

        def show_all(found: list[Prediction]) -> list[Json]:
            return [item(row, has_payloads=PAYLOADS in more) for row in found]

        with predictions.bounded():
            return Response(paged(request, "items", rows, order=SORTS[sort], show=show_all))


class Payloads(PlatformView):
    """`DELETE /v1/models/requests/<id>/payloads`: the run with what it took and made; its charge stays in the books."""

    scopes = {"DELETE": "predictions:write"}

    def delete(self, request: Request, request_id: str) -> Response:
        who, public_id = caller(request), _id(request_id)
        row = predictions.find(who.workspace, public_id)
        links = _links(predictions.as_json(row)["output"])
        predictions.delete_one(who.workspace, public_id, by=who.user)
        return Response({"cdn_delete_results": [{"link": link, "exception": None} for link in links]})


def _id(text: str) -> UUID:
    found = parse(text, "p")
    if found is None:
        raise wrong("request_id", "must be a UUID", "uuid", "type")
    return found


def _by_status(rows: Any, status: str) -> Any:
    succeeded, failed = Prediction.Status.SUCCEEDED, Prediction.Status.FAILED
    if status == "success":
        return rows.filter(status=succeeded)
    if status == "error":
        return rows.filter(status=failed).exclude(error_code__in=CALLERS_FAULTS)
    if status == "user_error":
        canceled = rows.filter(status=Prediction.Status.CANCELED)
        return canceled | rows.filter(status=failed, error_code__in=CALLERS_FAULTS)
    return rows


def item(row: Prediction, *, has_payloads: bool) -> Json:
    """One run, selected `with_model`, with what it took and made if that is wanted."""
    took = row.finished_at - row.started_at if row.finished_at and row.started_at else None
    shown: Json = {
        "request_id": str(row.public_id),
        "endpoint_id": row.model,
        "sent_at": row.created_at.isoformat(),
        "started_at": (row.started_at or row.created_at).isoformat(),
        "ended_at": row.finished_at.isoformat() if row.finished_at else None,
        "status_code": _status_code(row),
        "duration": round(took / timedelta(seconds=1), 3) if took is not None else None,
    }
    if has_payloads:
        document = predictions.as_json(row)
        shown["json_input"] = document["input"]
        shown["json_output"] = (
            show.result(cast("Document", document), row.asked or {})[2] if row.is_terminal else None
        )
    return shown


def _status_code(row: Prediction) -> int | None:
    if not row.is_terminal:
        return None
    if row.status == Prediction.Status.SUCCEEDED:
        return 200
    has_deadline = bool((row.asked or {}).get("has_deadline"))
    return errors.end_of(row.status, row.error_code, has_deadline=has_deadline).status


def _links(value: Any) -> list[str]:
    """The addresses of all media in an output."""
    if isinstance(value, list):
        return [link for one in value for link in _links(one)]
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            return [value["url"]]
        return [link for one in value.values() for link in _links(one)]
    return []
