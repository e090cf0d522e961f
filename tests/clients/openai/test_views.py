"""The OpenAI API in process: one run for one request, nothing of other workspaces, errors in its own shape."""

from __future__ import annotations

import base64
import io
import json
import re

import pytest
from django.utils import timezone
from PIL import Image

from playground import assets, predictions
from playground.facades.openai import show
from playground.facades.openai.routes import urlpatterns
from playground.models import IdempotencyKey, Prediction, Upload
from tests.predictions import cast

pytestmark = pytest.mark.django_db
V1 = "/openai/v1"
FILM = {"endpoint__output": {"type": "object", "properties": {"videos": {"type": "array", "items": {}}}}}


def draw(caller, *, again: int | None = None, **fields):
    headers = {} if again is None else {"X-Stainless-Retry-Count": str(again)}
    return caller.post(
        f"{V1}/images/generations", {"model": "kiln/vase", "prompt": "a vase", **fields}, **headers
    )


def made(answer) -> Prediction:
    return Prediction.objects.with_model().get(public_id=predictions_id(answer))


def predictions_id(answer):
    from marketplace.ids import parse

    return parse(answer.headers["X-Vitrine-Prediction"], "p")


def test_a_request_is_a_run_of_ours(world):
    answer = draw(world.ada, n=2, size="auto", user="u", seed=5)
    row = made(answer)
    assert (row.via, row.model, row.input["num_images"], row.input["seed"]) == ("openai", "kiln/vase", 2, 5)
    assert row.asked["act"] == "generate"
    assert answer.headers["X-Vitrine-Ignored"] == "user"
    assert answer.status_code == 504  # nobody has waited here
    assert answer.json()["error"]["code"] == "timeout"
    cast.money_is_right()


def test_what_the_edge_waits_for_is_no_fault_in_the_log(world, caplog):
    """The view's own answer, in whose place the edge waits, is a 504; what there is none of is a 501."""
    assert draw(world.ada).status_code == 504
    assert world.ada.get("/fal/v1/assets").status_code == 501
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


def test_what_a_client_sends_again_is_one_run(world):
    first, again = made(draw(world.ada, again=0)), made(draw(world.ada, again=1))
    assert first.pk == again.pk
    # However long it has been under way: a client waits minutes before it asks again.
    IdempotencyKey.objects.update(created_at=timezone.now() - cast.later(seconds=600))
    assert made(draw(world.ada, again=2)).pk == first.pk
    (job,) = cast.claim()
    cast.succeed(job)
    assert made(draw(world.ada, again=2)).pk == first.pk
    cast.move_back(first, finished_at=600)
    assert made(draw(world.ada, again=2)).pk != first.pk
    assert made(draw(world.ada, again=0)).pk != first.pk  # four pictures of the same words are four
    assert made(draw(world.ada)).pk != first.pk
    assert made(draw(world.ada, again=1, prompt="another")).pk != first.pk
    cast.money_is_right()


def test_what_is_done_is_shown_to_who_asks_again(world):
    draw(world.ada, again=0, n=2)
    (job,) = cast.claim()
    cast.succeed(job, pictures=2)
    answer = draw(world.ada, again=1, n=2)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert [base64.b64decode(one["b64_json"]) for one in data] == [cast.png(0), cast.png(1)]
    assert all(one["url"].startswith("http") for one in data)


def test_what_failed_is_told(world):
    draw(world.ada, again=0)
    (job,) = cast.claim()
    cast.fail(job)
    answer = draw(world.ada, again=1)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert answer.json() == {
        "error": {"message": "It broke.", "type": "server_error", "param": None, "code": "broken"}
    }


def test_an_empty_list_is_a_value_like_any_other(world):
    answer = draw(world.ada, loras=[], odd=[])
    assert answer.headers["X-Vitrine-Ignored"] == "odd"
    assert made(answer).status == "queued"


def test_a_form_may_name_what_no_database_holds(world):
    form = {"model": "kiln/vase", "prompt": "a vase", "o\0dd": "1"}
    answer = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
    assert answer.headers["X-Vitrine-Ignored"] == "o?dd"
    assert made(answer).asked["ignored"][0]["field"] == "o\ufffddd"


def test_a_form_of_too_many_parts_is_refused_in_words_of_ours(world, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS, settings.DATA_UPLOAD_MAX_NUMBER_FILES = 3, 1
    odd = {f"odd{n}": "1" for n in range(9)}
    two = {"image[]": [io.BytesIO(cast.png(1)), io.BytesIO(cast.png(2))]}
    for form, said in ((odd, "at most 3 fields."), (two, "at most 1 file.")):
        answer = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"A form may have {said}")
    assert not Prediction.objects.exists()


def test_who_cannot_pay_is_told_as_openai_tells_it(world):
    answer = draw(world.ada, n=4)
    poor = cast.payer(name="poor", credit=0)
    from marketplace import keys
    from tests.api.programs import Caller

    answer = draw(Caller(keys.make(poor, name="Poor's")[1]))
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert not Prediction.objects.of(poor).exists()


@pytest.mark.parametrize("route", urlpatterns, ids=lambda route: route.name)
def test_nobody_gets_anything(world, route):
    path = re.sub(r"<[a-z]+:[a-z_]+>", "a", f"/{route.pattern}")
    view = route.callback.cls
    for method in view.scopes:
        answer = world.nobody.client.generic(method, path)
        assert answer.status_code == 401, method
        assert answer.json()["error"]["code"] == "invalid_api_key"


def film(caller, **fields):
    return caller.post(f"{V1}/videos", {"model": "kiln/vase", "prompt": "a vase", **fields})


def test_films_of_others_are_none(world):
    theirs = film(world.ada).json()["id"]
    for path in ("", "/content"):
        assert world.mal.get(f"{V1}/videos/{theirs}{path}").status_code == 404
    assert world.mal.post(f"{V1}/videos/{theirs}/remix", {"prompt": "x"}).status_code == 404
    assert world.mal.delete(f"{V1}/videos/{theirs}").status_code == 404
    assert world.mal.get(f"{V1}/videos").json()["data"] == []
    assert world.mal.get(f"{V1}/videos?after={theirs}").status_code == 400
    assert world.ada.get(f"{V1}/videos/{theirs}").json()["status"] == "queued"
    # A picture is none, and an open film cannot be deleted.
    picture = draw(world.ada).headers["X-Vitrine-Prediction"]
    assert world.ada.get(f"{V1}/videos/{picture.removeprefix('p_')}").status_code == 404
    refused = world.ada.delete(f"{V1}/videos/{theirs}")
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")


def test_files_of_others_are_none(world):
    ask = {"headers": world.ada.headers({})}
    form = {"file": io.BytesIO(cast.png()), "purpose": "vision"}
    theirs = world.ada.client.post(f"{V1}/files", form, **ask).json()["id"]
    for path in ("", "/content"):
        assert world.mal.get(f"{V1}/files/{theirs}{path}").status_code == 404
    assert world.mal.delete(f"{V1}/files/{theirs}").status_code == 404
    assert world.mal.get(f"{V1}/files").json()["data"] == []
    assert world.ada.get(f"{V1}/files/{theirs}").json()["purpose"] == "vision"
    for wrong, param in (({"purpose": "vision"}, "file"), ({**form, "purpose": "fine-tune"}, "purpose")):
        answer = world.ada.client.post(f"{V1}/files", wrong, **ask)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    hostile = world.ada.client.post(f"{V1}/files", {"file": io.BytesIO(b"<svg/>")}, **ask)
    assert (hostile.status_code, hostile.json()["error"]["code"]) == (400, "invalid_file")


def test_files_are_kept_as_long_as_is_said_and_listed_by_what_they_are_for(world):
    def send(**more):
        form = {"file": io.BytesIO(cast.png()), "purpose": "vision", **more}
        return world.ada.client.post(f"{V1}/files", form, headers=world.ada.headers({}))

    expiry = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "7200"}
    kept = send(**expiry).json()
    assert abs(kept["expires_at"] - kept["created_at"] - 7200) <= 1
    for purpose, ids in (("vision", [kept["id"]]), ("user_data", []), ("batch", [])):
        found = world.ada.get(f"{V1}/files?purpose={purpose}").json()
        assert [one["id"] for one in found["data"]] == ids, purpose
    for wrong in ({"expires_after[seconds]": "5"}, {"expires_after[anchor]": "now"}):
        answer = send(**{**expiry, **wrong})
        (param,) = wrong
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_large_file_of_a_form_goes_by_way_of_the_disk(world, settings):
    model = editor()
    form = {"model": model, "prompt": "p", "image": io.BytesIO(cast.png(edge=64))}
    small = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    form["image"].seek(0)
    large = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
    assert made(small).input == made(large).input  # the same bytes are one asset
    form["image"] = io.BytesIO(b"GIF?" * 100)
    answer = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")
    assert not Upload.objects.exists()


def editor(**fields):
    """A model that takes pictures, as `fields` say, or one."""
    picture = {"type": "string", "x-media": ["image/png"]}
    described = {"prompt": {"type": "string"}, **(fields or {"image": picture})}
    return cast.shelve(
        name="edit",
        prices=[{"unit": "request", "unit_price": "0.004"}],
        endpoint__input={"type": "object", "required": ["prompt"], "properties": described},
    )


def test_several_pictures_are_a_list_where_the_model_takes_one(world):
    pictures = {"type": "array", "maxItems": 4, "items": {"type": "string", "x-media": ["image/png"]}}
    body = {"model": editor(images=pictures), "prompt": "both"}
    form = {**body, "image[]": [io.BytesIO(cast.png(1)), io.BytesIO(cast.png(2))]}
    sent = made(world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({})))
    addresses = [f"data:image/png;base64,{base64.b64encode(cast.png(n)).decode()}" for n in (1, 2)]
    named = made(
        world.ada.post(f"{V1}/images/edits", {**body, "images": [{"image_url": one} for one in addresses]})
    )
    assert sent.input == named.input
    assert len(sent.input["images"]) == 2
    form["image[]"] = [io.BytesIO(cast.png(n)) for n in range(5)]
    answer = world.ada.client.post(f"{V1}/images/edits", form, headers=world.ada.headers({}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")


@pytest.fixture
def cutter(world):
    """A model that takes films (and pictures, of which the worker of these tests makes its films)."""

    def shelve(task):
        fields = {
            "prompt": {"type": "string"},
            "video": {"type": "string", "x-media": ["video/mp4", "image/png"]},
            "duration": {"type": "number", "default": 1, "minimum": 1, "maximum": 9, "x-measure": "second"},
        }
        return cast.shelve(
            name="cutter",
            task=task,
            prices=[{"unit": "request", "unit_price": "0.004"}],
            endpoint__input={"type": "object", "required": ["prompt", "video"], "properties": fields},
        )

    return shelve


def test_a_film_is_made_of_a_film_by_a_model_that_takes_one(world, cutter):
    model, first = cutter("video-to-video"), made(film(world.ada))
    source = {"video": {"id": show.video_id(first.public_id)}, "prompt": "at night"}
    early = world.ada.post(f"{V1}/videos/edits", source)
    assert (early.status_code, early.json()["error"]["code"]) == (404, "video_not_ready")
    (job,) = cast.claim()
    cast.succeed(job)
    other = world.ada.post(f"{V1}/videos/edits", source)  # by the model that made it, which takes none
    assert (other.status_code, other.json()["error"]["param"]) == (400, "video")
    assert "kiln/vase" in other.json()["error"]["message"]
    row = made(world.ada.post(f"{V1}/videos/edits", {**source, "model": model}))
    assert (row.model, row.input["prompt"]) == (model, "at night")
    assert predictions.own_file(world.workspace, row.input["video"]).prediction_id == first.pk
    again = world.ada.get(f"{V1}/videos/{show.video_id(row.public_id)}").json()
    assert (again["object"], again["status"], again["prompt"]) == ("video", "queued", "at night")
    assert world.mal.post(f"{V1}/videos/edits", {**source, "model": model}).status_code == 404
    form = {"prompt": "at night", "video": io.BytesIO(cast.png())}
    sent = world.ada.client.post(f"{V1}/videos/edits", form, headers=world.ada.headers({}))
    assert (sent.status_code, sent.json()["error"]["param"]) == (400, "model")
    form |= {"model": model, "video": io.BytesIO(cast.png())}
    sent = made(world.ada.client.post(f"{V1}/videos/edits", form, headers=world.ada.headers({})))
    assert assets.read(predictions.own_file(world.workspace, sent.input["video"])) == cast.png()


def test_a_film_is_extended_by_a_model_that_is_for_it(world, cutter):
    source = {"video": f"data:image/png;base64,{base64.b64encode(cast.png()).decode()}", "prompt": "on"}
    whole = {**source, "seconds": "4", "model": cutter("video-to-video")}
    other = world.ada.post(f"{V1}/videos/extensions", whole)
    assert (other.status_code, other.json()["error"]["param"]) == (400, "video")
    cutter("video-extension")
    row = made(world.ada.post(f"{V1}/videos/extensions", whole))
    assert row.input["duration"] == 4
    for name in ("prompt", "video", "seconds"):
        answer = world.ada.post(f"{V1}/videos/extensions", {**whole, name: None})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize(
    "path",
    [
        *("videos/characters", "audio/transcriptions", "audio/translations", "audio/voices"),
        *("audio/voice_consents", "uploads", "uploads/upload_1/complete", "content_provenance_checks"),
    ],
)
def test_what_is_not_here_is_said_once(world, path):
    answer = world.ada.post(f"{V1}/{path}", {"model": "whisper-1"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (501, "false")
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("not_implemented", "invalid_request_error")
    assert error["message"].endswith(".")


def test_films_are_listed_in_pages(world):
    ids = [film(world.ada).json()["id"] for _ in range(3)]
    draw(world.ada)
    first = world.ada.get(f"{V1}/videos?limit=2").json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    rest = world.ada.get(f"{V1}/videos?limit=2&after={first['last_id']}").json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    upwards = world.ada.get(f"{V1}/videos?order=asc&after={ids[0]}").json()
    assert [one["id"] for one in upwards["data"]] == ids[1:]
    for query in ("limit=0", "limit=x", "order=up", "after=video_none"):
        assert world.ada.get(f"{V1}/videos?{query}").status_code == 400


def test_a_remix_is_the_film_but_for_the_words(world):
    row = made(film(world.ada, steps=7))
    (job,) = cast.claim()
    early = world.ada.post(f"{V1}/videos/{row.public_id}/remix", {"prompt": "again"})
    assert (early.status_code, early.json()["error"]["code"]) == (404, "video_not_ready")
    cast.succeed(job)
    remix = made(world.ada.post(f"{V1}/videos/{row.public_id}/remix", {"prompt": "again"}))
    assert remix.input == {**row.input, "prompt": "again"}
    assert remix.asked["remixed_from"].startswith("video_")


def test_a_hole_is_a_mask(world):
    fields = {
        "prompt": {"type": "string"},
        "image": {"type": "string", "x-media": ["image/png"]},
        "mask_image": {"type": "string", "x-media": ["image/png"]},
    }
    cast.shelve(
        name="edit",
        prices=[{"unit": "request", "unit_price": "0.004"}],
        endpoint__input={"type": "object", "required": ["image", "mask_image"], "properties": fields},
    )
    picture = Image.new("RGBA", (8, 8), (9, 9, 9, 255))
    picture.putpixel((2, 2), (0, 0, 0, 0))
    out = io.BytesIO()
    picture.save(out, "PNG")
    body = {"model": "kiln/edit", "prompt": "fill"}
    ask = {"headers": world.ada.headers({})}
    holed = {"image": io.BytesIO(out.getvalue())}
    answer = world.ada.client.post(f"{V1}/images/edits", {**body, **holed}, **ask)
    row = made(answer)
    mask = predictions.own_file(world.workspace, row.input["mask_image"])
    with Image.open(io.BytesIO(assets.read(mask))) as found:
        assert [found.getpixel(at) for at in ((2, 2), (5, 5))] == [255, 0]
    whole = world.ada.client.post(f"{V1}/images/edits", {**body, "image": io.BytesIO(cast.png())}, **ask)
    assert (whole.status_code, whole.json()["error"]["param"]) == (400, "mask")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"n": 5}, "n"),
        ({"quality": "high"}, "quality"),
        ({"size": "64x64"}, "size"),
        ({"stream": "yes"}, "stream"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"response_format": "webp"}, "response_format"),
        ({"output_format": "svg"}, "output_format"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(world, fields, param):
    answer = draw(world.ada, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not Prediction.objects.exists()


def test_what_is_no_json(world):
    answer = world.ada.post(f"{V1}/images/generations", raw=b"{")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert world.ada.get(f"{V1}/images/generations").status_code == 405
    assert json.loads(world.ada.get(f"{V1}/assistants").content)["error"]["code"] == "unknown_url"
