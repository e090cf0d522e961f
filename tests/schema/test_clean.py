"""The schema against anything: `clean` refuses in words or accepts, and what it accepted it accepts again."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace import schema
from marketplace.schema.clean import problems_of

QUICK = settings(max_examples=80, deadline=None)
NAMES = st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True)
TEXT = st.text(max_size=12)
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**53, 2**53 + 1])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\0", "\ud800", "1", "nan", ""]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), one, max_size=3),
    max_leaves=8,
)


@st.composite
def numbers(draw, kind):
    one = {"type": kind}
    if draw(st.booleans()):
        one["minimum"] = draw(st.integers(-20, 20))
    if draw(st.booleans()):
        one["maximum"] = draw(st.integers(0, 50)) + one.get("minimum", 0)
    if draw(st.booleans()):
        one["multipleOf"] = draw(st.sampled_from([1, 2, 0.5, 0.1, 1e-300] if kind == "number" else [1, 2, 3]))
    if draw(st.integers(0, 4)) == 0:
        one["enum"] = draw(st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True))
    if kind == "integer" and draw(st.integers(0, 4)) == 0:
        one["x-control"] = "seed"
    return one


@st.composite
def strings(draw):
    one = {"type": "string"}
    if draw(st.booleans()):
        one["minLength"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        one["maxLength"] = draw(st.integers(3, 9))
    if draw(st.integers(0, 3)) == 0:
        one["pattern"] = draw(st.sampled_from([r"^[a-z]*$", r"\d", r"a|b"]))
    if draw(st.integers(0, 4)) == 0:
        one["enum"] = draw(st.lists(st.sampled_from(["a", "b", "cc", "é"]), min_size=1, unique=True))
    return one


PLAIN = st.one_of(strings(), numbers("integer"), numbers("number"), st.just({"type": "boolean"}))


def _objects(fields):
    return st.builds(
        lambda properties, needed: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in needed],
        },
        st.dictionaries(NAMES, fields, max_size=4),
        st.sets(NAMES, max_size=2),
    )


FIELDS = (
    PLAIN | st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, PLAIN) | _objects(PLAIN)
)


@st.composite
def with_defaults(draw, fields):
    """Some fields with a default, where one of the random values fits."""
    one = dict(draw(fields))
    default = draw(JUNK)
    return one if default is None or problems_of(one, default, "") else {**one, "default": default}


SCHEMAS = _objects(with_defaults(FIELDS))


@st.composite
def pairs(draw):
    """A schema, and an input that has a chance to fit."""
    described = draw(SCHEMAS)
    data = {}
    for name in described["properties"]:
        value = draw(st.one_of(JUNK, st.integers(-5, 30), TEXT, st.lists(st.integers(0, 4), max_size=3)))
        if draw(st.booleans()):
            data[name] = value
    if draw(st.integers(0, 5)) == 0:
        data.update(draw(st.dictionaries(NAMES, JUNK, max_size=2)))
    return described, data


@QUICK
@given(SCHEMAS, JUNK)
def test_anything_is_cleaned_or_refused(described, data):
    try:
        schema.clean(described, data)
        found = []
    except schema.InvalidInput as error:
        found = error.errors or [None]
    for one in found:
        assert one.field
        assert one.code
        assert one.message
        json.dumps(one.as_json(), allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(SCHEMAS)
def test_what_is_generated_here_is_a_schema(described):
    schema.check(described)


@QUICK
@given(pairs())
def test_what_was_accepted_is_accepted_again_unchanged(pair):
    described, data = pair
    try:
        cleaned = schema.clean(described, data)
    except schema.InvalidInput:
        return
    assert schema.clean(described, cleaned) == cleaned
    assert set(cleaned) <= set(described["properties"])
    assert json.loads(json.dumps(cleaned, allow_nan=False)) == cleaned


@QUICK
@given(pairs())
def test_what_is_accepted_keeps_the_bounds(pair):
    described, data = pair
    try:
        cleaned = schema.clean(described, data)
    except schema.InvalidInput:
        return
    for name, one in described["properties"].items():
        assert name not in described["required"] or cleaned[name] is not None
        value = cleaned.get(name)
        if value is None:
            continue
        assert "enum" not in one or value in one["enum"]
        if one["type"] in {"integer", "number"}:
            assert math.isfinite(value)
            assert one.get("minimum", -math.inf) <= value <= one.get("maximum", math.inf)
            assert one["type"] == "number" or isinstance(value, int)
        if one["type"] == "string":
            assert (
                one.get("minLength", 0)
                <= len(value)
                <= one.get("maxLength", schema.clean.__defaults__ or 1e9)
            )


@QUICK
@given(pairs())
def test_a_filled_form_comes_back_as_it_was(pair):
    """What `fields` shows, posted again by a browser, gives the same input."""
    described, data = pair
    try:
        cleaned = schema.clean(described, data)
    except schema.InvalidInput:
        return
    shown = schema.fields(described, cleaned)
    posted = {}
    for field in shown:
        if field.control == "checkbox":
            if field.is_checked:
                posted[field.name] = "on"
        else:
            posted[field.name] = field.value
    read = schema.from_form(described, posted)
    assert {f.name for f in shown} == set(described["properties"])
    again = schema.clean(described, read)
    for name, value in cleaned.items():
        if value in (None, "", False):  # an empty control and one that is not there are the same in a form
            assert not again.get(name)
        elif isinstance(value, str):
            assert again[name] == value.replace("\r\n", "\n")
        else:
            assert again[name] == value


@QUICK
@given(SCHEMAS, st.dictionaries(NAMES, st.text(max_size=20) | st.just("[" * 100_000), max_size=4))
def test_any_posted_form_is_read(described, posted):
    data = schema.from_form(described, posted)
    try:
        schema.clean(described, data)
    except schema.InvalidInput as error:
        schema.fields(described, data, error.errors)


def test_every_error_is_named_at_once():
    described = {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"type": "string", "maxLength": 3},
            "steps": {"type": "integer", "minimum": 4, "maximum": 40, "multipleOf": 2},
            "size": {"type": "string", "enum": ["small", "large"]},
            "parts": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }
    data = {"prompt": "", "steps": 41, "size": "huge", "parts": [1, -1, "x"], "extra": 1}
    with pytest.raises(schema.InvalidInput) as caught:
        schema.clean(described, data)
    found = {(e.field, e.code) for e in caught.value.errors}
    assert found == {
        ("prompt", "required"),
        ("steps", "too_large"),
        ("size", "not_allowed"),
        ("parts[1]", "too_small"),
        ("parts[2]", "type"),
        ("extra", "unknown"),
    }
    allowed = {e.field: e.allowed for e in caught.value.errors}
    assert allowed["steps"] == {"minimum": 4, "maximum": 40, "multipleOf": 2}
    assert allowed["size"] == ["small", "large"]
    assert allowed["extra"] == ["extra", "parts", "prompt", "size", "steps"][1:]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400, True, "4", None, [4]])
def test_numbers_that_are_none(value):
    described = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    with pytest.raises(schema.InvalidInput):
        schema.clean(described, {"n": value})


def test_a_body_full_of_unknown_fields_is_answered_briefly():
    with pytest.raises(schema.InvalidInput) as caught:
        schema.clean({"type": "object", "properties": {}}, {f"field_{n}": 1 for n in range(10_000)})
    assert len(caught.value.errors) <= 20


def test_an_empty_seed_is_drawn_and_a_given_one_kept():
    described = {
        "type": "object",
        "properties": {"seed": {"type": "integer", "minimum": 3, "maximum": 5, "x-control": "seed"}},
    }
    drawn = {schema.with_seeds(described, schema.clean(described, {}))["seed"] for _ in range(60)}
    assert drawn == {3, 4, 5}
    assert schema.with_seeds(described, schema.clean(described, {"seed": 4})) == {"seed": 4}


def test_secrets_are_hidden():
    described = {
        "type": "object",
        "properties": {"token": {"type": "string", "x-secret": True}, "prompt": {"type": "string"}},
    }
    assert schema.redact(described, {"token": "hush", "prompt": "a"}) == {"token": "[secret]", "prompt": "a"}
    shown = {field.name: field.value for field in schema.fields(described, {"token": "hush"})}
    assert shown["token"] == ""


def test_quantities_count_what_is_declared():
    described = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "x-measure": "image", "maximum": 4},
            "width": {"type": "integer", "x-measure": "width", "maximum": 4096},
            "height": {"type": "integer", "x-measure": "height", "maximum": 4096},
            "steps": {"type": "integer", "x-measure": "step", "maximum": 50},
            "prompt": {"type": "string", "x-measure": "character"},
        },
    }
    found = schema.quantities(described, {"n": 2, "width": 1000, "height": 500, "steps": 10, "prompt": "abc"})
    assert {unit: str(q) for unit, q in found.items()} == {
        "request": "1",
        "image": "2",
        "megapixel": "1",
        "step": "20",
        "character": "6",
    }
