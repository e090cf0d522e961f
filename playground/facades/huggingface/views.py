"""`/hf/<publisher>/<name>`: one run, answered with what it made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponseBase
from rest_framework.request import Request

from marketplace.schema import FieldError
from playground import examiner
from playground.api.parsing import StrictJSONParser, idempotency_key
from playground.api.problems import invalid
from playground.facades import asking
from playground.facades.huggingface import bodies
from playground.facades.huggingface.dialect import DIALECT
from playground.facades.view import FacadeView
from playground.facades.vocabulary import COUNT

_COUNTS = (*COUNT, "num_images_per_prompt")


class Inference(FacadeView):
    """`POST` runs the model."""

    dialect = DIALECT
    scopes = {"POST": "predictions:write"}
    parser_classes = (StrictJSONParser, bodies.BytesParser)
    content_negotiation_class = bodies.JSONOrBytes

    def post(self, request: Request, publisher: str, name: str) -> HttpResponseBase:
        inputs, given = bodies.read(request, keep=self._kept)
        call = asking.Call(
            dialect=DIALECT.name,
            model=f"{publisher}/{name}",
            input={**_one(given), "inputs": inputs},
            idempotency_key=idempotency_key(request),
        )
        return self.shown(self.ask(call))

    def _kept(self, sent: bodies.Sent) -> str:
        assert sent.rest is not None
        try:
            return self.keep(sent.rest, head=sent.head, reuse=True).uid
        except examiner.Refusal as error:
            raise invalid([FieldError("inputs", "file", f"cannot be used: {error}")]) from None


def _one(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, which ask for one file, whatever the model makes of its own accord: more would be charged, and
    the answer has no room for them. Raises Problem."""
    for word in _COUNTS:
        if given.get(word, 1) not in (1, "1"):
            raise invalid([FieldError(word, "too_large", "must be 1: an answer is one file", 1)])
    return {**({} if any(word in given for word in _COUNTS) else {_COUNTS[-1]: 1}), **given}
