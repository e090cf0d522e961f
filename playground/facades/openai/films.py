"""`/openai/v1/videos`: runs that make films, as jobs that are asked after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.ids import parse
from marketplace.schema import FieldError, Schema
from playground import predictions
from playground.api.problems import Problem, invalid
from playground.assets.intake import THUMBNAIL_TYPE
from playground.facades import made
from playground.facades.openai import asks, bodies, lists, show
from playground.facades.openai.view import View
from playground.models import Asset, Prediction

VARIANTS = ("video", "thumbnail")


class Films(View):
    """What the addresses of films have in common."""

    def film(self, video_id: str) -> Prediction:
        """The caller's film by its id here; any other run of theirs is none. Raises Problem."""
        public_id = parse(video_id, show.VIDEO)
        try:
            row = self.find(str(public_id)) if public_id is not None else None
        except predictions.NotFound:
            row = None
        if row is None or (row.asked or {}).get("act") != "film":
            raise show.no_film()
        return row


class Videos(Films):
    """`POST` makes a film, `GET` lists those that were made here."""

    scopes = {"GET": "predictions:read", "POST": "predictions:write"}

    def get(self, request: Request) -> Response:
        asking = self.caller()
        own = asking.key.pk if asking.key is not None and asking.key.is_publishable else None
        filters = predictions.Filters(via=Prediction.Via.OPENAI, key_id=own)
        anchors = predictions.anchors(asking.workspace)
        with predictions.bounded():
            rows = predictions.matching(asking.workspace, filters).filter(asked__act="film")
            found = lists.page(
                request.query_params,
                rows.with_model(),
                named=lambda given: parse(given, show.VIDEO),
                show=film,
                anchors=anchors if own is None else anchors.filter(api_key=own),
            )
        return Response(found)

    def post(self, request: Request) -> HttpResponseBase:
        ask = asks.film(self.read(request, "input_reference"))
        return self.shown(self.submit(request, ask))


class Video(Films):
    """One film: how far it is, and away with it."""

    scopes = {"GET": "predictions:read", "DELETE": "predictions:write"}

    def get(self, request: Request, video_id: str) -> HttpResponseBase:
        return self.shown(self.film(video_id))

    def delete(self, request: Request, video_id: str) -> Response:
        row = self.film(video_id)
        asking = self.caller()
        predictions.delete_one(asking.workspace, row.public_id, by=asking.user)
        return Response({"id": show.video_id(row.public_id), "object": "video.deleted", "deleted": True})


class Content(Films):
    """`GET` reads the film, or the picture that stands for it."""

    scopes = {"GET": "predictions:read"}

    def get(self, request: Request, video_id: str) -> HttpResponseBase:
        variant = request.query_params.get("variant", "video")
        if variant not in VARIANTS:
            raise invalid(
                [FieldError("variant", "not_allowed", "must be video or thumbnail", list(VARIANTS))]
            )
        row = self.film(video_id)
        asset = _film_of(row)
        if variant == "thumbnail":
            if not asset.thumbnail_name:
                raise Problem("not_found", "This video has no thumbnail.")
            name, kind = asset.thumbnail_name, THUMBNAIL_TYPE
        else:
            name, kind = asset.storage_name, asset.media_type
        return self.contents(name, kind, show.video_id(row.public_id))


class Remix(Films):
    """`POST` makes the film anew with another prompt and everything else as it was, its seed too."""

    scopes = {"POST": "predictions:write"}

    def post(self, request: Request, video_id: str) -> HttpResponseBase:
        body = bodies.read(request)
        row = self.film(video_id)
        if row.status != Prediction.Status.SUCCEEDED:
            raise _not_ready(row)
        asked = row.asked or {}
        ask = asks.Ask(
            model=f"{row.model}:{row.version.sha256}",
            input={**row.input, "prompt": bodies.text(body, "prompt")},
            keep={**_kept(asked), "remixed_from": show.video_id(row.public_id)},
        )
        return self.shown(self.submit(request, ask))


class Reworked(Films):
    """`POST` makes a film of a film, one that was made here or one that is sent.

    The protocol names no model: it is the one that made the film, unless `model` says another. It must take films.
    """

    scopes = {"POST": "predictions:write"}
    verb: ClassVar[str]
    needed: ClassVar[tuple[str, ...]] = ("prompt", "video")
    tasks: ClassVar[frozenset[str]] = frozenset()  # what else the model must be for; empty for anything

    def post(self, request: Request) -> HttpResponseBase:
        body = self.read(request, "video")
        missing = [name for name in self.needed if body.get(name) in (None, "")]
        if missing:
            raise invalid([FieldError(name, "required", "is required") for name in missing])
        source = body["video"]
        if isinstance(source, str) and source.startswith(f"{show.VIDEO}_"):
            row = self.film(source)
            body["video"] = _film_of(row).uid
            body.setdefault("model", f"{row.model}:{row.version.sha256}")
        elif "model" not in body:
            message = f"is required to have a film {self.verb} that is sent: say it with extra_body"
            raise invalid([FieldError("model", "required", message)])
        ask = asks.film(body)
        self._check(ask)
        return self.shown(self.submit(request, ask))

    def _check(self, ask: asks.Ask) -> None:
        """Raise Problem for a model that would make something else."""
        called = self.called(ask)
        if takes_films(called.endpoint.input_schema) and called.endpoint.task in (
            self.tasks or {called.endpoint.task}
        ):
            return
        what = f"it is for {called.endpoint.task}"
        message = (
            f"cannot be {self.verb} by {called.model_id}: {what}. Name another as model, with extra_body"
        )
        raise invalid([FieldError("video", "not_allowed", message)])


class Edits(Reworked):
    verb = "edited"


class Extensions(Reworked):
    verb = "extended"
    needed = ("prompt", "video", "seconds")
    tasks = frozenset({"video-extension", "extend-video"})


def takes_films(described: Schema) -> bool:
    """Whether an endpoint takes a film."""
    fields = described.get("properties", {}).values()
    types = (kind for one in fields for kind in {**one, **one.get("items", {})}.get("x-media", ()))
    return any(kind.startswith("video/") for kind in types)


def film(row: Prediction) -> dict[str, Any]:
    """A row that was selected `with_model`, as a `video`."""
    document = predictions.as_json(row)
    return show.video(document, row.asked or {}, [show.Made(one) for one in made.media(document["output"])])


def _kept(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: asked.get(name) for name in ("act", "size", "seconds")}


def _film_of(row: Prediction) -> Asset:
    if row.status != Prediction.Status.SUCCEEDED:
        raise _not_ready(row)
    said = next(made.media(predictions.as_json(row)["output"]), None)
    try:
        if said is not None:
            return made.asset(said)
    except made.Gone:
        pass
    raise Problem("not_found", "The file of this video was deleted, or its time is over.")


def _not_ready(row: Prediction) -> Problem:
    said = "is not ready yet" if not row.is_terminal else "was not made"
    return Problem("not_found", f"The video {said}: it is {row.status}.", members={"code": "video_not_ready"})
