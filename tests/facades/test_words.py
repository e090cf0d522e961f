"""Words of a dialect, to those of an endpoint."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st

from marketplace.schema import InvalidInput, clean
from playground.facades.dialects import dialects
from playground.facades.sizes import Ratio, Seconds, Size
from playground.facades.vocabulary import SHARED
from playground.facades.words import Extras, Handled, Only, Table, theirs, translate
from tests.conftest import PROJECT

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


def without(given, *words):
    return {word: value for word, value in given.items() if word not in words}


@pytest.mark.parametrize(
    ("given", "expected", "ignored"),
    [
        ({"duration": 5, "frame_rate": 8}, {"num_frames": 40, "fps": 8}, []),  # the pace by another name
        ({"seconds": "5", "fps": "8"}, {"num_frames": 40, "fps": 8}, []),
        ({"aspect_ratio": "auto", "megapixels": "0.016"}, {"width": 128, "height": 128}, []),
        ({"width": 256, "megapixels": "0.016"}, {"width": 256}, ["megapixels"]),
        ({"aspect_ratio": "1:1", "megapixels": "1"}, {"width": 256, "height": 256}, ["megapixels"]),
        ({"aspect_ratio": "1:1", "megapixels": "0.04"}, {"width": 192, "height": 192}, []),
        (
            {"loras": [{"path": "a_1", "scale": 1}], "lora_scale": 2},
            {"adapters": [{"file": "a_1", "weight": 1}]},
            ["lora_scale"],
        ),
        ({"hf_lora": ""}, {}, []),
    ],
)
def test_words_beside_others_count_or_are_told_of(given, expected, ignored):
    properties = FILM if {"duration", "seconds"} & set(given) else PICTURE
    found = read(given, properties, Table(SHARED, casts=True))
    assert (found.input, [one.field for one in found.ignored]) == (expected, ignored)


def test_seconds_are_not_rounded_and_not_guessed():
    sound = {"duration": {"type": "integer", "minimum": 1, "maximum": 30, "x-measure": "second"}}
    assert read({"seconds": 5.0}, sound).input == {"duration": 5}
    found = read({"seconds": 4.6}, sound)
    with pytest.raises(InvalidInput) as caught:
        clean({"type": "object", "properties": sound}, found.input)
    assert [error.field for error in found.errors(caught.value.errors).errors] == ["seconds"]
    slow = {**FILM, "fps": {"type": "integer"}}
    assert "fps" in wrong({"seconds": 5}, slow)["seconds"].message
    assert read({"seconds": 5, "fps": 8}, slow).input["num_frames"] == 40


def test_more_words_than_are_told_of_are_counted():
    found = read({f"strange-{number}": 1 for number in range(60)})
    assert len(found.ignored) == 50
    assert found.ignored[-1].why == "11 more words count for nothing"


def test_a_rule_that_says_nothing_is_told_of():
    @dataclass(frozen=True)
    class Silent:
        rank: int = 0

        def read(self, reading, word, value):
            return

    assert [one.field for one in read({"wobble": 1}, table=Table({"wobble": Silent()})).ignored] == ["wobble"]


def models() -> list[tuple[str, dict]]:
    """Task and input of the models that are shipped, of those that the tests have, and of some more. Nothing of an
    input is required."""
    places = ("marketplace/catalog/manifests/*.toml", "tests/clients/models/*.toml", "tests/pages/every.toml")
    files = sorted(path for place in places for path in PROJECT.glob(place))
    found = [tomllib.loads(path.read_text()) for path in files]
    sides = {"width": WIDE, "height": WIDE}
    odd = {"aspect_ratio": {"type": "string", "enum": ["1:1", "16:9"]}, "megapixels": {"type": "number"}}
    more = [
        *({}, PICTURE, FILM, {**PICTURE, **sides}, {**sides, **odd}, {**FILM, "fps": {"type": "number"}}),
        *({"duration": {"type": "integer", "minimum": 1, "maximum": 30}}, {"seed": {"type": "integer"}}),
        {"images": {"type": "array", "items": FILM["image"], "maxItems": 4}, "mask": FILM["image"]},
        {"output_format": {"type": "string", "enum": ["jpeg", "png"]}, "speed": {"type": "number"}},
    ]
    shipped = [(one["task"], {**one["endpoint"]["input"], "required": []}) for one in found]
    return [*shipped, *(("text-to-image", {"type": "object", "properties": one}) for one in more)]


MODELS = models()
VALUES = (
    *(1, 2, 4, 0, -1, 5.0, 4.6, 0.25, 1e9, 10**400, True, False, None, "", [], {}, [[]], "a cat"),
    *("auto", "custom", "16:9", "1:1", "0:1", "512x512", "1024x1024", "square_hd", "landscape_4_3"),
    *("1", "0.25", "5", "5s", "8", "true", "jpg", "png", "standard", {"width": 512, "height": 512}),
    *("https://files.example/a.png", "data:image/png;base64,AAAA", "a_00000000000000000000000001"),
    *(["https://files.example/a.png"], ["https://files.example/a.png", "https://files.example/b.png"]),
    *([{"path": "https://files.example/a.safetensors", "scale": 0.5}], {"path": "x", "odd": 1}),
)


def asks_nothing(table, word, value) -> bool:
    """Whether that is what happens anyway, by what the table declares."""
    rule = table.rules.get(word)
    if value in ("", [], {}) or isinstance(rule, Handled):
        return True
    if value in getattr(rule, "neutral", ()):
        return True
    return isinstance(rule, Size | Ratio | Seconds) and value in ("auto", "custom")


def outcome(table, model, given):
    """The input that comes of it and the words that are told of; or the fields of what is wrong."""
    task, described = model
    try:
        found = translate(table, task, described, given)
    except InvalidInput as error:
        return None, {one.field for one in error.errors}
    try:
        clean(described, found.input)
    except InvalidInput as error:
        return None, {one.field for one in found.errors(error.errors).errors}
    return found.input, {one.field for one in found.ignored}


@pytest.mark.parametrize("dialect", dialects(), ids=lambda one: one.name)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_word_is_dropped_in_silence(dialect, data):
    """Whatever is sent is in what is made, refused by its own name, or told of."""
    table, model = dialect.words, data.draw(st.sampled_from(MODELS))
    names = sorted({*table.rules, *model[1]["properties"], "wobble"})
    given = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(VALUES), max_size=4))
    made, told = outcome(table, model, given)
    if made is None:
        assert {re.split(r"[.\[]", field)[0] for field in told} <= set(given)
        return
    for word, value in given.items():
        if value is None or word in told or asks_nothing(table, word, value):
            continue
        # It makes a difference, by itself or where another word that says the same is not there.
        beside = [(), *((other,) for other in given if other != word)]
        assert any(
            outcome(table, model, without(given, *other))[0]
            != outcome(table, model, without(given, word, *other))[0]
            for other in beside
        ), (word, given, made)
