"""Runs as pages show them: the live card of a row, thumbnails, and what the input says in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from billing import usage
from marketplace import schema
from marketplace.models import Workspace
from playground import live
from playground.models import Asset, Prediction
from playground.pages import card, once
from playground.pages.media import icon_of, picture_of
from playground.predictions import adapters, queue_position, state_of, waiting
from playground.predictions.find import Place


@dataclass(frozen=True, slots=True)
class Live:
    """A card and the stable frame around it, which holds the socket while the run is open."""

    uid: str
    is_open: bool
    card: SafeString
    model_url: str
    links: bool
    once: str  # what running it again from here is known by


@dataclass(frozen=True, slots=True)
class Line:
    """One run in a list."""

    row: Prediction
    summary: str
    thumbnail: str
    icon: str  # of what came out, where there is no picture of it
    took_ms: float | None
    place: str = ""  # in the queue, in words
    refunded_micros: int = 0

    @property
    def is_open(self) -> bool:
        return not self.row.is_terminal


def live_of(row: Prediction, *, links: bool = False) -> Live:
    """The live card of `row`, selected `with_model`. `links` adds the ways on to the run's own page."""
    return Live(
        uid=row.uid,
        is_open=not row.is_terminal,
        card=card_of(row),
        model_url=model_url(row.model),
        links=links,
        once=once.new(),
    )


def card_of(row: Prediction) -> SafeString:
    """The card as it is now: the end comes from the row, what leads to it from the newest live state."""
    state = state_of(row)
    if not row.is_terminal:
        seen = live.read(row.public_id)
        if seen is not None and seen["attempt"] >= row.attempt:
            state = seen
    position, reason = None, ""
    if state["status"] == Prediction.Status.QUEUED:
        found = queue_position([row.public_id]).get(row.public_id)
        if found is not None:
            position = found.ahead
            reason = waiting(found, live.engines(found.lane), note=state["note"])
    return mark_safe(card.render(state, position=position, reason=reason))  # noqa: S308 - a template's own output


def lines(
    rows: Iterable[Prediction], *, with_places: bool = False, refunds: Mapping[UUID, int] | None = None
) -> list[Line]:
    """Rows selected `with_model`, for a table or a strip; `with_places` says where in line those are that wait.

    `refunds` is what was given back of their charges, as `refunds_of` finds it.
    """
    rows = list(rows)
    waiting_ids = [row.public_id for row in rows if row.status == Prediction.Status.QUEUED]
    places = queue_position(waiting_ids) if with_places and waiting_ids else {}
    back = refunds or {}
    return [
        Line(
            row,
            summary(row),
            *_face(row),
            took_ms(row),
            _place(places.get(row.public_id)),
            back.get(row.public_id, 0),
        )
        for row in rows
    ]


def refunds_of(workspace: Workspace, rows: Iterable[Prediction]) -> dict[UUID, int]:
    """What was given back of the charges of these runs of the workspace."""
    charged = [row.public_id for row in rows if row.cost_micros]
    return usage.refunds(workspace.pk, charged) if charged else {}


def _place(found: Place | None) -> str:
    return card.place(found.ahead) if found is not None else ""


def summary(row: Prediction) -> str:
    """The input in one line: its prompt, or its first text."""
    values = schema.redact(row.endpoint.input_schema, row.input)
    prompt = values.get("prompt")
    if isinstance(prompt, str) and prompt:
        return prompt
    texts = (values.get(field.name) for field in schema.fields(row.endpoint.input_schema))
    return next((text for text in texts if isinstance(text, str) and text), "No text input")


def _face(row: Prediction) -> tuple[str, str]:
    """A small picture of what came out, empty for none, and the icon of what it is."""
    media = media_of(row)
    picture = next(filter(None, map(picture_of, media)), "")
    return picture, icon_of(media[0].media_type) if media else "image"


def media_of(row: Prediction) -> list[Asset]:
    """The row's media in order, without those that have expired."""
    now = timezone.now()
    kept = [asset for asset in row.assets.all() if asset.expires_at > now]
    return sorted(kept, key=lambda asset: asset.position)


def input_of(row: Prediction) -> dict[str, Any]:
    """The input as it was sent, without its secrets; its files are the ids of assets."""
    return schema.redact(row.endpoint.input_schema, row.input)


def took_ms(row: Prediction) -> float | None:
    return milliseconds(row.started_at, row.finished_at)


def milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() * 1000 if start and end else None


def input_facts(row: Prediction) -> list[tuple[str, Any]]:
    """The recipe's values by their titles, in the order of the form."""
    values = schema.redact(row.endpoint.input_schema, row.input)
    apart = schema.adapter_field(row.endpoint.input_schema)
    if apart is not None and values.get(apart):
        worn = row.metrics.get("adapters") or adapters.worn(row)
        values[apart] = ", ".join(f"{one['name']} × {one['weight']:g}" for one in worn) or "of weight 0"
    return [
        (field.label, values[field.name])
        for field in schema.fields(row.endpoint.input_schema)
        if field.name != "prompt" and values.get(field.name) is not None
    ]


def model_url(model: str) -> str:
    publisher, _, name = model.partition("/")
    return reverse("model", args=[publisher, name])
