"""Predictions: asked for by version, by model or by deployment, listed, read, canceled, followed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from marketplace.schema import FieldError
from playground import predictions
from playground.api.paging import page
from playground.api.parsing import idempotency_key
from playground.api.problems import Problem, invalid
from playground.facades import asking
from playground.facades.replicate import asked as asking_for
from playground.facades.replicate import capability, show
from playground.facades.replicate.dialect import DIALECT, WAITED
from playground.facades.replicate.stream import DONE, Events, Told
from playground.facades.replicate.view import ReplicateView
from playground.models import Prediction as PredictionRow

PAGE = 100
AGAIN = "x-stainless-retry-count"


class Predictions(ReplicateView):
    """`POST /v1/predictions` runs a version or a model; `GET` lists the workspace's runs, newest first."""

    scopes = {"GET": "predictions:read", "POST": "predictions:write"}
    for_browsers = True

    def get(self, request: Request) -> Response:
        who, base = self.caller(), self.base
        source = asking_for.text_of(request, "source")
        if source not in {"", "web", "api"}:
            raise invalid([FieldError("source", "not_allowed", "must be web or api", ["web", "api"])])
        filters = predictions.Filters(
            since=asking_for.moment(request, "created_after"),
            until=asking_for.moment(request, "created_before"),
            via=PredictionRow.Via.PAGE.value if source == "web" else "",
        )
        anchors = predictions.anchors(who.workspace)
        if who.key is not None and who.key.is_publishable:
            filters = replace(filters, key_id=who.key.pk)
            anchors = anchors.filter(api_key=who.key)
        rows = predictions.matching(who.workspace, filters).with_model()
        if source == "api":
            rows = rows.exclude(via=PredictionRow.Via.PAGE)
        with predictions.bounded():
            found = page(
                request,
                rows,
                order=predictions.ORDER,
                show=lambda row: show.prediction(predictions.as_json(row), row.asked, base),
                anchors=anchors,
                limit=PAGE,
            )
        return Response(found)

    def post(self, request: Request) -> HttpResponse:
        wanted = asking_for.prediction(request, names_version=True)
        try:
            if asking_for.is_version(wanted.version):
                model = asking.model_of_version(self.caller(), wanted.version)
            else:
                model = asking_for.model_named(wanted.version)
            return _run(self, model, wanted)
        except catalog.NotFound:
            raise Problem(
                "invalid_input",
                "The specified version does not exist (or perhaps you don't have permission to use it?)",
                members={"title": "Invalid version or not permitted"},
            ) from None


class ModelPredictions(ReplicateView):
    """`POST /v1/models/<owner>/<name>/predictions` runs a model by its name."""

    scopes = {"POST": "predictions:write"}
    for_browsers = True

    def post(self, request: Request, owner: str, name: str) -> HttpResponse:
        return _run(self, f"{owner}/{name}", asking_for.prediction(request, names_version=False))


class Prediction(ReplicateView):
    """`GET /v1/predictions/<id>`: one run, as it is now."""

    scopes = {"GET": "predictions:read"}
    for_browsers = True

    def get(self, request: Request, prediction_id: str) -> HttpResponse:
        return self.shown(self.find(prediction_id))


class Cancel(ReplicateView):
    """`POST /v1/predictions/<id>/cancel`: close it; one that has ended is answered as it is."""

    scopes = {"POST": "predictions:write"}
    for_browsers = True

    def post(self, request: Request, prediction_id: str) -> HttpResponse:
        return self.shown(predictions.cancel(self.find(prediction_id)))


class Stream(ReplicateView):
    """`GET /v1/files/streams/<token>`: what happens to a run, as it happens. Whoever has the address may follow it:
    clients open it without their key. It looks like a file's, as clients make files of what such streams put out.

    Who comes back with `Last-Event-ID` is told what followed that event, and to stay away if it was the last one."""

    authentication_classes = ()
    permission_classes = ()
    scopes = {"GET": None}

    def get(self, request: Request, token: str) -> HttpResponse:
        public_id = capability.opened(token)
        rows = PredictionRow.objects.kept().with_model().filter(workspace__closed_at=None)
        row = rows.filter(public_id=public_id).first() if public_id is not None else None
        if row is None:
            raise Problem("not_found", "There is no such stream, or its time is over.")
        told = Told.read(request.headers.get("Last-Event-ID", ""))
        if told.end == DONE and row.is_terminal:
            return HttpResponse(status=204)
        return self.shown(row, frames=Events(show.seed_line(row.input), self.base, told))


def _run(view: ReplicateView, model: str, wanted: asking_for.Asked) -> HttpResponse:
    who, request = view.caller(), view.request
    if wanted.webhook and who.key is not None and who.key.is_publishable:
        # Whoever reads the page that it lies open in could have us call whom they like.
        raise invalid([FieldError("webhook", "not_allowed", "cannot be set with a publishable key")])
    keep: dict[str, object] = {"events": list(wanted.events)} if wanted.webhook else {}
    if DIALECT.waits(view.scope) is not None:
        keep[WAITED] = True
    if wanted.cancel_after:
        keep["deadline"] = (timezone.now() + timedelta(seconds=wanted.cancel_after)).isoformat()
    again = request.headers.get(AGAIN, "")
    call = asking.Call(
        dialect=DIALECT.name,
        model=model,
        input=asking_for.with_own_files(wanted.input, urlsplit(view.base).netloc),
        idempotency_key=idempotency_key(request),
        # Version 2 of the Python client sends a request again that was not answered in time, and says so.
        repeat_of=request.path if again else None,
        is_again=again != "0" if again else None,
        webhook=wanted.webhook,
        webhook_events=wanted.told,
        cancel_after=wanted.cancel_after,
        keep=keep,
    )
    return view.shown(view.ask(call))
