"""What Replicate has and this house has not: lists are empty, single ones are not there, and nothing can be made.

Each answers in the shape that the clients read, with a sentence that says what to do instead.
"""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from playground.api.problems import Problem
from playground.facades.replicate.errors import Absent
from playground.facades.replicate.models import find_version, whole
from playground.facades.replicate.view import ReplicateView

NO_DEPLOYMENT = (
    "There is no such deployment: every model is always ready here, and is called by its own name."
)
NO_TRAINING = "There is no such training."


class Deployments(ReplicateView):
    """`GET`, `POST /v1/deployments`."""

    scopes = {"GET": "models:read", "POST": "predictions:write"}

    def get(self, request: Request) -> Response:
        return Response(whole([]))

    def post(self, request: Request) -> Response:
        raise Absent(f"Deployments cannot be made here. {NO_DEPLOYMENT.partition(': ')[2].capitalize()}")


class Deployment(ReplicateView):
    """`GET`, `PATCH`, `DELETE /v1/deployments/<owner>/<name>`."""

    scopes = {"GET": "models:read", "PATCH": "predictions:write", "DELETE": "predictions:write"}

    def get(self, request: Request, owner: str, name: str) -> Response:
        raise Problem("not_found", NO_DEPLOYMENT)

    patch = delete = get


class DeploymentPredictions(ReplicateView):
    """`POST /v1/deployments/<owner>/<name>/predictions`."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request, owner: str, name: str) -> Response:
        raise Problem("not_found", NO_DEPLOYMENT)


class Trainings(ReplicateView):
    """`GET /v1/trainings`."""

    scopes = {"GET": "predictions:read"}

    def get(self, request: Request) -> Response:
        return Response(whole([]))


class Training(ReplicateView):
    """`GET /v1/trainings/<id>`."""

    scopes = {"GET": "predictions:read"}

    def get(self, request: Request, training_id: str) -> Response:
        raise Problem("not_found", NO_TRAINING)


class CancelTraining(ReplicateView):
    """`POST /v1/trainings/<id>/cancel`."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request, training_id: str) -> Response:
        raise Problem("not_found", NO_TRAINING)


class Train(ReplicateView):
    """`POST /v1/models/<owner>/<name>/versions/<id>/trainings`."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request, owner: str, name: str, version: str) -> Response:
        find_version(request, owner, name, version)
        raise Absent("This version cannot be trained: its schema has no TrainingInput.")
