"""What Hugging Face's clients ask about a model before and beside running it: where it can be run, and whether it can.

With `HF_ENDPOINT` set to `/hf`, the clients ask here which of their providers have a model. Those of this house are
three: Hugging Face's own protocol at `/hf`, Replicate's and fal's.
"""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace import catalog
from playground.api.authentication import IsAnybody
from playground.api.problems import Problem
from playground.api.view import workspace
from playground.facades.huggingface.dialect import DIALECT
from playground.facades.view import FacadeView

# What each provider's helpers in the clients can ask for. Answers of Hugging Face's own protocol are a file.
_PICTURES = {"text-to-image", "image-to-image"}
PROVIDERS = {
    "hf-inference": {*_PICTURES, "text-to-speech"},
    "fal-ai": {*_PICTURES, "text-to-speech", "text-to-video", "image-to-video"},
    "replicate": {*_PICTURES, "text-to-speech", "text-to-video"},
}
# The client makes RepositoryNotFoundError of it.
_NO_REPOSITORY = {"X-Error-Code": "RepoNotFound"}


class About(FacadeView):
    """`GET` of something about a model, whoever asks."""

    dialect = DIALECT
    permission_classes = (IsAnybody,)
    scopes = {"GET": "models:read"}

    def called(self, request: Request, publisher: str, name: str) -> catalog.Callable:
        """What the model runs. Raises Problem."""
        try:
            model = catalog.listing(f"{publisher}/{name}", workspace=workspace(request)).model_id
            return catalog.callable_endpoint(model, workspace=workspace(request), now=timezone.now())
        except catalog.NotFound as error:
            raise Problem("not_found", str(error), headers=_NO_REPOSITORY) from None


class Hub(About):
    """`/hf/api/models/<publisher>/<name>`: the model as the Hub tells of it, and which providers have it."""

    def get(self, request: Request, publisher: str, name: str) -> Response:
        called = self.called(request, publisher, name)
        task = called.endpoint.task
        shown: dict[str, Any] = {
            "id": called.model_id,
            "modelId": called.model_id,
            "author": publisher,
            "sha": called.version.sha256,
            "private": called.listing.visibility == called.listing.Visibility.PRIVATE,
            "gated": False,
            "pipeline_tag": task,
            "tags": [task],
            "inferenceProviderMapping": {
                provider: {"providerId": called.model_id, "status": "live", "task": task}
                for provider, tasks in PROVIDERS.items()
                if task in tasks
            },
        }
        return Response(shown)


class Info(About):
    """`/hf/<publisher>/<name>/info`: what the endpoint is."""

    def get(self, request: Request, publisher: str, name: str) -> Response:
        called = self.called(request, publisher, name)
        shown = {
            "model_id": called.model_id,
            "model_sha": called.version.sha256,
            "model_pipeline_tag": called.endpoint.task,
        }
        return Response(shown)


class Health(About):
    """`/hf/<publisher>/<name>/health`: 200 for a model that can be run."""

    def get(self, request: Request, publisher: str, name: str) -> Response:
        if not self.called(request, publisher, name).offers:
            raise Problem("model_unavailable", "Nothing serves this model at present.")
        return Response({"status": "ok"})
