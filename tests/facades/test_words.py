"""Words of a dialect, to those of an endpoint."""

from __future__ import annotations

import pytest

from marketplace.schema import InvalidInput, clean
from playground.facades.vocabulary import SHARED
from playground.facades.words import Extras, Only, Table, theirs, translate

SIDE = {"type": "integer", "enum": [128, 192, 256], "default": 192}
WIDE = {"type": "integer", "minimum": 64, "maximum": 2048, "multipleOf": 8, "default": 1024}
LORA = {
    "type": "array",
    "maxItems": 4,
    "items": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "x-media": ["application/x-safetensors"]},
            "weight": {"type": "number", "minimum": -2, "maximum": 2},
        },
    },
}
PICTURE = {
    "prompt": {"type": "string"},
    "num_images": {"type": "integer", "minimum": 1, "maximum": 4},
    "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 40},
    "width": {**SIDE, "x-measure": "width"},
    "height": {**SIDE, "x-measure": "height"},
    "adapters": LORA,
}
FILM = {
    "prompt": {"type": "string"},
    "image": {"type": "string", "x-media": ["image/*"]},
    "num_frames": {"type": "integer", "minimum": 9, "maximum": 121, "default": 81, "x-measure": "frame"},
    "fps": {"type": "integer", "minimum": 8, "maximum": 24, "default": 16, "x-measure": "fps"},
}
TABLE = Table({**SHARED, "background": Only(neutral=("auto",)), "user": Only(ignores="nobody is told")})


def schema(properties):
    return {"type": "object", "properties": properties, "required": ["prompt"]}


def read(given, properties=PICTURE, table=TABLE):
    return translate(table, "text-to-image", schema(properties), given)


def wrong(given, properties=PICTURE, table=TABLE):
    with pytest.raises(InvalidInput) as found:
        read(given, properties, table)
    return {error.field: error for error in found.value.errors}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt": "x", "n": 2, "steps": 5}, {"prompt": "x", "num_images": 2, "num_inference_steps": 5}),
        ({"size": "256x192"}, {"width": 256, "height": 192}),
        ({"size": "auto", "background": "auto", "seed": None}, {}),
        ({"image_size": {"width": 128, "height": 256}}, {"width": 128, "height": 256}),
        ({"image_size": "landscape_4_3"}, {"width": 256, "height": 192}),
        ({"aspect_ratio": "1:1"}, {"width": 192, "height": 192}),
        ({"aspect_ratio": "1:2"}, {"width": 128, "height": 256}),
        ({"aspect_ratio": "1:1", "megapixels": "0.01"}, {"width": 128, "height": 128}),
        ({"loras": [{"path": "a_1", "scale": 0.5}]}, {"adapters": [{"file": "a_1", "weight": 0.5}]}),
        ({"lora_scale": 2, "lora_weights": "a_1"}, {"adapters": [{"file": "a_1", "weight": 2}]}),
        ({"loras": []}, {"adapters": []}),
    ],
)
def test_pictures(given, expected):
    assert read(given).input == expected


def test_a_ratio_takes_the_nearest_size_of_exactly_that_shape():
    wide = {**PICTURE, "width": {**WIDE, "x-measure": "width"}, "height": {**WIDE, "x-measure": "height"}}
    assert read({"aspect_ratio": "16:9"}, wide).input == {"width": 1408, "height": 792}
    assert read({"image_size": "square_hd"}, wide).input == {"width": 1024, "height": 1024}
    assert "1024x1024" in wrong({"size": "4096x4096"}, wide)["size"].allowed


@pytest.mark.parametrize(
    ("given", "field", "allowed"),
    [
        ({"size": "1024x1024"}, "size", "256x256"),
        ({"aspect_ratio": "16:9"}, "aspect_ratio", "4:3"),
        ({"aspect_ratio": "wide"}, "aspect_ratio", "1:1"),
        ({"image_size": {"width": 1}}, "image_size", "square_hd"),
        ({"background": "transparent"}, "background", "auto"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_what_can(given, field, allowed):
    assert allowed in wrong(given)[field].allowed


def test_what_matters_is_not_ignored_where_the_model_lacks_it():
    bare = {"prompt": {"type": "string"}}
    for given in ({"n": 2}, {"size": "256x256"}, {"image_url": "https://x.test/a.png"}, {"loras": ["a"]}):
        assert set(wrong(given, bare)) == set(given)
    assert read({"n": 1, "loras": [], "image_size": "auto"}, bare).ignored == []
    assert [one.field for one in read({"guidance": 3, "user": "me", "odd": 1}, bare).ignored] == [
        *("odd", "guidance", "user"),
    ]
    assert set(wrong({"odd": 1}, bare, Table(SHARED, Extras.REFUSED))) == {"odd"}


def test_a_presets_smaller_size_is_told():
    found = read({"image_size": "square_hd"})
    assert found.input == {"width": 256, "height": 256}
    assert [one.field for one in found.ignored] == ["image_size"]


def test_two_words_for_one_field_must_say_the_same():
    same = {"image": "data:x", "input_image": "data:x", "images": ["data:x"], "input_images": ["data:x"]}
    assert read(same, FILM).input == {"image": "data:x"}
    assert set(wrong({"image": "data:x", "image_url": "data:y"}, FILM)) == {"image_url"}
    assert set(wrong({"size": "256x256", "width": 128})) == {"size"}


@pytest.mark.parametrize(
    ("given", "frames"),
    [
        ({"duration": "5"}, 80),
        ({"seconds": "4"}, 64),
        ({"duration": 2.5}, 40),
        ({"seconds": 4, "fps": 8}, 32),
    ],
)
def test_seconds_are_frames(given, frames):
    assert read(given, FILM).input["num_frames"] == frames


def test_seconds_that_are_too_many_say_how_many_there_are():
    assert wrong({"seconds": "12"}, FILM)["seconds"].allowed == {"minimum": 0.56, "maximum": 7.56}


def test_megapixels_beyond_all_measure_count_for_nothing():
    found = read({"megapixels": 10**400})
    assert (found.input, [one.field for one in found.ignored]) == ({}, ["megapixels"])


@pytest.mark.parametrize("rate", [10**400, 1e308, 5e-324])
def test_a_pace_that_nothing_has_is_refused(rate):
    bare = {**FILM, "fps": {"type": "number", "x-measure": "fps"}}
    assert set(wrong({"seconds": 99999, "fps": rate}, bare)) == {"seconds"}


@pytest.mark.parametrize("adapters", ["a_1", ["a_1"], [None], 7, {"file": "a_1"}])
def test_adapters_of_another_shape_are_left_to_the_schema(adapters):
    found = read({"prompt": "x", "adapters": adapters, "lora_scale": 1})
    with pytest.raises(InvalidInput):
        clean(schema(PICTURE), found.input)


def test_a_word_that_cannot_be_kept_is_told_without_what_is_wrong_with_it():
    assert [one.field for one in read({"o\0dd": 1}).ignored] == ["o\ufffddd"]
    assert set(wrong({"o\0dd": 1}, table=Table(SHARED, Extras.REFUSED))) == {"o\ufffddd"}


def test_errors_are_told_in_the_callers_words():
    found = read({"loras": [{"path": "nonsense", "scale": 9}], "n": 9})
    with pytest.raises(InvalidInput) as raised:
        clean(schema(PICTURE), found.input)
    told = found.errors(raised.value.errors)
    assert {error.field for error in told.errors} == {"prompt", "n", "loras[0].path", "loras[0].scale"}
    assert theirs({}, "a[3].b") == "a[3].b"


def test_text_of_forms_is_cast():
    found = read({"n": "2", "prompt": "7", "size": "256x256"}, table=Table(SHARED, casts=True))
    assert found.input == {"num_images": 2, "prompt": "7", "width": 256, "height": 256}
