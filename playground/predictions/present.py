"""A prediction as plain data: for the API, and as the live state that viewers follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from marketplace import schema
from playground import assets
from playground.live import State
from playground.models import Asset, Prediction


class PredictionJson(TypedDict):
    """One prediction in `/api/v1`. Times are ISO 8601 in UTC, amounts integer micro-dollars."""

    id: str
    model: str
    version: str
    status: str
    input: dict[str, Any]
    output: Any
    error: dict[str, str] | None
    logs: str
    quote: dict[str, Any]
    held_micros: int
    cost_micros: int | None
    currency: str
    attempt: int
    step: int
    steps: int
    exact: bool
    via: str
    metrics: dict[str, Any]
    webhook: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    start_by: str
    urls: dict[str, str]


def as_json(row: Prediction) -> PredictionJson:
    """The API's view of a row that was selected `with_model`."""
    path = reverse("api-prediction", args=[row.uid])
    return {
        "id": row.uid,
        "model": row.model,
        "version": row.version.sha256,
        "status": row.status,
        "input": schema.redact(row.endpoint.input_schema, row.input),
        "output": output_of(row),
        "error": error_of(row),
        "logs": "\n".join(logs_of(row)),
        "quote": row.quote,
        "held_micros": 0 if row.is_terminal else row.held_micros,
        "cost_micros": row.cost_micros,
        "currency": "USD",
        "attempt": row.attempt,
        "step": row.step,
        "steps": row.steps,
        "exact": row.exact,
        "via": row.via,
        "metrics": row.metrics,
        "webhook": row.webhook["url"] if row.webhook else None,
        "created_at": row.created_at.isoformat(),
        "started_at": row.started_at.isoformat() if row.started_at else None,
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
        "start_by": row.start_by.isoformat(),
        "urls": {
            "get": settings.PUBLIC_URL + path,
            "cancel": f"{settings.PUBLIC_URL}{path}/cancel",
            "events": f"{settings.PUBLIC_URL}{path}/events",
            "page": settings.PUBLIC_URL + reverse("prediction", args=[row.uid]),
        },
    }


def logs_of(row: Prediction) -> list[str]:
    """The lines of its log."""
    return [*notes_of(row), *(row.logs.split("\n") if row.logs else ())]


def notes_of(row: Prediction) -> list[str]:
    """The lines that every log of the run begins with: what of the request counts for nothing, and why."""
    ignored = (row.asked or {}).get("ignored", ())
    return [f"{one['field']} is ignored: {one['why']}" for one in ignored]


def error_of(row: Prediction) -> dict[str, str] | None:
    return {"code": row.error_code, "message": row.error_message} if row.error_code else None


def output_of(row: Prediction, *, kept: Sequence[Asset] | None = None) -> Any:
    """The output with an address for each medium that has not expired; None before success.

    `kept` are the row's media where the caller has them at hand.
    """
    if row.output is None:
        return None
    now = timezone.now()
    assets_of = row.assets.all() if kept is None else kept
    media = {asset.position: asset for asset in assets_of if asset.expires_at > now}
    return _filled(row.output, media)


def _filled(value: Any, media: dict[int, Asset]) -> Any:
    """`value` with every `{"$media": n}` replaced by what is known of the n-th medium."""
    if isinstance(value, list):
        return [_filled(one, media) for one in value]
    if isinstance(value, dict):
        if "$media" in value:
            asset = media.get(value["$media"])
            return media_json(asset) if asset is not None else None
        return {name: _filled(one, media) for name, one in value.items()}
    return value


def media_json(asset: Asset) -> dict[str, Any]:
    """One medium for the API. `url` is a capability: whoever has it can read the file until it ends.

    What lasts has its `duration_ms`, and a film a picture at `thumbnail_url`.
    """
    more: dict[str, Any] = {}
    if asset.duration_ms is not None:
        more["duration_ms"] = asset.duration_ms
    if asset.thumbnail_name and not asset.media_type.startswith("image/"):
        more["thumbnail_url"] = settings.PUBLIC_URL + assets.thumbnail_address(asset)
    return {
        "id": asset.uid,
        "url": settings.PUBLIC_URL + assets.address(asset),
        "content_type": asset.media_type,
        "size": asset.size,
        "width": asset.width,
        "height": asset.height,
        "sha256": asset.sha256,
        "expires_at": asset.expires_at.isoformat(),
        **more,
    }


def state_of(
    row: Prediction, *, preview: str | None = None, note: str = "", kept: Sequence[Asset] | None = None
) -> State:
    """The live state that the row itself tells; the end always comes from here.

    A row that succeeded needs its media: `kept`, or else those it was selected with.
    """
    if not note and row.faults and not row.is_terminal:
        note = f"An earlier attempt was lost; this is attempt {max(row.attempt, 1)}."
    took = (row.finished_at - row.started_at) if row.finished_at and row.started_at else None
    return {
        "id": row.public_id.hex,
        "model": row.model,
        "ratio": [_side(row.input.get("width")), _side(row.input.get("height"))],
        "held_micros": row.held_micros,
        "workspace": row.workspace_id,
        "key": row.api_key_id,
        "status": row.status,
        "attempt": row.attempt,
        "step": row.step,
        "steps": row.steps,
        "preview": preview,
        "started_at": row.started_at.timestamp() if row.started_at else None,
        "created_at": row.created_at.timestamp(),
        "start_by": row.start_by.timestamp(),
        "finished_at": row.finished_at.timestamp() if row.finished_at else None,
        "elapsed_ms": round(took.total_seconds() * 1000) if took is not None else None,
        "logs": logs_of(row),
        "output": output_of(row, kept=kept),
        "error": error_of(row),
        "cost_micros": row.cost_micros,
        "metrics": row.metrics,
        "note": note,
    }


def moved(document: PredictionJson, state: State) -> PredictionJson:
    """The document of an open prediction, brought to what a later live state says: the same as from the row."""
    is_terminal = state["status"] in Prediction.TERMINAL
    return {
        **document,
        "status": state["status"],
        "output": state["output"],
        "error": state["error"],
        "logs": "\n".join(state["logs"]),
        "held_micros": 0 if is_terminal else document["held_micros"],
        "cost_micros": state["cost_micros"],
        "attempt": state["attempt"],
        "step": state["step"],
        "steps": state["steps"],
        "metrics": state["metrics"],
        "start_by": datetime.fromtimestamp(state["start_by"], UTC).isoformat(),
        "started_at": _written(state["started_at"]),
        "finished_at": _written(state["finished_at"]),
    }


def _side(value: object) -> int:
    """A length in pixels, where the input has one by that name; a model may mean something else by it."""
    return value if isinstance(value, int) and value > 0 else 1


def _written(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds is not None else None
