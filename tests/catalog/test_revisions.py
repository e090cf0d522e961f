"""What a version changed against the one before it."""

from __future__ import annotations

import pytest

from marketplace import catalog
from tests.predictions import cast

pytestmark = pytest.mark.django_db
FAST = {"channels_last": True, "compile": {"regional": True, "mode": "default"}}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"recipe__dtype": "float32"}, {"recipe__dtype": "bfloat16"}, [("dtype", "float32", "bfloat16")]),
        (
            {"recipe__defaults": {"scheduler": {"shift": 3.0, "kind": "flow"}}},
            {"recipe__defaults": {"scheduler": {"shift": 1.5, "kind": "flow"}}},
            [("defaults.scheduler.shift", "3.0", "1.5")],
        ),
        (
            {},
            {"recipe__accelerations": FAST},
            [
                ("accelerations.channels_last", None, "true"),
                ("accelerations.compile.mode", None, "default"),
                ("accelerations.compile.regional", None, "true"),
            ],
        ),
        ({"recipe__order": ["a", "b"]}, {"recipe__order": ["b"]}, [("order", '["a", "b"]', '["b"]')]),
        ({"recipe__note": ""}, {"recipe__note": "é"}, [("note", '""', "é")]),
        ({"recipe__words": {}}, {"recipe__words": {"a": 1}}, [("words", "{}", None), ("words.a", None, "1")]),
        ({}, {"endpoint__max_seconds": 70}, [("endpoint.max_seconds", "60 s", "70 s")]),
        (
            {"recipe__note": "a" * 300 + "b"},
            {"recipe__note": "a" * 300 + "c"},
            [("note", "a" * 199 + "…", "a" * 199 + "…")],
        ),
    ],
    ids=lambda value: "",
)
def test_each_value_that_changed_has_a_line_of_its_own(before, after, said):
    named = cast.shelve(**before)
    cast.shelve(**after)
    newest, oldest = catalog.revisions(catalog.listing(named))
    assert [(one.name, one.before, one.after) for one in newest.settings] == said
    assert (oldest.settings, newest.weights_changed) == ((), 0)


def test_weights_are_counted_and_not_listed():
    named = cast.shelve(recipe__hashes={"a": "1", "b": "1", "c": "1"})
    cast.shelve(recipe__hashes={"a": "1", "b": "2", "d": "1"})
    newest, _ = catalog.revisions(catalog.listing(named))
    assert (newest.weights_changed, newest.settings) == (3, ())
