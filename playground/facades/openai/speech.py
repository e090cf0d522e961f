"""`/openai/v1/audio/speech`: runs that speak a text."""

from __future__ import annotations

from django.http import HttpResponseBase
from rest_framework.request import Request

from playground.facades.openai import asks, bodies
from playground.facades.openai.view import View


class Speech(View):
    """`POST` speaks: the answer is the sound itself, or its pieces as events."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request) -> HttpResponseBase:
        return self.shown(self.submit(request, asks.speech(bodies.read(request))))
