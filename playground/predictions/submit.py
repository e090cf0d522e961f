"""Taking a run in: everything that can be refused is refused before money moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField
from django.db.models.expressions import RawSQL
from django.utils import timezone

from billing import ledger, pricing
from marketplace import catalog, dispatch, schema
from marketplace.ids import encode, uuid7
from marketplace.models import ApiKey, Offer, User, Workspace
from playground import live
from playground.models import Event, Prediction
from playground.predictions import idempotency
from playground.predictions.files import check_files
from playground.predictions.present import state_of

QUOTE_LIFETIME = timedelta(minutes=10)
MAX_START_WITHIN_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: always a workspace, and the key or the person it came through, with the person's role there."""

    workspace: Workspace
    key: ApiKey | None = None
    user: User | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. `model` is `publisher/name` or `publisher/name:version`.

    `start_within` is in seconds; `max_cost_micros` refuses a dearer quote; `exact` forbids batching, for the same bytes
    from the same seed; `webhook` is told of the end, of the kinds of it in `webhook_events_filter`, all by default.
    """

    model: str
    input: Mapping[str, Any] = field(default_factory=dict)
    via: Prediction.Via = Prediction.Via.API
    idempotency_key: str | None = None
    start_within: int | None = None
    max_cost_micros: int | None = None
    exact: bool = False
    priority: int = 0
    webhook: str | None = None
    webhook_events_filter: Sequence[str] | None = None

    def body(self) -> dict[str, Any]:
        """What makes one request another than the next, for the idempotency key."""
        return {
            "model": self.model,
            "input": self.input,
            "start_within": self.start_within,
            "max_cost_micros": self.max_cost_micros,
            "exact": self.exact,
            # Left out where they are, so that keys from before there were webhooks still mean the same request.
            **({"webhook": self.webhook, "events": self.webhook_events_filter} if self.webhook else {}),
        }


class CannotRun(Exception):
    """The model exists but cannot be run now; the message says why."""


class CostAboveCap(Exception):
    """The quote is above the caller's own cap."""

    def __init__(self, quote_micros: int, cap_micros: int) -> None:
        super().__init__(
            f"This run costs {quote_micros:,} micro-dollars, above the cap of {cap_micros:,} that the request sets."
        )
        self.quote_micros = quote_micros
        self.cap_micros = cap_micros


def quote(caller: Caller | None, *, model: str, data: object) -> pricing.QuoteJson:
    """What a run would cost, holding nothing. Raises catalog.NotFound, schema.InvalidInput, pricing.CannotPrice."""
    now = timezone.now()
    called = catalog.callable_endpoint(model, workspace=caller.workspace if caller else None, now=now)
    cleaned = schema.clean(called.endpoint.input_schema, data)
    return _priced(called, cleaned).as_json(
        quote_id=encode(uuid7(), "q"), model=called.model_id, expires_at=now + QUOTE_LIFETIME
    )


def submit(caller: Caller, request: Request) -> Prediction:
    """Accept one run: the row, the hold of its quote and the limits in one commit; then the lane is woken.

    The same idempotency key and body give the same prediction again. Raises catalog.NotFound, schema.InvalidInput,
    pricing.CannotPrice, CannotRun, CostAboveCap, ledger.InsufficientCredit, ledger.LimitReached,
    IdempotencyConflict, IdempotencyInFlight; after any of them nothing is held and nothing was written.
    """
    now = timezone.now()
    body = idempotency.digest(request.body()) if request.idempotency_key else ""
    if request.idempotency_key:
        known = idempotency.find(caller.workspace, request.idempotency_key, body)
        if known is not None:
            return known
    called = catalog.callable_endpoint(request.model, workspace=caller.workspace, now=now)
    cleaned = schema.clean(called.endpoint.input_schema, request.input)
    check_files(caller.workspace, called.endpoint.input_schema, cleaned)
    priced = _priced(called, cleaned)
    if request.max_cost_micros is not None and priced.amount_micros > request.max_cost_micros:
        raise CostAboveCap(priced.amount_micros, request.max_cost_micros)
    offer = _choose(called)
    row = _row(
        caller, request, called, offer, schema.with_seeds(called.endpoint.input_schema, cleaned), priced, now
    )
    with transaction.atomic():
        if request.idempotency_key:
            known = idempotency.claim(caller.workspace, request.idempotency_key, body)
            if known is not None:
                return known
        row.save(force_insert=True)
        if request.idempotency_key:
            idempotency.remember(row, request.idempotency_key, body)
        transaction.on_commit(lambda: live.publish([state_of(row)]), robust=True)
        dispatch.wake(offer.lane)
        # Last, so that the workspace's balance is locked for the shortest time.
        ledger.hold(
            workspace_id=caller.workspace.pk,
            reference=row.public_id,
            amount_micros=row.held_micros,
            book=settings.LEDGER_BOOK,
            limits=_scopes(caller, called.model_id),
        )
    return row


def _priced(called: catalog.Callable, cleaned: Mapping[str, Any]) -> pricing.Quote:
    quantities = schema.quantities(called.endpoint.input_schema, cleaned)
    quantities["compute_second"] = quantities["request"] * called.endpoint.max_seconds
    lines = [pricing.PriceLine(p.unit, p.unit_price, p.conditions) for p in called.prices]
    return pricing.quote(lines, quantities, cleaned)


def _choose(called: catalog.Callable) -> Offer:
    """The offer that serves this run; today the first lane of ours."""
    if not called.offers:
        raise CannotRun(f"{called.model_id} has no offer that serves it at present.")
    return called.offers[0]


def _scopes(caller: Caller, model_id: str) -> list[ledger.SpendScope]:
    scopes = [ledger.SpendScope("workspace", str(caller.workspace.pk)), ledger.SpendScope("model", model_id)]
    if caller.key is not None:
        scopes.append(ledger.SpendScope("key", str(caller.key.pk)))
    if caller.user is not None:
        scopes.append(ledger.SpendScope("member", str(caller.user.pk)))
    return scopes


def _row(
    caller: Caller,
    request: Request,
    called: catalog.Callable,
    offer: Offer,
    cleaned: dict[str, Any],
    priced: pricing.Quote,
    now: datetime,
) -> Prediction:
    endpoint = called.endpoint
    patience = min(request.start_within or endpoint.start_within_seconds, MAX_START_WITHIN_SECONDS)
    row = Prediction(
        workspace=caller.workspace,
        api_key=caller.key,
        created_by=caller.user,
        version=called.version,
        endpoint=endpoint,
        offer=offer,
        model=called.model_id,
        via=request.via,
        input=cleaned,
        held_micros=priced.amount_micros,
        lane=offer.lane,
        batch_key=_batch_key(called, cleaned, exact=request.exact),
        exact=request.exact,
        priority=request.priority,
        webhook=_webhook(request),
        start_by=now + timedelta(seconds=patience),
        created_at=now,
    )
    row.quote = priced.as_json(quote_id=encode(row.public_id, "q"), model=called.model_id)
    row.fair_at = _fair_at(caller.workspace, offer.lane, endpoint.typical_ms, now)
    return row


def _webhook(request: Request) -> dict[str, Any] | None:
    if not request.webhook:
        return None
    return {"url": request.webhook, "events": list(request.webhook_events_filter or Event.values)}


# The status is written out: with a parameter there, a plan that is kept could not use the index of what is queued.
_FAIR_AT = """
greatest(%s::timestamptz, (
    SELECT fair_at FROM playground_prediction WHERE workspace_id = %s AND lane = %s AND status = 'queued'
     ORDER BY fair_at DESC LIMIT 1) + %s * interval '1 millisecond')
"""


def _fair_at(workspace: Workspace, lane: str, typical_ms: int, now: datetime) -> Any:
    """The place in the queue, by start-time fair queuing: a workspace's own waiting runs are spaced by the time that
    they take, so a newcomer goes between the runs of one that sent hundreds, and the index alone gives the order."""
    return RawSQL(_FAIR_AT, [now, workspace.pk, lane, typical_ms], output_field=DateTimeField())  # noqa: S611 - a constant text; values are parameters


def _batch_key(called: catalog.Callable, cleaned: Mapping[str, Any], *, exact: bool) -> str:
    """Equal for runs that may share a batch: same version, same values of the fields the endpoint batches on."""
    if exact or called.endpoint.max_batch == 1:
        return ""
    same = {name: cleaned.get(name) for name in called.endpoint.batch_on}
    text = json.dumps([called.endpoint.pk, same], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
