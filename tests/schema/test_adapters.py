"""The field for adapters: bounded, one of an endpoint, drawn and posted as every list of groups is."""

from __future__ import annotations

import copy

import pytest

from marketplace import schema

FILE = {"type": "string", "x-media": [schema.ADAPTER_TYPE], "x-order": 0}
WEIGHT = {"type": "number", "default": 1.0, "minimum": -2, "maximum": 2, "x-order": 1}
ITEM = {"type": "object", "required": ["file"], "properties": {"file": FILE, "weight": WEIGHT}}
LORAS = {"type": "array", "maxItems": 3, "items": ITEM}
INPUT = {"type": "object", "properties": {"prompt": {"type": "string"}, "loras": LORAS}}
ONE, TWO = "a_0000000000000000000000000a", "a_0000000000000000000000000b"


def changed(path, value):
    made = copy.deepcopy(INPUT)
    at = made["properties"]["loras"]
    *way, last = path
    for name in way:
        at = at[name]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


def test_a_bounded_one_passes_and_is_found():
    schema.check(INPUT)
    assert schema.adapter_field(INPUT) == "loras"
    assert schema.adapter_field({"type": "object", "properties": {"image": FILE}}) is None
    assert schema.media_taken(INPUT) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["maxItems"], None, "maxItems"),
        (["maxItems"], 6, "maxItems"),
        (["items", "required"], None, "required file"),
        (["items", "properties", "weight"], None, "nothing else"),
        (["items", "properties", "more"], {"type": "string"}, "nothing else"),
        (["items", "properties", "weight", "maximum"], None, "within -4 and 4"),
        (["items", "properties", "weight", "minimum"], -5, "within -4 and 4"),
        (["items", "properties", "weight", "type"], "integer", "within -4 and 4"),
        (["items", "properties", "file", "x-media"], [schema.ADAPTER_TYPE, "image/png"], "is of"),
    ],
)
def test_an_unbounded_one_is_refused(path, value, said):
    with pytest.raises(schema.InvalidSchema, match=said):
        schema.check(changed(path, value))


def test_an_endpoint_has_one_such_field():
    two = copy.deepcopy(INPUT)
    two["properties"]["more"] = LORAS
    with pytest.raises(schema.InvalidSchema, match="one field"):
        schema.check(two)


def test_an_input_is_cleaned_as_every_other_and_tells_its_adapters():
    cleaned = schema.clean(INPUT, {"loras": [{"file": ONE}, {"file": TWO, "weight": 0}]})
    assert cleaned["loras"] == [{"file": ONE, "weight": 1.0}, {"file": TWO, "weight": 0}]
    assert schema.adapters_in(INPUT, cleaned) == [(ONE, 1.0)]
    assert schema.adapters_in(INPUT, schema.clean(INPUT, {})) == []
    with pytest.raises(schema.InvalidInput) as caught:
        schema.clean(INPUT, {"loras": [{"file": "x"}, {"weight": 3}, {"file": ONE, "weight": "much"}]})
    assert {error.field for error in caught.value.errors} == {
        "loras[0].file",
        "loras[1].file",
        "loras[1].weight",
        "loras[2].weight",
    }


def test_the_form_posts_it_in_rows():
    posted = {
        "loras.rows": "2",
        "loras.0.file": ONE,
        "loras.0.weight": "0.5",
        "loras.1.file": TWO,
        "loras.1.weight": "1",
    }
    data = schema.from_form(INPUT, posted)
    assert data["loras"] == [{"file": ONE, "weight": 0.5}, {"file": TWO, "weight": 1.0}]
    drawn = next(field for field in schema.fields(INPUT, data) if field.name == "loras")
    assert [[inner.control for inner in row.fields] for row in drawn.fields] == [
        ["file", "slider"],
        ["file", "slider"],
    ]
    assert drawn.can_add
