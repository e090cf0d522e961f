"""What lies around models and runs: the account, hardware, collections, search, the secret of webhooks."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from marketplace.models import Workspace
from marketplace.schema import FieldError
from playground import live, webhooks
from playground.api.authentication import IsAnybody
from playground.api.problems import Problem, invalid
from playground.api.view import caller, workspace
from playground.facades.replicate import asked, shelf
from playground.facades.replicate.models import whole
from playground.facades.replicate.view import ReplicateView

MOST_FOUND, USUALLY_FOUND = 50, 20
OF_A_TASK = 100  # models that a collection shows
Json = dict[str, object]


class Account(ReplicateView):
    """`GET /v1/account`: the workspace that the key is in."""

    scopes = {"GET": "workspace:read"}

    def get(self, request: Request) -> Response:
        return Response(account(caller(request).workspace))


class Hardware(ReplicateView):
    """`GET /v1/hardware`: the lanes that engines serve at present, a bare list."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        return Response([{"name": lane.upper(), "sku": lane} for lane in live.lanes() if live.engines(lane)])


class Collections(ReplicateView):
    """`GET /v1/collections`: one for each task that models on the shelf have."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        return Response(whole([_collection(task) for task in catalog.tasks()]))


class Collection(ReplicateView):
    """`GET /v1/collections/<slug>`: the models of one task."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request, slug: str) -> Response:
        if slug not in catalog.tasks():
            raise Problem("not_found", "There is no such collection.")
        rows = catalog.listings(task=slug, workspace=workspace(request))
        found = list(rows.prefetch_related(*shelf.WITH_VERSION)[:OF_A_TASK])
        return Response({**_collection(slug), "models": shelf.models(found, self.base)})


class Search(ReplicateView):
    """`GET /v1/search?query=&limit=`: models, and the tasks that have these words in their names."""

    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def get(self, request: Request) -> Response:
        query, limit = asked.text_of(request, "query").strip(), asked.text_of(request, "limit")
        limit = limit or str(USUALLY_FOUND)
        if not query:
            raise invalid([FieldError("query", "required", "is required", "string")])
        if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST_FOUND):
            allowed = {"minimum": 1, "maximum": MOST_FOUND}
            raise invalid([FieldError("limit", "type", f"must be a number from 1 to {MOST_FOUND}", allowed)])
        rows = catalog.best(catalog.listings(search=query, workspace=workspace(request)), query)
        found = list(rows.prefetch_related(*shelf.WITH_VERSION)[: int(limit)])
        shown = shelf.models(found, self.base)
        words = set(query.lower().split())
        return Response(
            {
                "query": query,
                "models": [
                    {
                        "model": model,
                        "metadata": {"tags": [listing.task], "generated_description": None, "score": None},
                    }
                    for model, listing in zip(shown, found, strict=True)
                ],
                "collections": [
                    {**_collection(task), "models": []}
                    for task in catalog.tasks()
                    if words & set(task.split("-"))
                ],
                "pages": [],
            }
        )


class WebhookSecret(ReplicateView):
    """`GET /v1/webhooks/default/secret`: what signs the deliveries to addresses that requests name."""

    scopes = {"GET": "webhooks:write"}

    def get(self, request: Request) -> Response:
        return Response({"key": webhooks.request_secret(caller(request).workspace).secret})


def account(workspace: Workspace) -> Json:
    """A workspace as an account."""
    return {
        "type": "organization",
        "username": workspace.slug,
        "name": workspace.name,
        "github_url": None,
        "avatar_url": None,
    }


def _collection(task: str) -> Json:
    words = task.replace("-", " ").capitalize()
    return {
        "name": words,
        "slug": task,
        "description": f"{words}: models that do this.",
        "full_description": None,
    }
