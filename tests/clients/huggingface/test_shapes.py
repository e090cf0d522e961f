"""Hugging Face's endpoints in process: what is taken in, and errors in their own shape."""

from __future__ import annotations

import base64

import pytest

from marketplace import catalog
from marketplace.models import Offer
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
@pytest.mark.parametrize("said", ["", "application/x-www-form-urlencoded", "text/plain"])
def test_json_that_does_not_say_so_is_read(world, said):
    """As `curl -d` sends it, and `requests` what was dumped before: the examples of the house have it so."""
    answer = world.ada.post(HF, raw=b' {"inputs": "a vase", "parameters": {"steps": 7}}', content_type=said)
    assert answer.status_code != 415, answer.text
    row = Prediction.objects.get()
    assert (row.input["prompt"], row.input["steps"]) == ("a vase", 7)
    assert "no JSON" in world.ada.post(HF, raw=b'{"inputs": ', content_type=said).json()["error"]


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
def test_a_large_file_goes_by_way_of_the_disk(world, settings):
    field = {"type": "string", "x-media": ["image/png"]}
    described = {"type": "object", "required": ["image"], "properties": {"image": field}}
    price = [{"unit": "request", "unit_price": "0.004"}]
    model = f"/hf/{cast.shelve(name='edit', prices=price, endpoint__input=described)}"
    world.ada.post(model, raw=cast.png(edge=64), content_type="image/png")
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    world.ada.post(model, raw=cast.png(edge=64), content_type="image/png")
    small, large = Prediction.objects.order_by("id")
    assert small.input == large.input  # the same bytes are one asset
    ask(world.ada, large.input["image"], model)
    assert Prediction.objects.latest("id").input == large.input
    answer = world.ada.post(model, raw=b"GIF?" * 100, content_type="image/png")
    assert (answer.status_code, answer.json()["error_type"]) == (422, "invalid_input")


@pytest.mark.django_db
def test_the_hub_says_which_providers_have_a_model(world):
    hub = world.nobody.get("/hf/api/models/kiln/vase?expand=inferenceProviderMapping").json()
    assert (hub["id"], hub["pipeline_tag"], hub["private"]) == ("kiln/vase", "text-to-image", False)
    mapping = hub["inferenceProviderMapping"]
    assert next(iter(mapping)) == "hf-inference"  # what a client chooses that is told none
    assert set(mapping) == {"hf-inference", "fal-ai", "replicate"}
    assert mapping["fal-ai"] == {"providerId": "kiln/vase", "status": "live", "task": "text-to-image"}
    film = cast.shelve(name="film", task="text-to-video")
    mapping = world.ada.get(f"/hf/api/models/{film}").json()["inferenceProviderMapping"]
    assert set(mapping) == {"fal-ai", "replicate"}
    none = world.nobody.get("/hf/api/models/kiln/none")
    assert (none.status_code, none.headers["X-Error-Code"]) == (404, "RepoNotFound")


@pytest.mark.django_db
def test_an_endpoint_says_what_it_is_and_whether_it_can_be_run(world):
    assert world.ada.get(f"{HF}/info").json()["model_pipeline_tag"] == "text-to-image"
    assert world.ada.get(f"{HF}/health").status_code == 200
    Offer.objects.update(is_enabled=False)
    catalog.forget()
    assert world.ada.get(f"{HF}/health").status_code == 502
    private = cast.shelve(name="secret", visibility="private")
    assert world.nobody.get(f"/hf/{private}/info").status_code == 404


@pytest.mark.django_db
def test_a_picture_is_taken_as_the_clients_providers_send_it(world):
    """Under the wrong type, and under every name that a model may have for it."""
    field = {"type": "string", "x-media": ["image/png"]}
    described = {"type": "object", "required": ["image"], "properties": {"image": field}}
    price = [{"unit": "request", "unit_price": "0.004"}]
    model = cast.shelve(name="edit", prices=price, endpoint__input=described)
    called_jpeg = f"data:image/jpeg;base64,{base64.b64encode(cast.png()).decode()}"
    names = {"image": called_jpeg, "input_image": called_jpeg}
    lists = {"images": [called_jpeg], "input_images": [called_jpeg]}
    world.ada.post(f"/v1/models/{model}/predictions", {"input": {**names, **lists}})
    body = {"image_url": called_jpeg, "image_urls": [called_jpeg]}
    world.ada.post(f"/fal/queue/{model}", body)
    first, second = Prediction.objects.order_by("id")
    assert first.input == second.input
    other = f"data:audio/wav;base64,{called_jpeg.partition(',')[2]}"
    assert world.ada.post(f"/fal/queue/{model}", {"image_url": other}).status_code == 422


@pytest.mark.django_db
def test_the_routers_address_runs_a_model(world):
    ask(world.ada, path="/hf/hf-inference/models/kiln/vase")
    assert Prediction.objects.get().via == "huggingface"


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


@pytest.mark.django_db
def test_a_model_that_makes_several_of_its_own_accord_makes_one(world):
    count = {"type": "integer", "minimum": 1, "maximum": 4, "default": 4, "x-measure": "image"}
    described = {
        "type": "object",
        "required": ["prompt"],
        "properties": {"prompt": {"type": "string"}, "num_images": count},
    }
    price = [{"unit": "image", "unit_price": "0.004"}]
    model = f"/hf/{cast.shelve(name='four', prices=price, endpoint__input=described)}"
    ask(world.ada, "a vase", model)
    row = Prediction.objects.get()
    assert (row.input["num_images"], row.quote["amount_micros"]) == (1, 4_000)
    assert row.asked["ignored"] == []
