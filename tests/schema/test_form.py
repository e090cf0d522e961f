"""The form: controls for every type, rows and groups read back, the same values as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import schema

DESCRIBED = {
    "type": "object",
    "required": ["prompt", "look"],
    "properties": {
        "prompt": {"type": "string"},
        "look": {"type": "object", "properties": {"hue": {"type": "integer", "minimum": 0, "maximum": 9}}},
        "frame": {"type": "object", "properties": {"width": {"type": "integer", "default": 3}}},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
        "adapters": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path"],
                "properties": {
                    "path": {"type": "string"},
                    "words": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "maybe": {"type": "boolean", "nullable": True},
        "on": {"type": "boolean", "default": True},
        "token": {"type": "string", "x-secret": True},
    },
}


def by_name(values=None, errors=None):
    return {field.name: field for field in schema.fields(DESCRIBED, values, errors)}


def test_each_type_has_its_control():
    found = {name: field.control for name, field in by_name().items()}
    assert found == {
        "prompt": "text",
        "look": "group",
        "frame": "group",
        "tags": "rows",
        "adapters": "rows",
        "maybe": "segments",
        "on": "switch",
        "token": "secret",
    }
    assert [choice.label for choice in by_name()["maybe"].choices] == ["Not set", "Yes", "No"]
    assert by_name()["look"].fields[0].control == "slider"


def test_rows_and_groups_are_read_back():
    posted = {
        "prompt": "a",
        "look.hue": "4",
        "frame.width": "9",
        "frame.on": "on",
        "tags.rows": "3",
        "tags.0": "x",
        "tags.1": "",
        "tags.2": "y",
        "adapters.rows": "1",
        "adapters.0.path": "p",
        "adapters.0.words.rows": "1",
        "adapters.0.words.0": "w",
        "maybe": "false",
    }
    assert schema.from_form(DESCRIBED, posted) == {
        "prompt": "a",
        "look": {"hue": 4},
        "frame": {"width": 9},
        "tags": ["x", "y"],
        "adapters": [{"path": "p", "words": ["w"]}],
        "maybe": False,
        "on": False,
    }


def test_an_optional_group_that_is_off_is_left_out_whatever_is_in_it():
    found = schema.from_form(DESCRIBED, {"frame.width": "9"})
    assert "frame" not in found
    assert found["look"] == {}
    assert "maybe" not in found


@pytest.mark.parametrize("text", ['["x", "y"]', "x\ny", "x\r\n\r\n y "])
def test_a_list_can_be_one_text(text):
    assert schema.from_form(DESCRIBED, {"tags": text})["tags"] == ["x", "y"]


@pytest.mark.parametrize("rows", ["-1", "x", "9" * 9, "²"])
def test_a_forged_number_of_rows_is_refused_by_clean(rows):
    values = schema.from_form(DESCRIBED, {"prompt": "a", "look.hue": "1", "tags.rows": rows})
    with pytest.raises(schema.InvalidInput, match="must be a list"):
        schema.clean(DESCRIBED, values)


def test_errors_stand_at_the_control_deep_inside():
    values = {"prompt": "a", "look": {"hue": 99}, "adapters": [{"path": "p", "words": [1]}], "tags": 7}
    with pytest.raises(schema.InvalidInput) as caught:
        schema.clean(DESCRIBED, values)
    found = by_name(values, caught.value.errors)
    assert found["look"].fields[0].error == "must be at most 9"
    assert found["look"].error == ""
    assert found["look"].is_wrong
    assert found["adapters"].fields[0].fields[1].fields[0].error == "must be text"
    assert found["tags"].error == "must be a list"
    assert found["prompt"].error == ""
    assert schema.label_of(DESCRIBED, "adapters[0].words[0]") == "Adapters › 1 › Words › 1"


def test_a_secret_is_in_no_control_and_no_text():
    values = {"prompt": "a", "token": "hush"}
    assert by_name(values)["token"].value == ""
    assert "hush" not in schema.write_json(DESCRIBED, values)
    assert schema.secrets_in(DESCRIBED, values) == ["token"]


@pytest.mark.parametrize(
    ("act", "changed", "focus"),
    [
        ("add tags", {"tags": ["x", "y", None]}, "tags.2"),
        ("add adapters", {"adapters": [{"path": "p"}, {}]}, "adapters.1.path"),
        ("add adapters.0.words", {"adapters": [{"path": "p", "words": [None]}]}, "adapters.0.words.0"),
        ("remove tags.0", {"tags": ["y"]}, "tags"),
        ("up tags.1", {"tags": ["y", "x"]}, "tags.0"),
        ("down tags.0", {"tags": ["y", "x"]}, "tags.1"),
        ("up tags.0", {}, "tags.0"),
        ("down tags.1", {}, "tags.1"),
        ("add prompt", {}, ""),
        ("add nothing", {}, ""),
        ("remove tags.9", {}, ""),
        ("remove", {}, ""),
        ("", {}, ""),
    ],
)
def test_rows_come_go_and_move(act, changed, focus):
    values = {"tags": ["x", "y"], "adapters": [{"path": "p"}]}
    assert schema.rearranged(DESCRIBED, values, act) == ({**values, **changed}, focus)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": 1,\n "b": }', (2, 7)),
        ('{"a" 1}', (1, 6)),
        ('{"a": "x}', (1, 7)),
        ("[1]", (0, 0)),
        ('{"a": 1, "a": 2}', (0, 0)),
        ('{"a": NaN}', (0, 0)),
        ('{"a": 1e999}', (0, 0)),
        ("[" * 100_000, (0, 0)),
        ('{"a": ' + "9" * 5000 + "}", (0, 0)),
    ],
)
def test_what_is_no_json_says_where(text, where):
    with pytest.raises(schema.InvalidJson) as caught:
        schema.read_json(text)
    assert (caught.value.line, caught.value.column) == where
    assert str(caught.value)


@given(
    st.fixed_dictionaries(
        {"prompt": st.text(min_size=1).filter(lambda s: "\r" not in s)},
        optional={
            "tags": st.lists(st.text(min_size=1).filter(lambda s: "\r" not in s), min_size=1, max_size=3),
            "maybe": st.booleans(),
            "look": st.fixed_dictionaries({"hue": st.integers(0, 9)}),
            "frame": st.fixed_dictionaries({"width": st.integers(0, 99)}),
        },
    )
)
def test_form_and_json_say_the_same(values):
    """What is drawn from values and posted back is these values, and so is their JSON."""
    posted = {}

    def post(field):
        if field.control == "rows":
            posted[f"{field.name}.rows"] = str(len(field.fields))
        elif field.control == "group":
            posted[f"{field.name}.on"] = "on" if field.is_checked else ""
        elif field.control == "segments":
            posted[field.name] = next((c.value for c in field.choices if c.is_chosen), "")
        elif field.control == "switch":
            posted[field.name] = "on" if field.is_checked else "off"
        else:
            posted[field.name] = field.value
        for one in field.fields:
            post(one)

    for field in schema.fields(DESCRIBED, values):
        post(field)
    assert schema.from_form(DESCRIBED, posted) == {"look": {}, "on": True} | values
    assert schema.read_json(schema.write_json(DESCRIBED, values)) == values
    assert json.loads(schema.write_json(DESCRIBED, values)) == values
