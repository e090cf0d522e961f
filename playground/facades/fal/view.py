"""What the views of the run and queue faces share: their protocol, and that every answer names its request."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from playground import predictions
from playground.api.parsing import StrictJSONParser
from playground.facades.dialect import Frames
from playground.facades.fal import errors
from playground.facades.fal.dialect import DIALECT, no_request
from playground.facades.fal.words import app_of
from playground.facades.view import IGNORED, FacadeView
from playground.models import Prediction


class FalView(FacadeView):
    """One address of fal's."""

    dialect = DIALECT
    parser_classes = (StrictJSONParser,)  # files are put to addresses of their own

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response.headers.setdefault(errors.ID_HEADER, str(getattr(request, "request_id", "")))
        return super().finalize_response(request, response, *args, **kwargs)

    def own(self, app: str, request_id: str) -> Prediction:
        """The caller's run of this id and this app. Raises Problem."""
        asked = app_of(app)
        try:
            row = self.find(request_id)
        except predictions.NotFound:
            raise no_request() from None
        if asked is None or asked.namespace or row.model != asked.model:
            raise no_request()
        return row

    def position(self, row: Prediction) -> int | None:
        """How many are ahead of a run that waits."""
        place = (
            predictions.queue_position([row.public_id]).get(row.public_id) if not row.is_terminal else None
        )
        return place.ahead if place is not None else None

    def told(self, row: Prediction, ignored: list[str], *, frames: Frames | None = None) -> HttpResponse:
        """The answer that shows a run that was just asked for; `ignored` are headers that count for nothing."""
        answer = self.shown(row, frames=frames, position=self.position(row))
        names = [one for one in (answer.headers.get(IGNORED, ""), *ignored) if one]
        if names:
            answer.headers[IGNORED] = ", ".join(names)
        return answer
