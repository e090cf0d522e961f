"""A prediction as Replicate's clients read it: one document that version 1, version 2 and JavaScript all accept.

Every key is there always, status is one of the five that all of them know, and addresses are whole ones under the
address that the caller used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.conf import settings

from marketplace.ids import parse
from playground.facades.dialect import Document
from playground.facades.replicate import capability
from playground.models import Prediction
from playground.predictions.present import PredictionJson

PREFIX = "/v1"
STARTING, PROCESSING = "starting", "processing"
Json = dict[str, Any]

_STATUS = {Prediction.Status.QUEUED.value: STARTING, Prediction.Status.RUNNING.value: PROCESSING}
_ASSET = re.compile(r"a_([0-7][0-9a-hjkmnp-tv-z]{25})")
_BAR = 10  # characters of a progress bar
# Pictures are a list also where there is one. Of a film, a sound or a scene there is one, and it stands alone, as with
# Replicate's models of those kinds: some clients take nothing else for a film.
LISTED = "images"


def prediction(
    document: PredictionJson, asked: Mapping[str, Any] | None, base: str, *, is_due: bool = False
) -> Json:
    """The run. `base` is the caller's address without a last slash; `asked` is what was kept of the request.

    `is_due`: a request waited for the end, which did not come in time. Only `starting` tells the clients so: any other
    status of a request that waits is the end to them, and its output the result.
    """
    asked = asked or {}
    bare = document["id"].removeprefix("p_")
    status = STARTING if is_due else _STATUS.get(document["status"], document["status"])
    output, is_removed = _output(document["output"], base)
    # An input is emptied some time after the end; none is empty before, as what was not said is in it by default.
    is_removed = is_removed or (document["finished_at"] is not None and not document["input"])
    address = f"{base}{PREFIX}/predictions/{bare}"
    shown: Json = {
        "id": bare,
        "model": document["model"],
        "version": document["version"],
        "input": _input(document["input"], base),
        "logs": logs(document),
        "output": None if is_due else output,
        "data_removed": is_removed,
        "error": document["error"]["message"] if document["error"] else None,
        "source": "web" if document["via"] == Prediction.Via.PAGE else "api",
        "status": status,
        "created_at": moment(document["created_at"]),
        "started_at": moment(document["started_at"]),
        "completed_at": moment(document["finished_at"]),
        "metrics": metrics(document),
        "urls": {
            "get": address,
            "cancel": f"{address}/cancel",
            "stream": f"{base}{PREFIX}/files/streams/{capability.token(_number(bare))}",
            "web": rebased(document["urls"]["page"], base),
        },
    }
    if asked.get("deadline"):
        shown["deadline"] = moment(asked["deadline"])
    if document["webhook"]:
        shown["webhook"] = document["webhook"]
        shown["webhook_events_filter"] = list(asked.get("events") or ())
    return shown


def metrics(document: PredictionJson) -> Json:
    """Seconds that it ran, seconds since it was asked for, pictures that it made, what it cost, and what its worker
    measured. Before the end how many are ahead of it, where that is known."""
    created, started, finished = document["created_at"], document["started_at"], document["finished_at"]
    if finished is None:
        position = cast("Document", document).get("queue_position")
        return {} if position is None else {"queue_position": position}
    times = {"total_time": _seconds(created, finished)}
    if started is not None:
        times = {"predict_time": _seconds(started, finished), **times}
    media = media_of(document["output"])
    are_pictures = bool(media) and all(one and one["content_type"].startswith("image/") for one in media)
    made = {"image_count": len(media)} if are_pictures else {}  # of what has expired nobody knows
    return {**document["metrics"], **made, **times, "cost_micros": document["cost_micros"], "currency": "USD"}


def seed_line(given: Mapping[str, Any]) -> list[str]:
    """What a log says of the seed of an input, if it has one."""
    seed = given.get("seed")
    return [f"Using seed: {seed}"] if isinstance(seed, int) else []


def logs(document: PredictionJson) -> str:
    """The whole log: the seed, what the model says, and how far it is."""
    said = document["logs"].split("\n") if document["logs"] else []
    return "\n".join([*seed_line(document["input"]), *said, *progress(document["step"], document["steps"])])


def progress(step: int, steps: int) -> list[str]:
    """One line for each step that was done, as tqdm writes them; of very many, one for each whole percent."""
    if steps <= 0 or step <= 0:
        return []
    done = min(step, steps)
    told = (
        sorted({-(-percent * steps // 100) for percent in range(1, 101)})
        if steps > 100
        else range(1, steps + 1)
    )
    return [_line(number, steps) for number in told if number <= done]


def _line(step: int, steps: int) -> str:
    percent = step * 100 // steps
    filled = step * _BAR // steps
    return f"{percent:3d}%|{'#' * filled}{' ' * (_BAR - filled)}| {step}/{steps}"


def moment(written: str | None) -> str | None:
    """ISO 8601 as Replicate writes it, with a Z."""
    return None if written is None else written.replace("+00:00", "Z")


def rebased(address: str, base: str) -> str:
    """One of our addresses under the address that the caller used."""
    return (
        base + address.removeprefix(settings.PUBLIC_URL)
        if address.startswith(settings.PUBLIC_URL)
        else address
    )


def file_address(asset_id: str, base: str) -> str:
    """Where a stored file is asked for by its id, prefixed or bare."""
    return f"{base}{PREFIX}/files/{asset_id.removeprefix('a_')}"


def media_of(output: Any) -> list[Any]:
    """The media of an output of ours, in order; None for one that has expired."""
    return named_media(output)[1]


def named_media(output: Any) -> tuple[str, list[Any]]:
    """The name that the media of an output have, and they themselves."""
    named = output.items() if isinstance(output, Mapping) else ()
    return next(((name, value) for name, value in named if isinstance(value, list)), ("", []))


def _output(output: Any, base: str) -> tuple[list[str] | str | None, bool]:
    """The addresses of what was made; whether some of it is not kept any more. See LISTED for what is no list."""
    if output is None:
        return None, False
    name, media = named_media(output)
    addresses = [rebased(one["url"], base) for one in media if one is not None]
    is_missing = len(addresses) < len(media)
    if name != LISTED and len(media) == 1:
        return (addresses[0] if addresses else None), is_missing
    return addresses or None, is_missing


def _input(value: Any, base: str) -> Any:
    """The input with the addresses of the files that it names by their ids."""
    if isinstance(value, Mapping):
        return {name: _input(one, base) for name, one in value.items()}
    if isinstance(value, list):
        return [_input(one, base) for one in value]
    if isinstance(value, str) and _ASSET.fullmatch(value):
        return file_address(value, base)
    return value


def _seconds(since: str, until: str) -> float:
    took = datetime.fromisoformat(until) - datetime.fromisoformat(since)
    return max(0.0, round(took.total_seconds(), 6))


def _number(bare: str) -> UUID:
    number = parse(bare)
    assert number is not None  # it was written by us
    return number
