"""What the edge and the views need of the OpenAI API: what waits, what is polled, and how runs and errors are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marketplace.ids import parse
from playground.api.problems import Problem
from playground.facades import made
from playground.facades.dialect import Answer, Basic, Document, Moment, Scope, header_of
from playground.facades.openai import errors, show
from playground.facades.openai.words import TABLE
from playground.models import Prediction
from playground.predictions.present import PredictionJson

PREFIX = "/openai/v1/"
HELD = re.compile(re.escape(PREFIX) + r"(?:images/(?:generations|edits|variations)|audio/speech)")
# What may come with pictures or films: forms, which the clients also send in chunks.
FORMS = re.compile(
    re.escape(PREFIX) + r"(?:images/(?:edits|variations)|videos|videos/(?:edits|extensions)|files)"
)
FILM = re.compile(re.escape(PREFIX) + r"videos/([^/]{1,64})")
# Node gives up on a server that is silent for 300 s, whatever the client was told; the clients then ask again, and the
# same run is waited for on.
MOST_SECONDS = 290.0
BEFORE_SECONDS = 3.0  # the client's own patience
LEAST_SECONDS = 0.5
_ANNOUNCED = ("x-stainless-read-timeout", "x-stainless-timeout")  # Python's, JavaScript's


class OpenAI(Basic):
    """The OpenAI API's media, at `/openai/v1`."""

    name = "openai"
    prefix = "/openai/"
    words = TABLE

    def waits(self, scope: Scope) -> float | None:
        if scope["method"] != "POST" or HELD.fullmatch(scope["path"]) is None:
            return None
        return patience(*(header_of(scope, name) for name in _ANNOUNCED))

    def polled(self, scope: Scope) -> UUID | None:
        found = FILM.fullmatch(scope["path"])
        if found is None or scope["method"] != "GET" or scope["query_string"]:
            return None
        return parse(found[1], show.VIDEO)

    def forms(self, scope: Scope) -> bool:
        return scope["method"] == "POST" and FORMS.fullmatch(scope["path"]) is not None

    def show(
        self, document: Document, asked: Mapping[str, Any], scope: Scope, *, is_due: bool = False
    ) -> Answer:
        act = asked.get("act")
        if scope["path"].startswith(f"{PREFIX}videos"):
            return _film(document, asked, scope) if act == "film" else self.problem(show.no_film(), scope)
        if document["status"] not in Prediction.TERMINAL:
            return _error(504, show.not_yet(document), {"x-should-retry": "true"} if is_due else {})
        if document["status"] != "succeeded":
            return _failed(document)
        try:
            return _speech(document, asked) if act == "speak" else _images(document, asked)
        except made.Gone as error:
            return self.problem(Problem("not_found", str(error)), scope)

    def problem(self, problem: Problem, scope: Scope) -> Answer:
        status, error = errors.error_of(problem)
        return _error(status, error, errors.headers_of(problem, status))


def patience(*announced: str) -> float:
    """How long a client is kept waiting: not as long as the shortest time that it says it waits itself."""
    said = [float(one) for one in announced if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", one)]
    shortest = min(said, default=MOST_SECONDS + BEFORE_SECONDS)
    return min(MOST_SECONDS, max(LEAST_SECONDS, shortest - BEFORE_SECONDS, shortest * 0.75))


class Frames:
    """The events of one picture that grows: as many previews as were asked for, and the finished ones."""

    def __init__(self, document: PredictionJson, asked: Mapping[str, Any]) -> None:
        self._document = document
        self._asked = asked
        self._partials = show.Partials(wanted=int(asked.get("partial_images") or 0))

    def frame(self, moment: Moment) -> bytes:
        state = moment.state
        if not moment.is_end:
            number = self._partials.take(state["preview"], state["step"], state["steps"])
            if number is None:
                return b""
            return show.event(show.partial(str(state["preview"]), number, self._document, self._asked))
        if state["status"] != "succeeded":
            return show.event({"error": show.failure(state["status"], state["error"])[1]})
        try:
            finished = [show.Made(said, made.contents(said)) for said in made.media(state["output"])]
        except made.Gone as error:
            return show.event({"error": errors.error_of(Problem("not_found", str(error)))[1]})
        events = [show.event(show.completed(one, self._document, self._asked)) for one in finished]
        return b"".join(events) + show.DONE


def _film(document: Document, asked: Mapping[str, Any], scope: Scope) -> Answer:
    films = [show.Made(said) for said in made.media(document["output"])]
    answer = Answer.of_json(show.video(document, asked, films))
    if document["status"] in Prediction.TERMINAL:
        return answer
    return answer.plus({"openai-poll-after-ms": str(show.POLL_AFTER_MS)})


def _images(document: Document, asked: Mapping[str, Any]) -> Answer:
    wanted = asked.get("response_format")
    pictures = []
    for said in made.media(document["output"]):
        data = made.contents(said) if wanted != "url" else None
        pictures.append(show.Made({**said, "url": None} if wanted == "b64_json" else said, data))
    if not pictures:
        raise made.Gone("The pictures were deleted, or their time is over.")
    return Answer.of_json(show.images(document, asked, pictures))


def _speech(document: Document, asked: Mapping[str, Any]) -> Answer:
    for said in made.media(document["output"]):
        data = made.contents(said)
        if asked.get("stream_format") == "sse":
            headers = {"Content-Type": "text/event-stream; charset=utf-8"}
            return Answer(200, b"".join(show.speech_events(data)), headers)
        return Answer(200, data, {"Content-Type": str(said["content_type"])})
    raise made.Gone("The sound was deleted, or its time is over.")


def _failed(document: Document) -> Answer:
    status, error = show.failure(document["status"], document["error"])
    return _error(status, error, {"x-should-retry": "false"})


def _error(status: int, error: errors.ErrorJson, headers: Mapping[str, str]) -> Answer:
    return Answer.of_json({"error": error}, status).plus(headers)


DIALECT = OpenAI()
