"""What all views of the facades share: who calls, what they may, how often, and errors in the protocol's own shape."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.http import HttpResponse, HttpResponseBase
from django.views import View
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request

from playground import assets, predictions
from playground.api import shown
from playground.api.authentication import KeyAuthentication
from playground.api.parsing import AlwaysJSON, StrictJSONParser
from playground.api.problems import Problem, problem_of
from playground.api.view import ApiView
from playground.facades import asking, dialect
from playground.facades.dialect import Answer, Dialect, Document, Frames, Scope
from playground.models import Asset, Prediction
from playground.predictions.files import EXAMINE_WAIT_SECONDS, made

log = logging.getLogger(__name__)

RUN, IGNORED, REPLAYED = "X-Vitrine-Prediction", "X-Vitrine-Ignored", "Idempotent-Replayed"
MAX_IGNORED = 1000  # characters of a header
_ODD = re.compile(r"[^A-Za-z0-9_.\[\]-]")


class AsSent(AlwaysJSON):
    """The body is what its Content-Type says, if the view takes that; without one, or where it says nothing, JSON.

    `curl -d` says of every body that it is a form, and many an example leaves it at that. No cookie is looked at here,
    so a form on another site's page gains nothing by it.
    """

    def select_parser(self, request: Request, parsers: list[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        given = request.content_type.partition(";")[0].strip().lower()
        named = next((one for one in parsers if one.media_type == given), None)
        says_nothing = given in {"", "application/x-www-form-urlencoded"}
        return named or super().select_parser(request, parsers) or (parsers[0] if says_nothing else None)


class FacadeView(ApiView):
    """One address of a protocol. Names its `dialect`, and in `scopes` what a key needs for each method."""

    dialect: ClassVar[Dialect]
    authentication_classes: tuple[type[BaseAuthentication], ...] = (KeyAuthentication,)
    parser_classes: tuple[type[BaseParser], ...] = (StrictJSONParser, MultiPartParser)
    content_negotiation_class = AsSent
    http_method_names = [*View.http_method_names, "query"]
    schema = None  # what it answers is no part of our own API's document

    @property
    def scope(self) -> Scope:
        """The request as the edge sees it."""
        return scope_of(self.request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if response.status_code == HTTPStatus.NOT_IMPLEMENTED:
            _keep_out_of_log(response)  # what there is none of here is asked for by whoever likes to
        return super().finalize_response(request, response, *args, **kwargs)

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], HttpResponse]:
        return self._tell

    def _tell(self, error: Exception, context: Mapping[str, Any]) -> HttpResponse:
        problem = problem_of(error)
        if problem.code == "internal_error":
            log.error("%s failed", self.request.path, exc_info=error)
        return http(dialect.problem_of(self.dialect, problem, self.scope))

    def ask(self, call: asking.Call) -> Prediction:
        """Take a run in for the caller. Raises what asking.submit raises."""
        return asking.submit(self.caller(), call)

    def caller(self) -> predictions.Caller:
        """Who calls. Raises Problem where nobody does."""
        if isinstance(self.request.auth, predictions.Caller):
            return self.request.auth
        raise Problem("not_authenticated", "Send an API key.")

    def keep(
        self,
        file: assets.Readable,
        *,
        head: bytes = b"",
        filename: str = "",
        lifetime: int | None = None,
        reuse: bool = False,
    ) -> Asset:
        """The caller's asset of a file that came with the request, without having it in memory; `head` is what was read
        of it before, `lifetime` the seconds that it is kept, if not as long as uploads are. With `reuse`, for the input
        of a run, one that is kept of the same bytes is as good.

        Raises examiner.Refusal, examiner.Busy, uploads.QuotaReached.
        """
        asking = self.caller()
        with assets.Arrival() as arrival:
            arrival.write(head)
            arrival.copy(file)
            return made(
                asking.workspace,
                asking.user,
                arrival,
                filename=filename,
                lifetime=lifetime,
                wait_seconds=EXAMINE_WAIT_SECONDS,
                reuse=reuse,
            )

    def find(self, public_id: str) -> Prediction:
        """The caller's run by any spelling of its id. Raises predictions.NotFound."""
        caller = self.caller()
        return predictions.find(caller.workspace, public_id, key=caller.key)

    def shown(
        self,
        row: Prediction,
        *,
        wait: float | None = None,
        frames: Frames | None = None,
        position: int | None = None,
    ) -> HttpResponse:
        """The answer that shows a run, selected `with_model` or just made.

        Where the dialect's `waits` says so, or else for `wait` seconds, the edge holds it until the run ends. With
        `frames`, the edge sends its moments instead, from now to the end. `position`: how many are ahead of it.
        """
        document = shown.show(self.request, row)
        told = shown.of(self.request)
        if told is not None:
            told.seconds, told.frames = wait if wait is not None else told.seconds, frames
        now: Document = {**document.shown, "queue_position": position}
        answer = http(self.dialect.show(now, document.asked, self.scope))
        # A run that has not ended is an error where a protocol only knows ends. The edge waits in its place.
        _keep_out_of_log(answer)
        answer.headers[RUN] = row.uid
        names = [one["field"] for one in document.asked.get("ignored", ())]
        if names:
            answer.headers[IGNORED] = ", ".join(_ODD.sub("?", name) for name in names)[:MAX_IGNORED]
        if row.is_replay:
            answer.headers[REPLAYED] = "true"
        return answer


def _keep_out_of_log(answer: HttpResponseBase) -> None:
    """Django logs every answer from 500 on as a fault of ours; this one is none."""
    answer._has_been_logged = True  # type: ignore[attr-defined]


def http(answer: Answer) -> HttpResponse:
    """An answer as Django sends it."""
    response = HttpResponse(answer.body, status=answer.status)
    del response.headers["Content-Type"]
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response


def scope_of(request: Any) -> Scope:
    """The ASGI scope of a request; for one that came past the edge, what a dialect reads of a scope."""
    plain = getattr(request, "_request", request)
    found: Scope | None = getattr(plain, "scope", None)
    if found is not None:
        return found
    pairs = [
        (name.lower().encode(), str(value).encode("latin-1", "replace"))
        for name, value in plain.headers.items()
    ]
    return {
        "type": "http",
        "method": plain.method,
        "scheme": plain.scheme,
        "path": plain.path,
        "query_string": plain.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": pairs,
    }
