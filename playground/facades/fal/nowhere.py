"""Addresses below `/fal` that are nothing: an error as fal's clients read it, and not a page."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from playground.api.problems import Problem
from playground.facades.fal.view import FalView


class Nowhere(FalView):
    """Whatever is asked."""

    authentication_classes = ()
    permission_classes = ()
    scopes = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"))

    def get(self, request: Request, **_: Any) -> HttpResponse:
        raise Problem("not_found", "There is nothing at this address.")

    post = put = patch = delete = get
