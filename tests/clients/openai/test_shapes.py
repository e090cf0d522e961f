"""Shapes of the OpenAI API, without a server: errors, events, films, and the bodies of forms."""

from __future__ import annotations

import base64
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from marketplace.schema import FieldError
from playground.api.codes import CODES
from playground.api.problems import Problem, invalid
from playground.facades.openai import asks, bodies, errors, show
from tests.predictions import cast

DOCUMENT = {
    "id": "p_01k8z0v1s2x3y4z5a6b7c8d9e0",
    "model": "vitrine/reel",
    "status": "running",
    "input": {"prompt": "a still", "width": 128, "height": 72, "num_frames": 12, "fps": 8},
    "output": None,
    "error": None,
    "step": 3,
    "steps": 8,
    "created_at": "2026-01-02T03:04:05+00:00",
    "finished_at": None,
}
FILM = {
    "id": "a_01k8z0v1s2x3y4z5a6b7c8d9e0",
    "url": "http://x/media/t/a.mp4",
    "content_type": "video/mp4",
    "width": 64,
    "height": 32,
    "duration_ms": 1500,
    "expires_at": "2026-02-02T03:04:05+00:00",
}


@pytest.mark.parametrize("code", CODES)
def test_every_problem_has_an_error_of_this_dialect(code):
    status, error = errors.error_of(Problem(code, "A sentence."))
    assert 400 <= status < 600
    assert error["message"] == "A sentence."
    assert error["type"]
    assert error["code"]
    headers = errors.headers_of(Problem(code, "A sentence."), status)
    # Whatever the clients would send again by themselves, they are told whether to.
    assert ("x-should-retry" in headers) == (status in {408, 409, 429} or status >= 500)


def test_which_errors_are_sent_again():
    def again(problem):
        return errors.headers_of(problem, errors.error_of(problem)[0]).get("x-should-retry")

    assert again(Problem("throttled", "", headers={"Retry-After": "3"})) == "true"
    assert again(Problem("internal_error", "")) == "true"
    assert again(Problem("insufficient_credit", "")) == "false"
    assert again(Problem("model_unavailable", "")) == "false"
    assert again(Problem("invalid_input", "")) is None


def test_wrong_fields_are_named_by_their_own_names():
    problem = invalid(
        [FieldError("input.n", "too_large", "must be at most 4", 4), FieldError("size", "x", "is no")]
    )
    status, error = errors.error_of(problem)
    assert (status, error["param"]) == (400, "n")
    assert error["message"] == "'n' must be at most 4. 'size' is no."


def test_a_film_through_its_life():
    running = show.video(DOCUMENT, {"remixed_from": "video_1"})
    assert running["id"] == "video_01k8z0v1s2x3y4z5a6b7c8d9e0"
    assert (running["status"], running["progress"]) == ("in_progress", 37)
    assert (running["size"], running["seconds"]) == ("128x72", "1.5")
    assert (running["created_at"], running["completed_at"]) == (1767323045, None)
    assert running["remixed_from_video_id"] == "video_1"
    done = {**DOCUMENT, "status": "succeeded", "finished_at": "2026-01-02T03:05:05+00:00"}
    finished = show.video(done, {}, [show.Made(FILM)])
    assert (finished["status"], finished["progress"], finished["size"]) == ("completed", 100, "64x32")
    assert (finished["completed_at"], finished["expires_at"]) == (1767323105, 1770001445)
    stopped = show.video({**DOCUMENT, "status": "canceled"}, {})
    assert stopped["status"] == "failed"
    assert stopped["error"]["code"] == "canceled"
    assert show.video({**DOCUMENT, "input": {}}, {})["seconds"] == "auto"


def test_pictures_are_there_in_both_forms_unless_one_is_asked_for():
    said = {**FILM, "content_type": "image/png"}
    both = show.images(DOCUMENT, {}, [show.Made(said, b"abc")])
    assert both["data"] == [{"b64_json": base64.b64encode(b"abc").decode(), "url": said["url"]}]
    assert (both["output_format"], both["size"], both["created"]) == ("png", "64x32", 1767323045)


def test_partial_images_are_spread_over_the_run():
    partials = show.Partials(wanted=2)
    sent = [partials.take(f"preview {step // 2}", step, 20) for step in range(1, 17)]
    assert [number for number in sent if number is not None] == [0, 1]
    assert sent.index(0) == 5  # step 6 of 20: the first third of the 16 that have previews
    assert sent.index(1) == 10
    assert show.Partials(wanted=0).take("preview", 10, 20) is None
    assert show.Partials(wanted=1).take(None, 10, 20) is None


def test_the_events_of_a_picture():
    event = show.event(show.partial("data:image/webp;base64,QUJD", 0, DOCUMENT, {"act": "generate"}))
    head, data = event.decode().strip().split("\n")
    assert head == "event: image_generation.partial_image"
    said = json.loads(data.removeprefix("data: "))
    assert (said["b64_json"], said["output_format"], said["partial_image_index"]) == ("QUJD", "webp", 0)
    finished = show.completed(
        show.Made({**FILM, "content_type": "image/png"}, b"abc"), DOCUMENT, {"act": "edit"}
    )
    assert (finished["type"], finished["size"]) == ("image_edit.completed", "64x32")


def test_a_speech_as_events():
    events = b"".join(show.speech_events(b"x" * (show.SPEECH_BYTES + 1))).decode()
    pieces = [json.loads(line[6:]) for line in events.split("\n") if line.startswith("data: ")]
    assert b"".join(base64.b64decode(one["audio"]) for one in pieces[:-1]) == b"x" * (show.SPEECH_BYTES + 1)
    assert pieces[-1]["type"] == "speech.audio.done"


class Asked:
    """A request of which only the data is looked at."""

    def __init__(self, **fields):
        self.data = QueryDict(mutable=True)
        self.data.update(MultiValueDict({name: [*value] for name, value in fields.items()}))


def upload(data):
    return SimpleUploadedFile("whatever.txt", data, content_type="application/octet-stream")


def test_a_form_means_what_json_means():
    form = Asked(
        **{
            "n": ["2"],
            "stream": ["true"],
            "prompt": ["12"],
            "speed": ["1.5"],
            "svg[model]": ["x"],
            "image[]": [upload(cast.png(1)), upload(cast.png(2))],
            "mask": [upload(cast.png(3))],
            "input_reference[file_id]": ["file-01k8z0v1s2x3y4z5a6b7c8d9e0"],
        }
    )
    found = bodies.read(form, files=("image", "mask", "input_reference"))
    assert (found["n"], found["stream"], found["prompt"], found["speed"]) == (2, True, "12", 1.5)
    assert found["svg"] == {"model": "x"}
    assert found["input_reference"] == "a_01k8z0v1s2x3y4z5a6b7c8d9e0"
    assert found["mask"] == f"data:image/png;base64,{base64.b64encode(cast.png(3)).decode()}"
    assert [one[:22] for one in found["image"]] == ["data:image/png;base64,"] * 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"image": [upload(b"")]}, "image"),
        ({"image": [upload(b"<svg/>")]}, "image"),
        ({"image[]": [upload(cast.png())] * 17}, "image"),
        ({"other": [upload(cast.png())]}, "other"),
        ({"prompt[a]": [upload(cast.png())]}, "prompt[a]"),
        ({"a[b][c]": ["1"]}, "a[b][c]"),
        ({"image": [""]}, "image"),
    ],
)
def test_what_a_form_may_not_hold(fields, param):
    with pytest.raises(Problem) as refusal:
        bodies.read(Asked(**fields), files=("image",))
    assert refusal.value.errors[0].field == param


def test_a_file_that_never_was():
    with pytest.raises(Problem) as refusal:
        bodies.read(Asked(image=["file-nonsense"]), files=("image",))
    assert refusal.value.code == "not_found"


def test_no_picture_and_no_voice_is_left_out_in_silence():
    with pytest.raises(Problem) as caught:
        asks.image({"model": "a/b", "image": "https://x/1.png", "images": ["https://x/2.png"]}, "edit")
    assert "images" in caught.value.detail
    odd = {"name": "somebody"}
    assert asks.speech({"model": "a/b", "input": "hello", "voice": odd}).input["voice"] == odd
    assert asks.speech({"model": "a/b", "input": "hello", "voice": {"id": "v"}}).input["voice"] == "v"
