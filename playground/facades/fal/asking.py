"""From a request of fal's to a run: the app it names, what it wishes, and its input in fal's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from rest_framework.request import Request

from marketplace import catalog
from marketplace.schema import FieldError
from playground import predictions, webhooks
from playground.api.parsing import idempotency_key
from playground.api.problems import Problem, invalid
from playground.facades import asking
from playground.facades.fal import headers, letters
from playground.facades.fal.bearer import TokenInAddress
from playground.facades.fal.words import SYNC_MODE, App, app_of
from playground.facades.words import cast
from playground.models import Prediction


def run_of(request: Request, caller: predictions.Caller, app: str) -> tuple[Prediction, list[str]]:
    """Start the run that a request asks for; the row, and what of its headers is not done here.

    Raises what `asking.submit` raises, and Problem.
    """
    named, wishes = known_app(app, caller), headers.wishes(request.headers, request.query_params)
    given = _input(request, caller, named)
    sync_mode = given.pop(SYNC_MODE, False)
    if not isinstance(sync_mode, bool):
        raise invalid([FieldError(f"input.{SYNC_MODE}", "type", "must be true or false", [True, False])])
    if wishes.most_queued is not None:
        _check_queue(named, caller, wishes.most_queued)
    _check_webhook(wishes.webhook, request, caller)
    call = asking.Call(
        dialect=letters.DIALECT,
        model=named.model,
        input=given,
        idempotency_key=idempotency_key(request),
        repeat_of=f"{request.method} {request.get_full_path()}",  # both clients send again what got no answer
        # A browser, or whatever lies between, may ask twice for what it only reads: that is no second run.
        is_again=True if request.method == "GET" else None,
        webhook=wishes.webhook,
        webhook_events=letters.EVENTS,
        start_within=wishes.start_within,
        priority=wishes.priority,
        keep={
            "has_deadline": wishes.start_within is not None,
            "keeps_input": wishes.keeps_input,
            SYNC_MODE: sync_mode,
            **({"expires_seconds": wishes.expires_seconds} if wishes.expires_seconds else {}),
        },
    )
    try:
        return asking.submit(caller, call), wishes.ignored
    except catalog.NotFound:
        raise no_app(named) from None


def _check_queue(app: App, caller: predictions.Caller, most: int) -> None:
    """How long its queue is, only who sees an app is told."""
    called = _called(app, caller)
    if predictions.queue_length(called.model_id) > most:
        detail = f"More than {most:,} requests wait for {called.model_id}. Nothing was started."
        raise Problem("throttled", detail, members={"error_type": "queue_full"})


def _called(app: App, caller: predictions.Caller) -> catalog.Callable:
    try:
        called = catalog.callable_endpoint(app.model, workspace=caller.workspace, now=timezone.now())
    except catalog.NotFound:
        raise no_app(app) from None
    predictions.check_model(caller, called.model_id)
    return called


def _check_webhook(url: str | None, request: Request, caller: predictions.Caller) -> None:
    wrong = webhooks.wrong_with(url) if url is not None else None
    is_open = caller.key is not None and caller.key.is_publishable
    if url is not None and (is_open or isinstance(request.successful_authenticator, TokenInAddress)):
        # Whoever reads the page that it lies open in could have us call whom they like.
        wrong = "cannot be set with a publishable key, nor with a token"
    if wrong is not None:
        raise invalid([FieldError("fal_webhook", "pattern", wrong)])


def known_app(text: str, caller: predictions.Caller) -> App:
    """The app that an id names, if it can be one of ours. Raises Problem.

    Below a model there is its endpoint, by its name, and nothing else; and nothing of ours is a workflow or a graph
    that could be called by name.
    """
    app = app_of(text)
    if app is None:
        raise Problem("not_found", f"“{text[:100]}” is no app: an id is owner/alias.")
    if app.namespace:
        raise no_app(app)
    if app.path and app.path != (only := _called(app, caller).endpoint.name):
        detail = (
            f'Path /{app.path[:100]} not found: below "{app.model}" there is only /{only}, which is the same.'
        )
        raise Problem("not_found", detail)
    return app


def no_app(app: App) -> Problem:
    """The error of an app that is not there."""
    if app.namespace:
        return Problem(
            "not_found", f'Application "{app.base[:100]}" not found: no {app.namespace} are served here.'
        )
    return Problem("not_found", f'Application "{app.model[:100]}" not found')


def _input(request: Request, caller: predictions.Caller, app: App) -> dict[str, Any]:
    """The fields of the input: the body, or in a GET the query, each read as the type that the model wants."""
    if request.method == "GET":
        query = {
            name: str(value) for name, value in request.query_params.items() if not name.startswith("fal_")
        }
        if query.get(SYNC_MODE) in {"true", "false"}:
            return {**_read(query, caller, app), SYNC_MODE: query[SYNC_MODE] == "true"}
        return _read(query, caller, app)
    data = request.data
    if not isinstance(data, Mapping):
        raise invalid([FieldError("input", "type", "must be an object of fields and values", "object")])
    return dict(data)


def _read(query: Mapping[str, str], caller: predictions.Caller, app: App) -> dict[str, Any]:
    fields = _called(app, caller).endpoint.input_schema.get("properties", {})
    return {name: cast(fields[name], text) if name in fields else text for name, text in query.items()}
