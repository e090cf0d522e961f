"""What no endpoint may be described by."""

from __future__ import annotations

import pytest

from marketplace import schema


def _with(one) -> dict[str, object]:
    return {"type": "object", "properties": {"field": one}}


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "required": ["ghost"]},
        {"type": "object", "properties": {"not a name": {"type": "string"}}},
        {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(101)}},
        _with(True),
        _with({}),
        _with({"type": ["string", "null"]}),
        _with({"type": "text"}),
        _with({"type": "string", "oneOf": []}),
        _with({"type": "string", "pattern": "(["}),
        _with({"type": "string", "enum": []}),
        _with({"type": "string", "x-control": "magic"}),
        _with({"type": "string", "x-order": "first"}),
        _with({"type": "string", "x-media": "image/png"}),
        _with({"type": "string", "x-media": [1]}),
        _with({"type": "string", "enum": ["a"], "x-enum-labels": ["A"]}),
        _with({"type": "string", "maxLength": 2, "default": "long"}),
        _with({"type": "string", "default": "nul\0"}),
        _with({"type": "integer", "default": 10**400}),
        _with({"type": "integer", "x-measure": "step"}),
        _with({"type": "integer", "x-measure": "wishes", "maximum": 3}),
        _with({"type": "array"}),
        _with({"type": "array", "items": {"type": "integer"}, "default": ["one"]}),
        _with({"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}}),
    ],
)
def test_refused(described):
    with pytest.raises(schema.InvalidSchema):
        schema.check(described)


def test_nesting_is_bounded():
    one: dict[str, object] = {"type": "string"}
    for _ in range(600):
        one = {"type": "array", "items": one}
    with pytest.raises(schema.InvalidSchema, match="nested deeper"):
        schema.check(_with(one))


def test_a_good_one_passes():
    schema.check(
        _with(
            {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "boolean"}}},
                "default": [],
            }
        )
    )
