"""OpenAI's own clients, unmodified, against a whole installation."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients import running
from tests.clients.conftest import GROUND
from tests.conftest import Stack

HERE = Path(__file__).resolve().parent
PNG = "iVBORw0K"


def settings(stack: Stack) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{stack.url}/openai/v1", "OPENAI_API_KEY": stack.key}


@pytest.fixture(scope="module")
def python(called: Stack, folder: Path) -> Any:
    return running.python(HERE / "surface.py", settings(called), folder)


@pytest.fixture(scope="module")
def javascript(called: Stack, folder: Path, python: Any) -> Any:
    noise = Image.frombytes("RGB", (2000, 1900), random.Random(1).randbytes(2000 * 1900 * 3))
    noise.save(folder / "large.png", compress_level=0)
    return running.javascript(HERE / "surface.mjs", settings(called), folder)


def test_pictures(python: Any) -> None:
    made = python["generate"]
    assert made["kind"] == "ImagesResponse"
    assert made["pictures"] == [["PNG", 128, 128]] * 2
    assert (made["same"], made["format"], made["size"]) == (True, "png", "128x128")
    b64, kind, request_id, ignored = python["generate_url"]
    assert (b64, kind) == (None, "image/jpeg")
    assert request_id
    assert ignored == "user"


def test_a_picture_that_grows(python: Any) -> None:
    *partial, finished = python["generate_stream"]
    assert 1 <= len(partial) <= 2  # as many as the machine had time to show
    assert [one[:3] for one in partial] == [
        ["ImageGenPartialImageEvent", "image_generation.partial_image", number]
        for number in range(len(partial))
    ]
    assert finished[:2] == ["ImageGenCompletedEvent", "image_generation.completed"]
    assert finished[3:] == [["PNG", 128, 128], "128x128"]


def test_edits(python: Any) -> None:
    size, (hole, outside) = python["edit"]
    assert size == ["PNG", 64, 48]
    assert tuple(outside) == GROUND
    assert tuple(hole) != GROUND
    size, (kind, status, _, code, param, _) = python["edit_list"]
    assert size == ["WEBP", 64, 48]
    assert (kind, status, code, param) == ("BadRequestError", 400, "invalid_value", "image")
    assert [one[0] for one in python["edit_stream"]] == ["image_edit.partial_image", "image_edit.completed"]
    assert python["edit_stream"][-1][1] == ["PNG", 64, 48]
    assert python["variation"] == ["PNG", 64, 48]


@pytest.mark.parametrize(
    ("asked", "kind", "status", "code", "param"),
    [
        ("key", "AuthenticationError", 401, "invalid_api_key", None),
        ("model", "NotFoundError", 404, "model_not_found", "model"),
        ("n", "BadRequestError", 400, "invalid_value", "n"),
        ("size", "BadRequestError", 400, "invalid_value", "size"),
        ("background", "BadRequestError", 400, "invalid_value", "background"),
        ("style", "BadRequestError", 400, "invalid_value", "style"),
        ("stream", "BadRequestError", 400, "invalid_value", "n"),
        ("video", "NotFoundError", 404, "not_found", "id"),
        ("chat", "NotFoundError", 404, "unknown_url", None),
    ],
)
def test_errors(python: Any, asked: str, kind: str, status: int, code: str, param: str | None) -> None:
    said = python["errors"][asked]
    assert (said[0], said[1], said[3], said[4]) == (kind, status, code, param)
    assert said[5]


def test_films(python: Any) -> None:
    films = python["films"]
    first, created, second, remix = (films[name] for name in ("first", "created", "second", "remix"))
    assert (first["status"], first["progress"], first["size"], first["seconds"]) == (
        "completed",
        100,
        "128x72",
        "4",
    )
    assert first["completed_at"] >= first["created_at"]
    assert first["expires_at"] > first["completed_at"]
    assert created["status"] in {"queued", "in_progress"}
    assert created["seconds"] == "2"
    assert (second["id"], second["status"]) == (created["id"], "completed")
    assert (remix["remixed_from_video_id"], remix["prompt"], remix["seconds"]) == (
        second["id"],
        "a remix",
        "2",
    )
    assert films["early"][:2] == ["NotFoundError", 404]
    assert films["film"] == ["ftyp", "video/mp4"]
    assert films["small"] == ["WEBP"]
    assert (films["sheet"][3], films["sheet"][4]) == ("invalid_value", "variant")
    assert films["newest"] == [[remix["id"], second["id"]], True]
    assert films["everything"] == [first["id"], second["id"], remix["id"]]
    edited = films["edited"]
    assert (edited["model"], edited["status"], edited["prompt"]) == (
        *("vitrine/recut", "completed", "at night"),
    )
    assert films["same"] is True
    assert films["sent"] == ["completed", "128x72", "4"]
    for name, param, said in (
        ("unfit", "video", "vitrine/reel"),
        ("extended", "video", "vitrine/recut"),
        ("nameless", "model", "extra_body"),
    ):
        assert films[name][:2] == ["BadRequestError", 400]
        assert films[name][4] == param
        assert said in films[name][5]
    assert films["gone"] == {"id": second["id"], "object": "video.deleted", "deleted": True}
    assert films["again"][:2] == ["NotFoundError", 404]


def test_speech(python: Any) -> None:
    speech = python["speech"]
    assert (speech["kind"], speech["file"], speech["whole"]) == ("audio/wav", "RIFF", "RIFF")
    assert speech["events"] == ["event: speech.audio.delta", "event: speech.audio.done"]
    assert (speech["voice"][1], speech["voice"][4]) == (400, "voice")
    assert (speech["mp3"][1], speech["mp3"][4]) == (400, "response_format")


def test_files(python: Any) -> None:
    files = python["files"]
    kept = files["kept"]
    assert (kept["object"], kept["filename"], kept["purpose"], kept["status"]) == (
        *("file", "kept.png", "vision", "processed"),
    )
    assert files["found"] == kept["id"]
    assert kept["expires_at"] - kept["created_at"] in {3599, 3600, 3601}
    assert files["waited"] == "processed"
    assert (files["listed"], files["content"], files["film"], files["gone"]) == (
        True,
        True,
        "completed",
        True,
    )
    assert files["again"][:2] == ["NotFoundError", 404]


def test_what_is_not_here(python: Any) -> None:
    assert python["absent"]
    for name, (kind, status, _, code, _) in python["absent"].items():
        assert (kind, status, code) == ("InternalServerError", 501, "not_implemented"), name


def test_asynchronous(python: Any) -> None:
    assert python["asynchronous"] == ["image_generation.completed"]


def test_models(python: Any) -> None:
    one, every, gone = python["models"]
    assert gone[:2] == ["APIStatusError", 405]
    assert (one["id"], one["object"], one["owned_by"]) == ("vitrine/daylight", "model", "vitrine")
    assert {"vitrine/daylight", "vitrine/repaint", "vitrine/reel", "vitrine/voice"} <= set(every)


def test_javascript(javascript: Any) -> None:
    assert javascript["generate"] == ["128x128", [[False, PNG]]]
    *partial, finished = [kind for kind, _ in javascript["stream"]]
    assert set(partial) == {"image_generation.partial_image"}
    assert finished == "image_generation.completed"
    assert all(has_picture for _, has_picture in javascript["stream"])
    with Image.open(io.BytesIO(base64.b64decode(javascript["edit"]))) as edited:
        assert edited.getpixel((4, 4)) == GROUND
        assert edited.getpixel((32, 24)) != GROUND
    assert javascript["list"] == 1
    size, dimensions, pictures = javascript["large"]
    assert size > 10 * 2**20
    assert (dimensions, pictures) == ("2000x1900", [True])
    assert javascript["recut"] == ["vitrine/recut", "vitrine/recut", "at noon"]
    assert javascript["absent"] == ["InternalServerError", 501, "not_implemented", None]
    assert javascript["file"] == ["picture.png", True]
    assert javascript["errors"] == {
        "model": ["NotFoundError", 404, "model_not_found", "model"],
        "size": ["BadRequestError", 400, "invalid_value", "size"],
    }
    assert javascript["film"] == ["2", "128x72", "completed", "ftyp"]
    assert javascript["films"] is True
    assert javascript["deleted"]["deleted"] is True
    assert javascript["speech"] == "RIFF"
    assert javascript["model"]["id"] == "vitrine/daylight"
