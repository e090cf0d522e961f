"""The values of a form in the words of other protocols, and the programs that say them."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from marketplace import schema
from playground.calling.house import Asked, Program
from playground.calling.houses import HOUSES, offered
from playground.calling.houses.fal import OF_PICTURES, WORDINGS
from playground.calling.wording import said
from playground.facades.dialects import named
from playground.facades.words import translate

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ROOT / "marketplace" / "catalog" / "manifests" / "daylight.toml"
MODELS = ROOT / "tests" / "clients" / "models"
BASE = "https://vitrine.test"
HOSTILE = 'it\'s "quoted" \\ ${KEY} `t` {0} %s </script>\r\n\u2028 ' + "'''" + '""" \U0001f3fa 陶'
OTHERS = ("fal", "replicate", "openai", "huggingface")


def asked(name: str, *, task: str = "", properties: dict[str, Any] | None = None, **values: Any) -> Asked:
    """A call of one of the models that are shipped or that the tests have; `properties` are fields of its own."""
    path = OURS if name == "daylight" else MODELS / f"{name}.toml"
    manifest = tomllib.loads(path.read_text())
    endpoint = manifest["endpoint"]
    described = endpoint["input"]
    if properties is not None:
        described = {**described, "properties": properties, "required": []}
    return Asked(
        base=BASE,
        model=f"vitrine/{name}",
        task=task or manifest["task"],
        input_schema=described,
        output_schema=endpoint["output"],
        values={**({} if properties else schema.example(described)), **values},
        files={"a_mine": f"{BASE}/media/x/a_mine.png"},
    )


def programs(call: Asked, house: str) -> dict[str, Program]:
    found = next(one for one in offered(call) if one.name == house)
    return {one.language: one for one in found.programs(call)}


def houses(call: Asked) -> list[str]:
    return [one.name for one in offered(call)]


@pytest.mark.parametrize(
    ("house", "words"),
    [
        (
            "fal",
            {'"num_images": 2', '"image_size": {', '"width": 128', '"height": 192', '"loras": [{', '"path"'},
        ),
        ("replicate", {'"num_outputs": 2', '"width": 128', '"adapters": [{'}),
        ("openai", {"n=2", 'size="128x192"', "extra_body={", '"num_inference_steps": 5'}),
        ("huggingface", {"width=128", "num_inference_steps=5"}),
    ],
)
def test_a_form_is_said_in_the_words_of_the_house(house, words):
    adapters = [{"file": "me/light", "weight": 0.5}]
    call = asked("daylight", num_images=2, width=128, num_inference_steps=5, adapters=adapters)
    code = programs(call, house)["python"].code
    assert {one for one in words if one not in code} == set()


def test_a_word_stands_only_if_the_facade_reads_it_back_as_the_same():
    values = {"prompt": "a vase", "num_images": 3, "width": 256, "height": 192}
    call = asked("daylight", **values)
    table = named("fal").words
    words = said(table, (*WORDINGS, *OF_PICTURES), call.task, call.input_schema, values)
    assert words == {"prompt": "a vase", "num_images": 3, "image_size": {"width": 256, "height": 192}}
    assert translate(table, call.task, call.input_schema, words).input == values
    # A size that the model does not draw the facade refuses as a size: it stays as it was typed.
    odd = {**values, "width": 100}
    assert said(table, (*WORDINGS, *OF_PICTURES), call.task, call.input_schema, odd) == odd
    # A field of the model's own that has the name of the protocol's word.
    integer = {"type": "integer"}
    own = asked(
        "daylight",
        properties={"prompt": {"type": "string"}, "num_outputs": integer, "num_images": integer},
        prompt="a vase",
        num_outputs=3,
        num_images=4,
    )
    code = programs(own, "replicate")["python"].code
    assert '"num_outputs": 3' in code
    assert '"num_images": 4' in code


def test_a_film_is_as_long_as_its_frames():
    code = programs(asked("reel", prompt="p", num_frames=16, width=128, height=72), "openai")["python"].code
    assert 'seconds="2"' in code
    assert 'size="128x72"' in code
    odd = programs(asked("reel", prompt="p", num_frames=17), "openai")["python"].code
    assert '"num_frames": 17' in odd
    assert "seconds" not in odd


def test_replicates_pictures_are_a_list_and_one_film_is_none():
    drawn, filmed = programs(asked("daylight"), "replicate"), programs(asked("reel", prompt="p"), "replicate")
    assert "enumerate(output, start=1)" in drawn["python"].code
    assert "of output.entries()" in drawn["javascript"].code
    assert "files = output if isinstance(output, list) else [output]\n" in filmed["python"].code
    assert "const files = Array.isArray(output) ? output : [output];\n" in filmed["javascript"].code


def test_who_can_run_what():
    ours = ["vitrine", "fal", "replicate"]
    assert houses(asked("daylight")) == houses(asked("repaint")) == houses(asked("voice", prompt="p")) == [
        *ours, "openai", "huggingface"
    ]  # fmt: skip
    assert houses(asked("reel", prompt="p")) == [*ours, "openai"]
    for task in ("text-to-3d", "text-to-audio", "video-to-video"):
        assert houses(asked("daylight", task=task)) == ours
    # What the client cannot say at all: a model without words, and one that needs a film.
    assert houses(asked("daylight", properties={"seed": {"type": "integer"}})) == ours
    filmed = asked("repaint", task="video-to-image")
    filmed.input_schema["properties"]["clip"] = {"type": "string", "x-media": ["video/mp4"]}
    filmed.input_schema["required"].append("clip")
    assert houses(filmed) == ours


@pytest.mark.parametrize("house", OTHERS)
def test_a_file_is_given_as_the_client_takes_it(house):
    nothing, mine = asked("repaint"), asked("repaint", image="a_mine")
    assert nothing.missing_files == ["image"]
    assert mine.missing_files == []
    for program in programs(nothing, house).values():
        assert '"image.png"' in program.code
    for program in programs(mine, house).values():
        given = f"{BASE}/media/x/a_mine.png" if house in {"openai", "huggingface"} else "a_mine"
        assert f'"{given}"' in program.code


@pytest.mark.parametrize("house", ["openai", "huggingface"])
@pytest.mark.parametrize("address", ["file:///etc/passwd", "/etc/passwd", "a_unknown", "ftp://x.test/a.png"])
def test_no_program_reads_a_file_of_the_readers_that_an_address_names(house, address):
    for program in programs(asked("repaint", image=address), house).values():
        assert address not in program.code
        assert '"image.png"' in program.code


def test_what_a_client_cannot_say_is_told_and_not_said():
    call = asked("repaint", image="a_mine", mask_image="a_mask")
    program = programs(call, "openai")["python"]
    assert 'mask=open("mask.png", "rb")' in program.code
    assert any("holes" in one for one in program.notes)
    several = programs(asked("daylight", num_images=4), "huggingface")["javascript"]
    assert "num_images" not in several.code
    assert several.notes == ("num_images is left out: the answer is one file.",)
    formed = asked("repaint", image="a_mine")
    formed.input_schema["properties"]["points"] = {"type": "array", "items": {"type": "integer"}}
    left = programs(Asked(**{**_members(formed), "values": {**formed.values, "points": [1]}}), "openai")[
        "python"
    ]
    assert "points" not in left.code
    assert any(one.startswith("points is left out") for one in left.notes)


def _members(call: Asked) -> dict[str, Any]:
    return {name: getattr(call, name) for name in Asked.__dataclass_fields__}


@pytest.mark.parametrize("house", OTHERS)
def test_no_value_says_where_a_program_sends_the_key_or_what_else_it_does(house):
    """An address may hold any value, also of fields that the model does not have."""
    elsewhere = "https://elsewhere.test/x"
    strange = dict.fromkeys(("model", "inputs", "image", "self", "stream", "base_url"), elsewhere)
    drawn = programs(asked("daylight", **strange), house).values()
    repainted = programs(asked("repaint", **{**strange, "image": "a_mine"}), house).values()
    spoken = programs(asked("voice", prompt="p", format='"); evil("', **strange), house).values()
    # What a call itself reads, and no server: the rest of a request says nothing about where it goes.
    python, script = ("model|image|self", "model|inputs") if house == "huggingface" else ("model|stream",) * 2
    outer = {
        "python": rf"^    (?:{python}|text|prompt)=.*elsewhere",
        "javascript": rf"^  (?:{script}): .*elsewhere",
    }
    for program in (*drawn, *repainted, *spoken):
        assert re.search(outer[program.language], program.code, re.MULTILINE) is None
        assert 'evil("' not in program.code.replace('\\"', "'")
        assert BASE in program.code
    if house == "openai":
        own = {"type": "string", "enum": ["wav", 'x"); evil("']}
        call = asked("voice", prompt="p", output_format='x"); evil("')
        call.input_schema["properties"]["output_format"] = own
        for program in programs(call, house).values():
            assert "speech.wav" in program.code


@pytest.mark.parametrize("house", OTHERS)
def test_a_hostile_prompt_stays_a_prompt(house):
    found = programs(asked("daylight", prompt=HOSTILE), house)
    assert all(one.code.isascii() for one in found.values())
    texts = [one.value for one in ast.walk(ast.parse(found["python"].code)) if isinstance(one, ast.Constant)]
    assert HOSTILE in texts
    assert f": {json.dumps(HOSTILE)},\n" in found["javascript"].code


def test_each_house_is_a_protocol_that_is_spoken_here():
    assert {one.name for one in HOUSES} == {"vitrine", *OTHERS}
    assert all(named(name).name == name for name in OTHERS)
    for house in HOUSES[1:]:
        assert house.reply
        for program in house.programs(asked("daylight")):
            assert program.install.startswith(("pip install ", "npm install "))
