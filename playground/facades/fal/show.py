"""From the document of a prediction to what fal's clients read: its state in the queue, and its result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing.pricing import MICROS
from marketplace.ids import parse
from playground.facades.dialect import Document
from playground.facades.fal import errors
from playground.predictions.present import PredictionJson

Members = dict[str, Any]
OPEN = ("queued", "running")
CANCELED_MESSAGE = "The request was cancelled."
# What one medium alone is called beside its list, by what it is.
_ALONE = {"image": "image", "video": "video", "audio": "audio", "model": "model_mesh"}
# Levels, as a line of a log may begin with one.
_LEVEL = re.compile(r"(?:\[)?(error|warning|warn|debug|info)\b", re.IGNORECASE)


def request_id(document: PredictionJson) -> str:
    """The id of a run as it is spelled here: a UUID."""
    return str(parse(document["id"], "p"))


def urls(document: PredictionJson, at: str) -> Members:
    """The three addresses; `at` is where the app is on the queue, without what lies below the app."""
    base = f"{at}/requests/{request_id(document)}"
    return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}


def status(document: Document, asked: Mapping[str, Any], at: str, *, with_logs: bool = False) -> Members:
    """The state of a run. A client indexes `queue_position` of what waits and `logs` of what does not."""
    shown: Members = {"request_id": request_id(document), "gateway_request_id": request_id(document)}
    if document["status"] == "queued":
        return {
            "status": "IN_QUEUE",
            **shown,
            "queue_position": document.get("queue_position") or 0,
            **urls(document, at),
        }
    shown |= {"logs": logs(document) if with_logs else None, **urls(document, at)}
    if document["status"] == "running":
        return {"status": "IN_PROGRESS", **shown}
    shown["metrics"] = metrics(document)
    if document["status"] != "succeeded":
        end = _end(document, asked)
        shown |= {"error": message_of(document), "error_type": end.type}
    return {"status": "COMPLETED", **shown}


def result(document: PredictionJson, asked: Mapping[str, Any]) -> tuple[int, dict[str, str], Members]:
    """Status, headers and body of the result of a run that is closed."""
    named = request_id(document)
    headers = {errors.ID_HEADER: named}
    if (units := billable_units(document)) is not None:
        headers[errors.UNITS_HEADER] = units
    if document["status"] == "succeeded":
        return 200, headers, output(document)
    end = _end(document, asked)
    body = errors.end_body(end, message_of(document), request_id=named)
    return end.status, {**headers, **errors.end_headers(end)}, body


def billable_units(document: PredictionJson) -> str | None:
    """How many units of its model's price a closed run was charged for; None where the price has several units."""
    lines, cost = document["quote"].get("lines", []), document["cost_micros"]
    if not cost:
        return "0"
    if len(lines) != 1:
        return None
    (line,) = lines
    if cost == line["amount_micros"]:
        return str(line["quantity"])
    # Seconds that were counted only while it ran, or the part of a run that was done when it was canceled.
    return format(round(Decimal(cost) / MICROS / Decimal(line["unit_price"]), 6).normalize(), "f")


def still_open(document: PredictionJson) -> tuple[int, dict[str, str], Members]:
    """The result of a run that is not over: there is none yet."""
    detail = "Request is still in progress"
    body = {"detail": detail, "message": detail, "error_type": "bad_request", "status": document["status"]}
    return 400, {errors.ID_HEADER: request_id(document), errors.TYPE_HEADER: "bad_request"}, body


def overdue(document: PredictionJson, at: str) -> tuple[int, dict[str, str], Members]:
    """What a run is answered that did not end while its answer could wait. It goes on, and can be fetched.

    As a user's own deadline, so that no client begins another one in its place.
    """
    where = urls(document, at)
    detail = f"The run goes on, and takes longer than an answer can wait. Its result will be at {where['response_url']}"
    kind = "request_timeout"
    headers = {
        errors.ID_HEADER: request_id(document),
        errors.TYPE_HEADER: kind,
        errors.TIMEOUT_HEADER: "user",
    }
    body = {
        "detail": detail,
        "message": detail,
        "error_type": kind,
        "request_id": request_id(document),
        **where,
    }
    return 504, headers, body


def output(document: PredictionJson) -> Members:
    """What the model made, in fal's words: files with their names and sizes, the seed, and how long it took.

    A list of media keeps its name; where it is one medium, that is also there alone, as models of fal that make one
    thing have it. Media that expired are left out of their list.
    """
    shown: Members = {}
    for name, value in (document["output"] or {}).items():
        media = _media(value)
        if media is None:
            shown[name] = value
            continue
        files = [file_of(one) for one in media]
        shown[name] = files
        kind = _ALONE.get(str(files[0]["content_type"]).partition("/")[0]) if len(files) == 1 else None
        if kind is not None and kind != name:
            shown.setdefault(kind, files[0])
    prompt = document["input"].get("prompt")
    if isinstance(prompt, str):
        shown.setdefault("prompt", prompt)
    shown.setdefault("timings", {"inference": metrics(document)["inference_time"]})
    return shown


def media_of(document: PredictionJson) -> list[Mapping[str, Any]]:
    """The media that the output names and that are still there."""
    return [one for value in (document["output"] or {}).values() for one in _media(value) or ()]


def file_of(medium: Mapping[str, Any]) -> Members:
    """One medium of ours as a fal `File`; an `Image` and a `VideoFile` have their sides, too."""
    name = str(medium["url"]).rsplit("/", 1)[-1]
    shown: Members = {
        "url": medium["url"],
        "content_type": medium["content_type"],
        "file_name": name,
        "file_size": medium["size"],
    }
    for side in ("width", "height"):
        if medium.get(side) is not None:
            shown[side] = medium[side]
    if medium.get("duration_ms") is not None:
        shown["duration"] = medium["duration_ms"] / 1000
    return shown


def logs(document: PredictionJson) -> list[Members]:
    """All lines so far. When each was written is not kept: they carry the time at which the attempt began."""
    began = document["started_at"] or document["created_at"]
    return [
        {"timestamp": began, "level": _level(line), "source": "USER", "message": line, "labels": {}}
        for line in lines(document)
    ]


def lines(document: PredictionJson) -> list[str]:
    """The lines of the log."""
    return document["logs"].split("\n") if document["logs"] else []


def metrics(document: PredictionJson) -> Members:
    """How long the run took, in seconds; null where it never ran."""
    took = document["metrics"].get("total_s")
    return {"inference_time": round(took, 6) if isinstance(took, int | float) else None}


def told(document: PredictionJson, asked: Mapping[str, Any]) -> Members:
    """What the webhook of a request is sent at its end."""
    code, _, body = result(document, asked)
    named = request_id(document)
    whole: Members = {"request_id": named, "gateway_request_id": named}
    if code == 200:
        return {**whole, "status": "OK", "error": None, "payload": body}
    return {**whole, "status": "ERROR", "error": f"Invalid status code: {code}", "payload": body}


def message_of(document: PredictionJson) -> str:
    """Why a run did not succeed, as its caller is told."""
    if document["error"] is not None:
        return document["error"]["message"]
    return CANCELED_MESSAGE


def _end(document: PredictionJson, asked: Mapping[str, Any]) -> errors.End:
    code = document["error"]["code"] if document["error"] is not None else ""
    return errors.end_of(document["status"], code, has_deadline=bool(asked.get("has_deadline")))


def _media(value: Any) -> Sequence[Mapping[str, Any]] | None:
    """The media of a value that lists media, without those that expired; None for any other value."""
    if not isinstance(value, list) or not all(one is None or _is_medium(one) for one in value):
        return None
    return [one for one in value if one is not None]


def _is_medium(value: Any) -> bool:
    return isinstance(value, dict) and "url" in value and "content_type" in value


def _level(line: str) -> str:
    found = _LEVEL.match(line)
    word = found[1].upper() if found else "INFO"
    return "WARN" if word == "WARNING" else word
