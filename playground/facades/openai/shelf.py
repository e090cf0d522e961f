"""`/openai/v1/models`: what is on the shelf."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from marketplace.models import Listing
from playground.api.problems import Problem
from playground.facades.openai.view import View

MOST = 1000  # the protocol's list has no pages


class Models(View):
    """`GET` lists the models, the featured first."""

    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        rows = catalog.listings(workspace=self.caller().workspace)[:MOST]
        return Response({"object": "list", "data": [_shown(row) for row in rows]})


class Model(View):
    """`GET` names one model."""

    scopes = {"GET": "models:read"}

    def get(self, request: Request, model: str) -> Response:
        try:
            row = catalog.listing(model, workspace=self.caller().workspace)
        except catalog.NotFound as error:
            raise Problem("not_found", str(error), members={"param": "model"}) from None
        return Response(_shown(row))


def _shown(row: Listing) -> dict[str, Any]:
    return {
        "id": row.model_id,
        "object": "model",
        "created": int(row.created_at.timestamp()),
        "owned_by": row.publisher.name,
    }
