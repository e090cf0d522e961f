"""The catalogue in small: each model with tiny weights, and an input that its form takes and that is quickly made."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workers import installing
from workers.engine import films
from workers.engine.families.diffusers import traits

SIDES = {
    "StableVideoDiffusionPipeline": 64,
    "Flux2KleinPipeline": 64,
}  # the least that these can make or take
FRAMES = {"HunyuanVideo15Pipeline": 5, "CogVideoXPipeline": 9, "CogVideoXImageToVideoPipeline": 9}
ALSO = {"LTX2Pipeline": {"spatio_temporal_guidance_blocks": [0]}}  # of one block there is only the first
STEPS = 2
NAMES = [one.name for one in installing.entries()]


class Weights:
    """Folders of tiny weights, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, pipeline: str) -> Path:
        from tests.engine import zoo

        folder = self.root / pipeline
        return folder if folder.is_dir() else zoo.build(pipeline, folder)


def shrunk(name: str) -> installing.Entry:
    """The model of the catalogue as it is, but for sizes, lengths and steps, and in single precision."""
    entry = installing.entry(name)
    manifest: dict[str, Any] = copy.deepcopy(dict(entry.manifest))
    recipe, fields = manifest["recipe"], manifest["endpoint"].setdefault("fields", {})
    defaults = recipe.setdefault("defaults", {})
    drawn = installing.complete(entry)["endpoint"]["input"]["properties"]
    recipe["dtype"] = "float32"
    for field, value in _small(entry.pipeline).items():
        if field in drawn:
            fields[field] = fields.get(field, {}) | _bounds(field, value, drawn[field])
        if field in defaults:
            defaults[field] = value
    defaults |= ALSO.get(entry.pipeline, {})
    return dataclasses.replace(entry, manifest=manifest)


def _small(pipeline: str) -> dict[str, int]:
    side = SIDES.get(pipeline, 32)
    by, rest = traits.CLASSES[pipeline].frames
    frames = FRAMES.get(pipeline, by + rest if by > 1 else 2)
    return {
        "width": side,
        "height": side,
        "num_inference_steps": STEPS,
        **dict.fromkeys(traits.FRAMES, frames),
        **dict.fromkeys(traits.LENGTHS, 1),
    }


def _bounds(field: str, value: int, drawn: dict[str, Any]) -> dict[str, Any]:
    if "enum" in drawn:
        return {"enum": [value], "minimum": value, "maximum": value, "default": value}
    has_default = drawn.get("default") is not None
    return {"minimum": 1 if field in traits.LENGTHS else value} | ({"default": value} if has_default else {})


def input_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """What to ask of the form with these properties; everything that need not be said is left to its default."""
    asked: dict[str, Any] = {"seed": 5}
    for name, one in properties.items():
        if "x-media" in one and name in required:
            asked[name] = film() if one["x-media"][0].startswith("video/") else picture()
        elif one["type"] == "array" and "x-media" in one["items"]:
            asked[name] = [picture()]
        elif name == "prompt":
            asked[name] = "a tall vase"
        elif name == "strength":
            asked[name] = 1.0
    return asked


@cache
def picture() -> str:
    """Noise, as a file that is sent whole; as large as the smallest that every class takes."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@cache
def film() -> str:
    frames = (np.random.default_rng(0).random((9, 32, 48, 3)) * 255).astype(np.uint8)
    made = films.encode(frames, fps=8, seed=0)
    return "data:video/mp4;base64," + base64.b64encode(made.data).decode()
