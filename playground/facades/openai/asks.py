"""What each request of the OpenAI API asks for: which model, what is meant for it, and what only shapes the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.schema import FieldError
from playground.api.problems import invalid
from playground.facades.openai import bodies

RESPONSE_FORMATS = ("b64_json", "url")
STREAM_FORMATS = ("audio", "sse")
MOST_PARTIAL = 3
MODEL_CHARACTERS = 160
_SECONDS = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,3})?")
_SIZE = re.compile(r"auto|[0-9]{1,5}x[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `input` in the protocol's words, `keep` what the answer is shaped by."""

    model: str
    input: dict[str, Any]
    keep: dict[str, Any]


def image(body: Mapping[str, Any], act: str) -> Ask:
    """Of generations (`generate`), edits (`edit`) and variations (`vary`). Raises Problem."""
    given = dict(body)
    model = bodies.text(given, "model", most=MODEL_CHARACTERS)
    streams = bodies.yes_no(given, "stream")
    keep = {
        "act": act,
        "response_format": bodies.choice(given, "response_format", RESPONSE_FORMATS, None),
        "stream": streams,
        "partial_images": bodies.whole(given, "partial_images", 0, MOST_PARTIAL, 0),
        "size": _size(given.get("size")),
    }
    if act == "vary" and streams:
        raise invalid([FieldError("stream", "unknown", "is no field of this request")])
    for name in ("model", "stream", "response_format", "partial_images"):
        given.pop(name, None)
    if act == "edit" and "images" in given:  # what edits in JSON call them
        if "image" in given:
            raise invalid([FieldError("images", "not_allowed", "names the pictures again, beside image")])
        given["image"] = given.pop("images")
    return Ask(model, given, keep)


def film(body: Mapping[str, Any]) -> Ask:
    """Of a new film. Raises Problem."""
    given = dict(body)
    model = bodies.text(given, "model", most=MODEL_CHARACTERS)
    given.pop("model")
    seconds = str(given.get("seconds", ""))
    keep = {
        "act": "film",
        "size": _size(given.get("size")),
        "seconds": seconds if _SECONDS.fullmatch(seconds) else None,
    }
    return Ask(model, given, keep)


def speech(body: Mapping[str, Any]) -> Ask:
    """Of a text that is spoken. Raises Problem."""
    given = dict(body)
    model = bodies.text(given, "model", most=MODEL_CHARACTERS)
    bodies.text(given, "input")
    keep = {"act": "speak", "stream_format": bodies.choice(given, "stream_format", STREAM_FORMATS, "audio")}
    for name in ("model", "stream_format"):
        given.pop(name, None)
    if isinstance(given.get("voice"), Mapping):
        given["voice"] = given["voice"].get("id", given["voice"])  # one without is no voice
    return Ask(model, given, keep)


def is_again(headers: Mapping[str, str]) -> bool | None:
    """Whether the client sends this again by itself: all of OpenAI's say so. None where nobody says."""
    count = headers.get("X-Stainless-Retry-Count", "")
    return int(count) > 0 if count.isdecimal() and len(count) < 4 else None


def _size(value: Any) -> str | None:
    """The size as it is shown until the picture has one."""
    return value if isinstance(value, str) and _SIZE.fullmatch(value) else None
