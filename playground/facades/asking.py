"""From a call in another protocol to a run: the model it names, its words translated, and one submit."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from marketplace import catalog, schema
from playground import predictions
from playground.facades import words
from playground.facades.dialects import named
from playground.models import Prediction

_SHA256 = re.compile(r"[0-9a-f]{64}")
IN_FLIGHT_SECONDS = 2.0  # that a second request of the same name waits for the first, rather than be refused
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """What a client of another protocol asks for.

    `model` is `publisher/name` or `publisher/name:version`; for a bare version see `model_of_version`. `repeat_of` is
    set where clients of the protocol send a request again by themselves, to whatever tells it besides key and body (the
    address, say); `is_again` to which time it is, where the client tells. `webhook_events` are kinds of ends
    (playground.models.RUN_EVENTS), all by default. `keep` comes back in Prediction.asked.
    """

    dialect: str
    model: str
    input: Mapping[str, Any]
    idempotency_key: str | None = None
    repeat_of: str | None = None
    is_again: bool | None = None
    webhook: str | None = None
    webhook_events: Sequence[str] = ()
    start_within: int | None = None
    cancel_after: int | None = None
    priority: int = 0
    max_cost_micros: int | None = None
    keep: Mapping[str, Any] = field(default_factory=dict)


def submit(caller: predictions.Caller, call: Call) -> Prediction:
    """Take the run in. Raises what predictions.submit raises; the fields in InvalidInput are the caller's own words."""
    called = catalog.callable_endpoint(call.model, workspace=caller.workspace, now=timezone.now())
    predictions.check_model(caller, called.model_id)  # whom it is not for learns no words of it
    described = called.endpoint.input_schema
    translated = words.translate(named(call.dialect).words, called.endpoint.task, described, call.input)
    request = predictions.Request(
        model=call.model,
        input=translated.input,
        via=Prediction.Via(call.dialect),
        idempotency_key=call.idempotency_key,
        repeat=_repeat(call),
        webhook=call.webhook,
        webhook_events_filter=list(call.webhook_events) or None,
        start_within=call.start_within,
        cancel_after=call.cancel_after,
        priority=call.priority,
        max_cost_micros=call.max_cost_micros,
        asked={
            **call.keep,
            "dialect": call.dialect,
            "ignored": [one.as_json() for one in translated.ignored],
        },
    )
    try:
        return _submit(caller, request)
    except schema.InvalidInput as error:
        raise translated.errors(error.errors) from None


def model_of_version(caller: predictions.Caller, sha256: str) -> str:
    """`publisher/name:version` of a bare version id, of those that the caller may see. Raises catalog.NotFound."""
    if not _SHA256.fullmatch(sha256):
        raise catalog.NotFound("A version's id has 64 hex digits.")
    return catalog.model_of_version(sha256, workspace=caller.workspace)


def _repeat(call: Call) -> predictions.Repeat | None:
    if call.repeat_of is None:
        return None
    return predictions.Repeat(f"{call.dialect} {call.repeat_of}", call.is_again)


def _submit(caller: predictions.Caller, request: predictions.Request) -> Prediction:
    until = time.monotonic() + IN_FLIGHT_SECONDS
    while True:
        try:
            return predictions.submit(caller, request)
        except predictions.IdempotencyInFlight:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
