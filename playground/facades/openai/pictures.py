"""`/openai/v1/images`: runs that make pictures, answered when they are done, or with events while they grow."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponseBase
from rest_framework.request import Request

from playground import predictions
from playground.facades.openai import asks, masks
from playground.facades.openai.dialect import Frames
from playground.facades.openai.view import View


class Pictures(View):
    """`POST` makes pictures. `act` is what for; `files` are the fields that name files."""

    scopes = {"POST": "predictions:write"}
    act: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()

    def post(self, request: Request) -> HttpResponseBase:
        ask = asks.image(self.read(request, *self.files), self.act)
        if self.files:
            described = self.called(ask).endpoint.input_schema
            ask = masks.turned(ask, described, self.caller().workspace)
        row = self.submit(request, ask)
        if not ask.keep["stream"]:
            return self.shown(row)
        document = predictions.as_json(row)
        return self.shown(row, frames=Frames(document, row.asked or {}))


class Generations(Pictures):
    act = "generate"


class Edits(Pictures):
    act = "edit"
    files = ("image", "images", "mask")


class Variations(Pictures):
    act = "vary"
    files = ("image",)
