"""Taking a run in: everything that can be refused is refused before money moves."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from billing import ledger, pricing, usage
from marketplace import catalog, dispatch, schema
from marketplace.ids import encode, uuid7
from marketplace.models import ApiKey, Endpoint, Offer, Price, User, Workspace
from playground import live
from playground.models import RUN_EVENTS, Prediction
from playground.predictions import adapters, idempotency
from playground.predictions.fetching import hint_on_commit
from playground.predictions.files import FETCH_LANE, Taken, pin, take_files
from playground.predictions.places import batch_key, fair_at
from playground.predictions.present import state_of
from playground.predictions.repeats import Again, Once, Repeat

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

    `start_within` is in seconds, and so is `cancel_after`: a run that is still open then is canceled. `max_cost_micros`
    refuses a dearer quote; `exact` forbids batching, for the same bytes from the same seed; `webhook` is told of the
    end, of the kinds of it in `webhook_events_filter`, all by default.
    `repeat` is what tells the same request of a client that sends it again by itself, without an idempotency key;
    `asked` is kept with the run, as it is.
    """

    model: str
    input: Mapping[str, Any] = field(default_factory=dict)
    via: Prediction.Via = Prediction.Via.API
    idempotency_key: str | None = None
    start_within: int | None = None
    cancel_after: int | None = None
    max_cost_micros: int | None = None
    exact: bool = False
    priority: int = 0
    webhook: str | None = None
    webhook_events_filter: Sequence[str] | None = None
    repeat: Repeat | None = None
    asked: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """What makes one request another than the next, for the idempotency key."""
        return {
            "model": self.model,
            "input": self.input,
            "start_within": self.start_within,
            "max_cost_micros": self.max_cost_micros,
            "exact": self.exact,
            # Left out where they are not, so that keys from before they were there still mean the same request.
            **({"cancel_after": self.cancel_after} if self.cancel_after else {}),
            **({"webhook": self.webhook, "events": self.webhook_events_filter} if self.webhook else {}),
        }


class CannotRun(Exception):
    """The model exists but cannot be run now; the message says why."""


class WorkspaceClosed(CannotRun):
    """The workspace was deleted, before the request or while it was under way."""


class ModelNotAllowed(Exception):
    """The caller's key is a publishable one that does not name this model."""


class CostAboveCap(Exception):
    """The quote is above the caller's own cap."""

    def __init__(self, quote_micros: int, cap_micros: int) -> None:
        super().__init__(
            f"This run costs {quote_micros:,} micro-dollars, above the cap of {cap_micros:,} that the request sets."
        )
        self.quote_micros = quote_micros
        self.cap_micros = cap_micros


def quote(
    caller: Caller | None, *, model: str, data: object, prices_since: datetime | None = None
) -> pricing.QuoteJson:
    """What a run would cost, holding nothing; or would have by the price list that began at `prices_since`.

    Raises catalog.NotFound, schema.InvalidInput, pricing.CannotPrice, and ModelNotAllowed.
    """
    now = timezone.now()
    called = catalog.callable_endpoint(model, workspace=caller.workspace if caller else None, now=now)
    check_model(caller, called.model_id)
    if prices_since is not None:
        earlier = called.endpoint.prices.filter(effective_from=prices_since, effective_from__lte=now)
        called = replace(called, prices=tuple(earlier.order_by("id")))
    cleaned = schema.clean(called.endpoint.input_schema, data)
    return _priced(called, cleaned, caller.workspace if caller else None, now).as_json(
        quote_id=encode(uuid7(), "q"), model=called.model_id, expires_at=now + QUOTE_LIFETIME
    )


def submit(caller: Caller, request: Request) -> Prediction:
    """Accept one run: the row, the hold of its quote and the limits in one commit; then the lane is woken.

    The same idempotency key and body give the same prediction again. Raises catalog.NotFound, schema.InvalidInput,
    pricing.CannotPrice, CannotRun, ModelNotAllowed, CostAboveCap, ledger.InsufficientCredit, ledger.LimitReached,
    ledger.TooManyOpen, IdempotencyConflict, IdempotencyInFlight, and for files that are sent in it examiner.Busy and
    uploads.QuotaReached; after any of them nothing is held and nothing was written.
    """
    now = timezone.now()
    once = _once(caller, request)
    if once:
        known = once.find()
        if known is not None:
            return known
    called = catalog.callable_endpoint(request.model, workspace=caller.workspace, now=now)
    check_model(caller, called.model_id)
    cleaned = schema.clean(called.endpoint.input_schema, request.input)
    priced = _priced(called, cleaned, caller.workspace, now)
    if request.max_cost_micros is not None and priced.amount_micros > request.max_cost_micros:
        raise CostAboveCap(priced.amount_micros, request.max_cost_micros)
    offer = _choose(called)
    taken = take_files(caller.workspace, caller.user, called.endpoint.input_schema, cleaned, key=caller.key)
    row = _row(caller, request, called, offer, taken, priced, now)
    with _remembering_refusals(), _while_open(), transaction.atomic():
        if once:
            known = once.claim()
            if known is not None:
                return known
        row.save(force_insert=True)
        pin(row, taken.sources)
        if once:
            once.remember(row)
        transaction.on_commit(lambda: live.publish([state_of(row)]), robust=True)
        if taken.is_complete:
            dispatch.wake(offer.lane)
        else:
            hint_on_commit(row)
        # Last, so that the workspace's balance is locked for the shortest time.
        ledger.hold(
            workspace_id=caller.workspace.pk,
            reference=row.public_id,
            amount_micros=row.held_micros,
            book=settings.LEDGER_BOOK,
            limits=_scopes(caller, called.model_id),
            most_open=most_open_runs(caller.workspace),
            most_open_granted=int(settings.GRANTED_OPEN_RUNS),
        )
    return row


def most_open_runs(workspace: Workspace) -> int:
    """How many runs the workspace may have open at once, queued or running; 0 is no limit."""
    own = workspace.max_open_runs
    return int(settings.MAX_OPEN_RUNS) if own is None else own


@contextlib.contextmanager
def _remembering_refusals() -> Iterator[None]:
    """A limit that refuses a run is told of, though the refused run leaves no other trace."""
    try:
        yield
    except ledger.LimitReached as error:
        if error.window is not None:
            ledger.note_refusal(error.window)
        raise


@contextlib.contextmanager
def _while_open() -> Iterator[None]:
    """The database takes no run for a workspace that is closed, or is being closed at this moment."""
    try:
        yield
    except IntegrityError as error:
        named = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        if named != "prediction_workspace_open":
            raise
        raise WorkspaceClosed("This workspace was deleted. Nothing was held or charged.") from None


def check_model(caller: Caller | None, model_id: str) -> None:
    """Raise ModelNotAllowed where the caller's key is one for a few models and this is none of them."""
    key = caller.key if caller is not None else None
    if key is not None and key.is_publishable and model_id not in key.model_ids:
        raise ModelNotAllowed(f"This publishable key runs {', '.join(key.model_ids)} only, not {model_id}.")


def _once(caller: Caller, request: Request) -> Once | Again | None:
    """What tells this request again. A publishable key has names of its own: it must not be answered with a run of the
    workspace that it did not make."""
    key, named = caller.key, request.idempotency_key
    if named is None and request.repeat is not None:
        mark = f"{key.pk if key is not None else 0} {request.repeat.mark}"
        return Again(caller.workspace, replace(request.repeat, mark=mark), idempotency.digest(request.body()))
    if named is None:
        return None
    if key is not None and key.is_publishable:
        named = f"{key.key_id} {hashlib.sha256(named.encode()).hexdigest()}"
    return Once(caller.workspace, named, idempotency.digest(request.body()))


def _priced(
    called: catalog.Callable, cleaned: Mapping[str, Any], workspace: Workspace | None, now: datetime
) -> pricing.Quote:
    """The price of one run, at the tier that the workspace has reached; strangers are quoted the first."""
    lines = price_lines(called.prices)
    has_tiers = workspace is not None and any(line.from_runs for line in lines)
    runs = usage.runs_this_month(workspace.pk, called.model_id, now=now) if workspace and has_tiers else 0
    return price_of(called.endpoint, lines, cleaned, runs=runs)


def price_lines(prices: Iterable[Price]) -> list[pricing.PriceLine]:
    """Rows of a price list as the arithmetic takes them."""
    return [pricing.PriceLine(p.unit, p.unit_price, p.conditions, p.from_runs) for p in prices]


def price_of(
    endpoint: Endpoint, lines: Sequence[pricing.PriceLine], cleaned: Mapping[str, Any], *, runs: int = 0
) -> pricing.Quote:
    """What a run with this cleaned input costs by a price list, `runs` runs into the month. Raises CannotPrice."""
    quantities = schema.quantities(endpoint.input_schema, cleaned)
    quantities["compute_second"] = quantities["request"] * endpoint.max_seconds
    return pricing.quote(lines, quantities, cleaned, runs=runs)


def _choose(called: catalog.Callable) -> Offer:
    """The offer that serves this run; today the first lane of ours."""
    if called.listing.is_paused:
        raise CannotRun(f"{called.model_id} is paused by its publisher and takes no new runs at present.")
    if not called.offers:
        raise CannotRun(f"{called.model_id} has no offer that serves it at present.")
    return called.offers[0]


def _scopes(caller: Caller, model_id: str) -> list[ledger.SpendScope]:
    scopes = [ledger.SpendScope("workspace", str(caller.workspace.pk)), ledger.SpendScope("model", model_id)]
    if caller.key is not None:
        # What a key spends counts in the limits of those that made it, too.
        counted = [*caller.key.ancestor_ids, caller.key.pk]
        scopes += [ledger.SpendScope("key", str(one)) for one in counted]
    # Whoever may make keys could else spend by one what a limit on them forbids.
    person = caller.user.pk if caller.user is not None else caller.key.created_by_id if caller.key else None
    if person is not None:
        scopes.append(ledger.SpendScope("member", str(person)))
    return scopes


def _row(
    caller: Caller,
    request: Request,
    called: catalog.Callable,
    offer: Offer,
    taken: Taken,
    priced: pricing.Quote,
    now: datetime,
) -> Prediction:
    endpoint = called.endpoint
    cleaned = schema.with_seeds(endpoint.input_schema, taken.values)
    lane = offer.lane if taken.is_complete else FETCH_LANE
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
        lane=lane,
        batch_key=batch_key(
            endpoint,
            cleaned,
            exact=request.exact,
            adapters=adapters.identities(caller.workspace.pk, endpoint.input_schema, cleaned),
        ),
        exact=request.exact,
        priority=request.priority,
        asked=dict(request.asked) if request.asked is not None else None,
        webhook=_webhook(request),
        start_by=now + timedelta(seconds=patience),
        cancel_by=now + timedelta(seconds=request.cancel_after) if request.cancel_after else None,
        created_at=now,
    )
    row.quote = priced.as_json(quote_id=encode(row.public_id, "q"), model=called.model_id)
    row.fair_at = fair_at(caller.workspace.pk, lane, endpoint.typical_ms, now)
    return row


def _webhook(request: Request) -> dict[str, Any] | None:
    if not request.webhook:
        return None
    return {"url": request.webhook, "events": list(request.webhook_events_filter or RUN_EVENTS)}
