"""What pricing counts in an input."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from marketplace.schema.clean import ordered
from marketplace.schema.files import Schema

PIXELS_PER_MEGAPIXEL = 1_000_000
MILLISECOND = Decimal("0.001")


def quantities(schema: Schema, cleaned: Mapping[str, Any]) -> dict[str, Decimal]:
    """The measurable quantities of a cleaned input: unit → amount.

    `request` is always 1. `image`, `step`, `second` and `character` come from the fields that declare them with
    `x-measure`; an endpoint that declares a width and a height makes at least one image. Megapixels are width × height
    × images / 1,000,000. Frames last as many seconds as their number over those a second (`frame`, `fps`), rounded
    up to milliseconds. Steps, seconds and characters count once per image.
    """
    measured: dict[str, Decimal] = {}
    for name, one in ordered(schema):
        measure = one.get("x-measure")
        value = cleaned.get(name)
        if measure is None or value is None:
            continue
        amount = Decimal(len(value)) if measure == "character" else Decimal(str(value))
        measured[measure] = measured.get(measure, Decimal(0)) + amount
    width, height = measured.pop("width", None), measured.pop("height", None)
    if width is not None and height is not None:
        images = measured.setdefault("image", Decimal(1))
        measured["megapixel"] = width * height * images / PIXELS_PER_MEGAPIXEL
    frames, pace = measured.pop("frame", None), measured.pop("fps", None)
    if frames is not None and pace:
        seconds = (frames / pace).quantize(MILLISECOND, ROUND_CEILING)
        measured["second"] = measured.get("second", Decimal(0)) + seconds
    images = measured.get("image", Decimal(1))
    for unit in ("step", "second", "character"):
        if unit in measured:
            measured[unit] *= images
    return {"request": Decimal(1), **measured}


def units(schema: Schema) -> frozenset[str]:
    """The units of which `quantities` can say how many an input has, as far as the schema declares them."""
    measures = {str(one["x-measure"]) for _, one in ordered(schema) if "x-measure" in one}
    found = {"request"} | (measures & {"image", "second", "character", "step"})
    if {"width", "height"} <= measures:
        found |= {"image", "megapixel"}
    if {"frame", "fps"} <= measures:
        found.add("second")
    return frozenset(found)
