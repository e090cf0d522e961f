"""Predictions as the OpenAI API shows them: pictures, films and speech, and the events of a picture that grows."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from marketplace.ids import encode, parse
from playground.api.problems import Problem
from playground.facades.openai.errors import ErrorJson
from playground.predictions.present import PredictionJson

VIDEO, IMAGE = "video", "img"
PREVIEWS_UNTIL = 0.8  # of the steps: no engine shows a preview after it
POLL_AFTER_MS = 500  # between two looks at a film; each costs next to nothing
SPEECH_BYTES = 48 * 1024  # of one event of a streamed speech
# Nothing here is counted in tokens: what a run costs is in its receipt.
USAGE: dict[str, Any] = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}
DONE = b"data: [DONE]\n\n"
_FAILED = {"invalid_input": 400, "unusable_input": 400, "start_deadline": 503, "timeout": 504}
_VIDEO_STATUS = {
    "queued": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "canceled": "failed",
}


@dataclass(frozen=True, slots=True)
class Made:
    """One medium of an output: what is said of it, and its bytes where they are wanted."""

    said: Mapping[str, Any]
    data: bytes | None = None

    @property
    def kind(self) -> str:
        return str(self.said["content_type"])


def images(document: PredictionJson, asked: Mapping[str, Any], made: Sequence[Made]) -> dict[str, Any]:
    """The answer of generations, edits and variations. Without a `response_format` both forms are there: programs of
    either age look for theirs."""
    shown: dict[str, Any] = {
        "created": _seconds(document["created_at"]),
        "data": [_image(one) for one in made],
    }
    if made:
        shown["output_format"] = _format(made[0].kind)
        shown["size"] = _size(made[0].said) or asked.get("size")
    return shown


def _image(one: Made) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if one.data is not None:
        shown["b64_json"] = base64.b64encode(one.data).decode()
    if one.said.get("url"):
        shown["url"] = one.said["url"]
    return shown


def partial(preview: str, number: int, document: PredictionJson, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The event of one preview, a `data:` address: small, and in the format in which engines make them."""
    head, _, text = preview.partition(",")
    kind = head.removeprefix("data:").removesuffix(";base64")
    return {
        "type": f"{_event(asked)}.partial_image",
        "b64_json": text,
        "partial_image_index": number,
        **_common(document, asked, kind),
    }


def completed(one: Made, document: PredictionJson, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The event of one finished picture."""
    common = _common(document, asked, one.kind)
    common["size"] = _size(one.said) or common["size"]
    return {"type": f"{_event(asked)}.completed", **_image(one), **common, "usage": USAGE}


def _event(asked: Mapping[str, Any]) -> str:
    return "image_generation" if asked.get("act") == "generate" else "image_edit"


def _common(document: PredictionJson, asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
    given = document["input"]
    return {
        "created_at": _seconds(document["created_at"]),
        "size": _size(given) or asked.get("size") or "auto",
        "quality": "auto",
        "background": "auto",
        "output_format": _format(kind),
    }


@dataclass(slots=True)
class Partials:
    """Which previews of a run are shown, when `wanted` shall be spread over its time."""

    wanted: int
    sent: int = 0
    last: str | None = None

    def take(self, preview: str | None, step: int, steps: int) -> int | None:
        """The number of `preview` if it is to be sent now; None if not."""
        if preview is None or preview == self.last or self.sent >= self.wanted or steps < 1:
            return None
        if step / steps < PREVIEWS_UNTIL * (self.sent + 1) / (self.wanted + 1):
            return None
        self.last, self.sent = preview, self.sent + 1
        return self.sent - 1


def video(document: PredictionJson, asked: Mapping[str, Any], made: Sequence[Made] = ()) -> dict[str, Any]:
    """A `video` object, at any time of its life."""
    status, error = document["status"], document["error"]
    if status == "canceled" and error is None:
        error = {"code": "canceled", "message": "The run was canceled."}
    film = made[0].said if made else {}
    expires_at = film.get("expires_at")
    return {
        "id": video_id(parse(document["id"], "p")),
        "object": "video",
        "model": document["model"],
        "status": _VIDEO_STATUS[status],
        "progress": _progress(document),
        "created_at": _seconds(document["created_at"]),
        "completed_at": _seconds(document["finished_at"]) if status == "succeeded" else None,
        "expires_at": _seconds(expires_at) if expires_at else None,
        "prompt": document["input"].get("prompt"),
        "size": _size(film) or _size(document["input"]) or asked.get("size") or "auto",
        "seconds": _length(film, document["input"], asked),
        "remixed_from_video_id": asked.get("remixed_from"),
        "error": error,
    }


def video_id(public_id: UUID | None) -> str:
    """The id of a film in this dialect. (None is for the type checker: documents have ids of ours.)"""
    assert public_id is not None
    return encode(public_id, VIDEO)


def _progress(document: PredictionJson) -> int:
    if document["status"] == "succeeded":
        return 100
    steps = document["steps"]
    return min(99, math.floor(100 * document["step"] / steps)) if steps else 0


def _length(film: Mapping[str, Any], given: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Seconds, as text: of the film itself, of what the run was given, or of what was asked for."""
    if film.get("duration_ms"):
        return f"{film['duration_ms'] / 1000:g}"
    frames, rate = given.get("num_frames"), given.get("fps") or given.get("frame_rate")
    if isinstance(frames, int | float) and isinstance(rate, int | float) and rate > 0:
        return f"{frames / rate:.4g}"
    return str(asked.get("seconds") or "auto")


def failure(status: str, error: Mapping[str, str] | None) -> tuple[int, ErrorJson]:
    """The HTTP status and the error of a run that did not succeed. Nothing of it is charged, but for a late cancel."""
    said = error or {"code": "canceled", "message": "The run was canceled."}
    http = 409 if status == "canceled" else _FAILED.get(said["code"], 500)
    kind = "server_error" if http >= 500 else "invalid_request_error"
    return http, {"message": said["message"], "type": kind, "param": None, "code": said["code"]}


def not_yet(document: PredictionJson) -> ErrorJson:
    """The error of a request that could not be held until the end of its run."""
    message = (
        f"The run {document['id']} is still {document['status']}. Send the same request again to wait on for it, as "
        f"the clients do by themselves, or look at {document['urls']['get']}."
    )
    return {"message": message, "type": "server_error", "param": None, "code": "timeout"}


def no_film() -> Problem:
    """The problem of the id of a run that is no film."""
    return Problem("not_found", "There is no such video.", members={"param": "id"})


def speech_events(data: bytes) -> Iterator[bytes]:
    """A sound as the events that `stream_format: "sse"` asks for."""
    for start in range(0, len(data), SPEECH_BYTES):
        text = base64.b64encode(data[start : start + SPEECH_BYTES]).decode()
        yield event({"type": "speech.audio.delta", "audio": text})
    usage = {name: USAGE[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
    yield event({"type": "speech.audio.done", "usage": usage})


def event(said: Mapping[str, Any]) -> bytes:
    """One server-sent event; what it is called is its `type`."""
    return b"event: %s\ndata: %s\n\n" % (
        str(said.get("type", "error")).encode(),
        json.dumps(said, separators=(",", ":")).encode(),
    )


def _size(said: Mapping[str, Any]) -> str | None:
    width, height = said.get("width"), said.get("height")
    return f"{width}x{height}" if isinstance(width, int) and isinstance(height, int) else None


def _format(kind: str) -> str:
    return kind.partition("/")[2]


def _seconds(written: str | None) -> int | None:
    return int(datetime.fromisoformat(written).timestamp()) if written else None
