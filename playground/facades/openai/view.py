"""What all views of the OpenAI API share: how a run is asked for, and errors about the model that is named."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from marketplace.schema import FieldError
from playground import assets, examiner
from playground.api.parsing import idempotency_key
from playground.api.problems import Problem, invalid
from playground.examiner import extension_of
from playground.facades import asking
from playground.facades.openai import asks, bodies
from playground.facades.openai.dialect import DIALECT
from playground.facades.view import FacadeView
from playground.models import Prediction
from playground.pages.streams import Drip

THERE = "Of this API, Vitrine has images, videos, audio/speech, models and files."


class View(FacadeView):
    """One address of the OpenAI API."""

    dialect = DIALECT

    def submit(self, request: Request, ask: asks.Ask) -> Prediction:
        """Take a run in; the same request of a client that tries again is the same run. Raises as asking.submit."""
        call = asking.Call(
            dialect=DIALECT.name,
            model=ask.model,
            input=ask.input,
            idempotency_key=idempotency_key(request),
            repeat_of=request.path,
            is_again=asks.is_again(request.headers),
            keep=ask.keep,
        )
        try:
            return self.ask(call)
        except catalog.NotFound as error:
            raise _no_model(error) from None

    def read(self, request: Request, *files: str) -> dict[str, Any]:
        """The fields of the body, as `bodies.read`; those that name files are `files`. Raises Problem."""
        return bodies.read(request, files=files, keep=self._kept)

    def _kept(self, name: str, file: UploadedFile[Any]) -> str:
        try:
            return self.keep(file, filename=file.name or "", reuse=True).uid
        except examiner.Refusal as error:
            raise invalid([FieldError(name, "file", f"cannot be used: {error}")]) from None

    def contents(self, storage_name: str, kind: str, name: str) -> HttpResponseBase:
        """A stored file as the answer, sent while it is read. Raises Problem where it is gone."""
        try:
            pieces = assets.pieces(storage_name)
            return Drip(pieces, content_type=kind, filename=f"{name}.{extension_of(kind)}")
        except FileNotFoundError:
            raise Problem("not_found", "The file is gone.") from None

    def called(self, ask: asks.Ask) -> catalog.Callable:
        """What the model that is asked for runs. Raises Problem."""
        workspace = self.caller().workspace
        try:
            return catalog.callable_endpoint(ask.model, workspace=workspace, now=timezone.now())
        except catalog.NotFound as error:
            raise _no_model(error) from None


def _no_model(error: catalog.NotFound) -> Problem:
    return Problem("not_found", str(error), members={"param": "model"})


class Unknown(View):
    """Every other address of the protocol: nothing of it is here."""

    scopes = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"))

    def get(self, request: Request, rest: str) -> Response:
        detail = f"Unknown request URL: {request.method} {request.path[:200]}. {THERE}"
        raise Problem("not_found", detail, members={"code": "unknown_url"})

    post = put = patch = delete = get
