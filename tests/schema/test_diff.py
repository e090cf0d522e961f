"""What changed between two schemas, and what of it breaks callers."""

from __future__ import annotations

import pytest

from marketplace import schema


def described(required=(), **properties):
    return {"type": "object", "required": list(required), "properties": properties}


TEXT = {"type": "string"}
NUMBER = {"type": "integer", "minimum": 1, "maximum": 9, "default": 3}


@pytest.mark.parametrize(
    ("old", "new", "kind", "text", "is_breaking"),
    [
        (described(), described(a=TEXT), "added", "string, optional", False),
        (described(), described(["a"], a=TEXT), "added", "string, required", True),
        (described(), described(a=NUMBER), "added", "integer, 3 where it is left out", False),
        (described(a=TEXT), described(), "removed", "string; a call that sends it is refused", True),
        (described(a=TEXT), described(["a"], a=TEXT), "changed", "is required now", True),
        (described(["a"], a=TEXT), described(a=TEXT), "changed", "is no longer required", False),
        (described(a=TEXT), described(a=NUMBER), "changed", "type string → integer", True),
        (described(a=NUMBER), described(a=NUMBER | {"maximum": 7}), "changed", "at most 7, was 9", True),
        (described(a=NUMBER), described(a=NUMBER | {"maximum": 20}), "changed", "at most 20, was 9", False),
        (described(a=NUMBER), described(a=NUMBER | {"minimum": 2}), "changed", "at least 2, was 1", True),
        (described(a=NUMBER), described(a=NUMBER | {"minimum": 0}), "changed", "at least 0, was 1", False),
        (described(a=NUMBER), described(a=NUMBER | {"default": 4}), "changed", "default 3 → 4", False),
        (
            described(a=TEXT | {"enum": ["x", "y"]}),
            described(a=TEXT | {"enum": ["x"]}),
            "changed",
            "without the choice y",
            True,
        ),
        (
            described(a=TEXT | {"enum": ["x"]}),
            described(a=TEXT | {"enum": ["x", "y", "z"]}),
            "changed",
            "new choices y, z",
            False,
        ),
        (described(a=TEXT), described(a=TEXT | {"enum": ["x"]}), "changed", "only x now", True),
        (described(a=TEXT), described(a=TEXT | {"maxLength": 5}), "changed", "characters at most 5", True),
    ],
)
def test_one_change(old, new, kind, text, is_breaking):
    assert schema.changes(old, new) == [schema.Change("a", kind, text, is_breaking)]


def test_changes_lie_at_their_paths():
    inner = {"type": "array", "items": described(weight=NUMBER)}
    narrower = {"type": "array", "items": described(weight=NUMBER | {"maximum": 2})}
    (change,) = schema.changes(described(loras=inner), described(loras=narrower))
    assert (change.field, change.is_breaking) == ("loras[].weight", True)


def test_the_same_has_no_changes():
    one = described(["a"], a=TEXT, b=NUMBER)
    assert schema.changes(one, one) == []
    assert schema.changes(one, one | {"properties": {**one["properties"], "a": TEXT | {"title": "A"}}}) == []
