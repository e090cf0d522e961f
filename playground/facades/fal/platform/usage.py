"""`/v1/models/usage`, `/billing-events` and `/analytics`: what was spent, run by run, and how runs went."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing import usage
from billing.usage import Charge, Group
from marketplace.ids import parse
from marketplace.models import ApiKey, User, Workspace
from playground import predictions, receipts, statements
from playground.api.problems import Problem
from playground.api.view import caller
from playground.facades.fal.platform.asked import (
    Json,
    PlatformView,
    app_of,
    dollars,
    expanded,
    limit_of,
    needed,
    paged,
    span,
    texts,
)
from playground.facades.fal.platform.timeframes import framed
from playground.predictions.timings import SHARES, Timings, timings

DAY = timedelta(days=1)
SERIES, SUMMARY = "time_series", "summary"
WHO = ("auth_method", "auth_method_structured")  # a sentence and an object, which go together here
_OFFSET = re.compile(r"[0-9]{1,9}")
_COUNTS = {
    "request_count": lambda t: t.runs,
    "success_count": lambda t: t.succeeded,
    "user_error_count": lambda t: t.callers_faults,
    "error_count": lambda t: t.faults,
    "startup_error_count": lambda t: t.never_started,
    "connection_error_count": lambda t: t.lost,
    "timeout_error_count": lambda t: t.too_slow,
    "runtime_error_count": lambda t: t.faults - t.never_started - t.lost - t.too_slow,
    "total_billable_duration": lambda t: t.charged_seconds,
}
_SHARES = {f"p{round(share * 100)}": place for place, share in enumerate(SHARES)}
_DURATIONS = {f"{name}_duration": ("run", place) for name, place in _SHARES.items()} | {
    f"{name}_prepare_duration": ("prepare", place) for name, place in _SHARES.items()
}
# Loading a model is not told apart from waiting here: it is in the time to prepare.
_UNKNOWN = ("cold_boot_count", "p50_cold_boot_duration", "p75_cold_boot_duration", "p90_cold_boot_duration")


class Usage(PlatformView):
    """`GET /v1/models/usage`: what was charged, by model and unit price, in steps of time or in all."""

    scopes = {"GET": "usage:read"}

    def get(self, request: Request) -> Response:
        more = expanded(request, SERIES, SUMMARY, *WHO)
        places = more & {SERIES, SUMMARY} or {SERIES}
        (asked, step), workspace = framed(request, default=DAY), caller(request).workspace
        limit, skip = limit_of(request), _skipped(request)
        chosen: dict[str, Any] = {
            "by_whom": bool(more.intersection(WHO)),
            "models": _apps(request),
            "key_ids": _keys(request, workspace),
            "user_ids": _members(request, workspace),
        }
        answer: Json = {"next_cursor": None, "has_more": False}
        if SERIES in places:
            with predictions.bounded():
                found = usage.charges(
                    workspace.pk, asked.since, asked.until, step=step, skip=skip, most=limit + 1, **chosen
                )
            names = _Names(workspace, found[:limit])
            answer |= _following(found, limit, skip)
            answer[SERIES] = _series(((one.at, names.row(one)) for one in found[:limit]), asked.since)
        if SUMMARY in places:
            with predictions.bounded():
                found = usage.charges(workspace.pk, asked.since, asked.until, **chosen)
            names = _Names(workspace, found)
            answer[SUMMARY] = [names.row(one) for one in found]
        return Response(answer)


class BillingEvents(PlatformView):
    """`GET /v1/models/billing-events`: each run that cost something, newest first."""

    scopes = {"GET": "usage:read"}

    def get(self, request: Request) -> Response:
        more = expanded(request, *WHO)
        asked, workspace = span(request, default=DAY), caller(request).workspace
        ids = texts(request, "request_id")
        rows = usage.charged_runs(
            workspace.pk,
            asked.since,
            asked.until,
            models=_apps(request),
            references=[found for one in ids if (found := parse(one, "p"))] if ids else None,
            key_ids=_keys(request, workspace),
            user_ids=_members(request, workspace),
        )

        def show(found: list[Any]) -> list[Json]:
            names = _Names(workspace, found) if more else None
            told = {
                one["prediction"]: one for one in receipts.receipts(workspace, [r.reference for r in found])
            }
            by_id = {parse(uid, "p"): one for uid, one in told.items()}
            return [_event(row, by_id.get(row.reference), names) for row in found]

        with predictions.bounded():
            return Response(paged(request, "billing_events", rows, order=usage.RECENT, show=show))


class Analytics(PlatformView):
    """`GET /v1/models/analytics`: how many runs there were, how they ended, how long they took."""

    scopes = {"GET": "usage:read"}

    def get(self, request: Request) -> Response:
        more = expanded(request, SERIES, SUMMARY, *_COUNTS, *_DURATIONS, *_UNKNOWN)
        places = more & {SERIES, SUMMARY} or {SERIES}
        wanted = [name for name in (*_COUNTS, *_DURATIONS) if name in more] or ["request_count"]
        (asked, step), workspace = framed(request, default=DAY), caller(request).workspace
        models = [app_of(one) for one in needed(request, "endpoint_id")]
        limit, skip = limit_of(request), _skipped(request)
        answer: Json = {"next_cursor": None, "has_more": False}
        if SERIES in places:
            found = timings(
                workspace,
                models,
                asked.since,
                asked.until,
                step=step,
                skip=skip,
                most=limit + 1,
            )
            answer |= _following(found, limit, skip)
            rows = ((one.at, _measured(one, wanted)) for one in found[:limit])
            answer[SERIES] = _series(rows, asked.since)
        if SUMMARY in places:
            found = timings(workspace, models, asked.since, asked.until)
            answer[SUMMARY] = [_measured(one, wanted) for one in found]
        return Response(answer)


class _Names:
    """Who the keys and members of some charges are, looked up for all at once."""

    def __init__(self, workspace: Workspace, charges: Iterable[Any]) -> None:
        found = list(charges)
        self._keys = statements.names_of(workspace, Group.KEY, {one.key_id for one in found})
        self._members = statements.names_of(workspace, Group.MEMBER, {one.user_id for one in found})
        ids = ApiKey.objects.filter(workspace=workspace, pk__in=list(self._keys))
        self._ids = dict(ids.values_list("pk", "key_id"))

    def row(self, one: Charge) -> Json:
        total = dollars(one.amount_micros)
        return {
            "endpoint_id": one.model,
            "unit": one.unit,
            "quantity": float(one.quantity),
            "unit_price": float(one.unit_price),
            "percent_discount": None,
            "cost_subtotal": total,
            "cost_discount": 0.0,
            "cost_total": total,
            "cost": total,
            "currency": "USD",
            **self.who(one.key_id, one.user_id),
        }

    def who(self, key_id: int | None, user_id: int | None) -> Json:
        key, member = self._keys.get(key_id or 0), self._members.get(user_id or 0)
        if key is not None:
            return _method(f"Key {key.name}", {"api_key_id": f"vt_{self._ids.get(key_id or 0, '')}"})
        if member is not None:
            return _method(f"Member {member.name}", {"login_username": member.detail})
        return {}


def _method(detail: str, who: Json) -> Json:
    return {"auth_method": detail, "auth_method_structured": {"detail": detail, **who}}


def _event(row: Any, receipt: Any, names: _Names | None) -> Json:
    lines = receipt["charged_lines"] if receipt is not None else []
    line = lines[0] if len(lines) == 1 else None
    total = dollars(row.amount_micros)
    return {
        "request_id": str(row.reference),
        "endpoint_id": row.model,
        "timestamp": row.occurred_at.isoformat(),
        "output_units": float(line["quantity"]) if line else None,
        "unit": line["unit"] if line else None,
        "unit_price": float(line["unit_price"]) if line else None,
        "percent_discount": None,
        "cost_subtotal": total,
        "cost_discount": 0.0,
        "cost_total": total,
        "cost_estimate_nano_usd": row.amount_micros * 1000,
        **(names.who(row.key_id, row.user_id) if names is not None else {}),
    }


def _measured(one: Timings, wanted: Sequence[str]) -> Json:
    """What is asked for of it; durations only where there are any."""
    found: Json = {"endpoint_id": one.model}
    for name in wanted:
        if name in _COUNTS:
            found[name] = _COUNTS[name](one)
            continue
        which, place = _DURATIONS[name]
        values = one.run if which == "run" else one.prepare
        if values:
            found[name] = values[place]
    return found


def _series(rows: Iterable[tuple[datetime | None, Json]], since: datetime) -> list[Json]:
    return [
        {"bucket": (at or since).isoformat(), "results": [row for _, row in group]}
        for at, group in groupby(rows, key=lambda pair: pair[0])
    ]


def _apps(request: Request) -> list[str] | None:
    return [app_of(one) for one in texts(request, "endpoint_id")] or None


def _keys(request: Request, workspace: Workspace) -> list[int] | None:
    """The row ids of the keys that are asked for; unknown ones find nothing."""
    ids = [one.removeprefix("vt_") for one in texts(request, "api_key_id")]
    if not ids:
        return None
    return list(ApiKey.objects.filter(workspace=workspace, key_id__in=ids).values_list("pk", flat=True))


def _members(request: Request, workspace: Workspace) -> list[int] | None:
    names = texts(request, "login_username")
    if not names:
        return None
    found = User.objects.filter(memberships__workspace=workspace, email__in=names)
    return list(found.values_list("pk", flat=True))


def _skipped(request: Request) -> int:
    """How many the pages before had, by the cursor that they gave."""
    text = request.query_params.get("cursor", "")
    if not text:
        return 0
    try:
        found = base64.urlsafe_b64decode(text).decode("ascii")
    except (binascii.Error, ValueError):
        found = ""
    if _OFFSET.fullmatch(found) is None:
        raise Problem("invalid_cursor", "This cursor is none that this list gave. Start again without it.")
    return int(found)


def _following(found: Sequence[Any], limit: int, skip: int) -> Json:
    has_more = len(found) > limit
    cursor = base64.urlsafe_b64encode(str(skip + limit).encode()).decode() if has_more else None
    return {"next_cursor": cursor, "has_more": has_more}
