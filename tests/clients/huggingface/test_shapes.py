"""Hugging Face's endpoints in process: what is taken in, and errors in their own shape."""

from __future__ import annotations

import base64

import pytest

from playground.api.codes import CODES
from playground.api.problems import Problem
from playground.facades.huggingface import errors
from playground.models import Prediction
from tests.predictions import cast

HF = "/hf/kiln/vase"


def test_nothing_is_answered_with_503():
    """@huggingface/inference would ask again at once, and for ever."""
    assert all(errors.status_of(Problem(code, "")) != 503 for code in CODES)


def ask(caller, inputs="a vase", path=HF, **parameters):
    return caller.post(path, {"inputs": inputs, "parameters": parameters})


@pytest.mark.django_db
def test_words_become_a_run(world):
    answer = ask(world.ada, steps=7, negative_prompt="fog", num_images=1)
    row = Prediction.objects.get()
    assert (row.via, row.input["prompt"], row.input["steps"]) == ("huggingface", "a vase", 7)
    assert answer.headers["X-Vitrine-Ignored"] == "negative_prompt"


@pytest.mark.django_db
@pytest.mark.parametrize("count", [2, [1], {"a": 1}])
def test_an_answer_is_one_file(world, count):
    answer = ask(world.ada, num_images_per_prompt=count)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "invalid_input")
    assert not Prediction.objects.exists()


@pytest.mark.django_db
def test_a_picture_becomes_a_run_however_it_is_sent(world):
    fields = {
        "prompt": {"type": "string", "default": ""},
        "image": {"type": "string", "x-media": ["image/png"]},
    }
    price = [{"unit": "request", "unit_price": "0.004"}]
    described = {"type": "object", "required": ["image"], "properties": fields}
    model = f"/hf/{cast.shelve(name='edit', prices=price, endpoint__input=described)}"
    world.ada.post(model, raw=cast.png(), content_type="application/octet-stream")
    ask(world.ada, base64.b64encode(cast.png()).decode(), model, prompt="paint it")
    ask(world.ada, f"data:image/png;base64,{base64.b64encode(cast.png()).decode()}", model)
    rows = list(Prediction.objects.order_by("id"))
    assert [row.input["prompt"] for row in rows] == ["", "paint it", ""]
    assert len({row.input["image"] for row in rows}) == 1
    assert "'image'" in ask(world.ada, "only words", model).json()["error"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"inputs": "a vase", "parameters": {"num_images": 2}}, 422, "an answer is one file"),
        ({"inputs": "a vase", "parameters": {"steps": 900}}, 422, "'steps' must be at most 40"),
        ({"inputs": "a vase", "parameters": []}, 422, "'parameters'"),
        ({"inputs": ["a", "b"]}, 422, "'inputs'"),
        ({}, 422, "'inputs'"),
        (cast.png(), 422, "takes words"),
        (b"GIF", 422, "cannot be used"),
        (b"", 422, "'inputs' is required"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(world, body, status, word):
    if isinstance(body, bytes):
        answer = world.ada.post(HF, raw=body, content_type="image/png")
    else:
        answer = world.ada.post(HF, body)
    assert answer.status_code == status
    assert word in answer.json()["error"]
    assert not Prediction.objects.exists()


@pytest.mark.django_db
def test_nobody_gets_anything(world):
    answer = ask(world.nobody)
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "error_type"}
    assert ask(world.ada, path="/hf/kiln/none").status_code == 404
    assert world.ada.get(HF).status_code == 405
