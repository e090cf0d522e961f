"""Films are priced by the second: their frames over how many there are in one."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketplace import schema

FRAMES = {"type": "integer", "minimum": 1, "maximum": 121, "default": 81, "x-measure": "frame"}
FPS = {"type": "integer", "minimum": 8, "maximum": 16, "default": 16, "x-measure": "fps"}


def film(**changes):
    properties = {"num_frames": FRAMES, "fps": FPS, **changes}
    return {
        "type": "object",
        "properties": {name: one for name, one in properties.items() if one is not None},
    }


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({}, "5.063"),
        ({"num_frames": 16}, "1"),
        ({"fps": 8}, "10.125"),
        ({"num_frames": 1, "fps": 12}, "0.084"),
    ],
)
def test_seconds_are_frames_over_frames_a_second_rounded_up(asked, seconds):
    schema.check(film())
    counted = schema.quantities(film(), schema.clean(film(), asked))
    assert counted == {"request": 1, "second": Decimal(seconds)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fps": None}, "how many a second"),
        ({"fps": {**FPS, "minimum": 0}}, "minimum above 0"),
        ({"fps": {name: value for name, value in FPS.items() if name != "default"}}, "a default"),
        (
            {"num_frames": {name: value for name, value in FRAMES.items() if name != "maximum"}},
            "needs a maximum",
        ),
    ],
)
def test_frames_whose_length_nobody_knows_are_refused(changes, says):
    with pytest.raises(schema.InvalidSchema, match=says):
        schema.check(film(**changes))


def test_the_media_of_an_output_are_where_its_schema_lists_them():
    media = {"type": "array", "items": {"type": "object", "properties": {"url": {"type": "string"}}}}
    scores = {"type": "array", "items": {"type": "number"}}
    described = {
        "type": "object",
        "properties": {"scores": scores, "videos": media, "seed": {"type": "integer"}},
    }
    assert schema.media_property(described) == "videos"
    assert schema.media_property({"type": "object", "properties": {"images": {"type": "array"}}}) == "images"
    assert schema.media_property({}) == "images"
