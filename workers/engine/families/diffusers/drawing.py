"""An endpoint drawn from the signature of a pipeline's call: the form that people fill in, and what comes of it.

The signature says which parameters there are and their defaults; the table of classes says what files it takes, sizes
and lengths; `FIELDS` says how a parameter is called and shown, whatever the class. A manifest needs to say only what
differs: defaults in its recipe, and single keys of single fields. What is not in `FIELDS` is not offered.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workers.engine.contract import EngineError
from workers.engine.families.diffusers import traits
from workers.engine.families.diffusers.fields import FIELDS, Field
from workers.engine.families.diffusers.traits import FILES, FRAMES, LENGTHS, RATES, Takes, Traits

MAX_BATCH = 8
MAX_PICTURES = 4
_MEDIA: Mapping[Takes, list[str]] = {
    "picture": ["image/png", "image/jpeg", "image/webp"],
    "pictures": ["image/png", "image/jpeg", "image/webp"],
    "mask": ["image/png", "image/jpeg", "image/webp"],
    "film": ["video/mp4", "video/webm"],
    "sound": ["audio/wav", "audio/mpeg", "audio/mp4"],
}
PROPERTIES = {"image": "images", "video": "videos", "audio": "audios", "mesh": "meshes"}
_WORDS = {"image": "picture", "video": "film", "audio": "sound", "mesh": "mesh"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """An endpoint as its manifest has it: schemas, and how runs share the engine."""

    input: dict[str, Any]
    output: dict[str, Any]
    batch_on: list[str]
    granularity: str
    max_batch: int
    makes: str


def draw(
    pipeline: str,
    *,
    defaults: Mapping[str, object] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    hide: Iterable[str] = (),
) -> Drawing:
    """The endpoint of the class called `pipeline`. `defaults` are a recipe's; `fields` keys to set in single fields.

    Raises EngineError where the library has no such class, or `fields` names one that it does not take.
    """
    import diffusers

    kind = getattr(diffusers, pipeline, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise EngineError(
            f"diffusers {diffusers.__version__} has no pipeline “{pipeline}”.", code="bad_weights"
        )
    parameters = inspect.signature(kind.__call__).parameters
    wanted = traits.of(pipeline, parameters)
    said = {name: one.default for name, one in parameters.items()} | dict(defaults or {})
    names = _offered(wanted, parameters, hide={*wanted.hidden, *hide})
    strange = sorted(set(fields or {}) - set(names))
    if strange:
        raise EngineError(f"{pipeline} has no field {', '.join(strange)}.", code="bad_weights")
    properties: dict[str, Field] = {}
    for order, name in enumerate(names):
        one = _field(name, wanted, said) | dict((fields or {}).get(name, {}))
        properties[name] = {key: value for key, value in one.items() if value is not None} | {
            "x-order": order
        }
    required = [name for name in names if name == "prompt" or name in wanted.required]
    files = set(wanted.takes)
    return Drawing(
        input={"type": "object", "required": required, "properties": properties},
        output=_output(wanted),
        batch_on=sorted(_sharing(names, files)) if wanted.batches else [],
        granularity="step" if wanted.batches else "run",
        max_batch=MAX_BATCH if wanted.batches else 1,
        makes=wanted.makes,
    )


def _offered(wanted: Traits, parameters: Mapping[str, object], *, hide: set[str]) -> list[str]:
    own = {"seed"}
    if wanted.makes == "image":
        own.add("output_format")
        if "num_images_per_prompt" in parameters:
            own.add("num_images")
    if wanted.makes == "video" and not any(name in parameters for name in RATES):
        own.add("fps")
    if "film" in wanted.takes.values() and not any(name in parameters for name in FRAMES):
        own.add("num_frames")

    def is_offered(name: str) -> bool:
        if name in hide or (name in FILES and name not in wanted.takes):
            return False
        return name in own or (name in parameters and name not in ("num_images", "output_format"))

    return [name for name in FIELDS if is_offered(name)]


def _field(name: str, wanted: Traits, said: Mapping[str, object]) -> Field:
    one = dict(FIELDS[name])
    if name in wanted.takes:
        return _file(one, name, wanted)
    if name in ("width", "height"):
        return _side(one, name, wanted, said)
    default = said.get(name)
    if name in FRAMES or name in LENGTHS or name in RATES:
        return _length(one, name, wanted, default)
    if isinstance(default, bool | int | float | str) and default != "":
        one["default"] = float(default) if one["type"] == "number" else default
    if (
        isinstance(default, int | float) and "maximum" in one
    ):  # what a class does by itself, it can be asked for
        one |= {"minimum": min(one["minimum"], default), "maximum": max(one["maximum"], default)}
    return one


def _file(one: Field, name: str, wanted: Traits) -> Field:
    kind = wanted.takes[name]
    media = {"x-media": _MEDIA[kind]}
    if kind != "pictures":
        return one | media
    least = 1 if name in wanted.required else 0
    return {
        "type": "array",
        "title": "Pictures",
        "description": "The pictures to work from, in the order in which the prompt speaks of them.",
        "items": {"type": "string", "title": "Picture", **media},
        "minItems": least,
        "maxItems": MAX_PICTURES,
    }


def _side(one: Field, name: str, wanted: Traits, said: Mapping[str, object]) -> Field:
    by = wanted.multiple
    usual = said.get(name)
    side = usual if isinstance(usual, int) else wanted.size[name == "height"]
    longest = max(*wanted.size, side) * (3 if wanted.makes == "image" else 2) // 2
    one |= {"minimum": by * max(1, 256 // by), "maximum": longest // by * by, "multipleOf": by}
    if wanted.follows:
        return one | {"description": "Empty: as the picture has it."}
    if wanted.makes == "image":
        one["x-measure"] = name
    return one | {"default": side // by * by}


def _length(one: Field, name: str, wanted: Traits, default: object) -> Field:
    number, pace = wanted.length
    if name in RATES:
        usual = int(default) if isinstance(default, int | float) else int(pace or 24)
        # Slower than it was made for is a choice of taste; faster would make a dearer film a cheaper one.
        return one | {"default": usual, "minimum": max(1, usual // 2), "maximum": usual}
    if name in LENGTHS:
        usual = int(default) if isinstance(default, int | float) else int(pace or 10)
        return one | {"default": usual, "maximum": usual * 2}
    by, rest = wanted.frames
    usual = default if isinstance(default, int) else number or 16
    counts = _counts(usual, by, rest)
    return one | {"default": counts[-1], "enum": counts, "minimum": counts[0], "maximum": counts[-1]}


def _counts(most: int, by: int, rest: int) -> list[int]:
    """Up to five lengths that the class can make, evenly spaced, the longest last."""
    steps = max((most - rest) // by, 1)
    chosen = sorted({max(steps * part // 5, 1) for part in range(1, 6)})
    return [step * by + rest for step in chosen]


def _sharing(names: Iterable[str], files: set[str]) -> set[str]:
    """What runs of one batch must have in common: all that one call has only once."""
    own = {"prompt", "negative_prompt", "seed", "num_images", "output_format"}
    return {name for name in names if name not in own and name not in files}


def _output(wanted: Traits) -> dict[str, Any]:
    word, name = _WORDS[wanted.makes], PROPERTIES[wanted.makes]
    about: dict[str, Any] = {
        "url": {"type": "string", "format": "uri"},
        "content_type": {"type": "string"},
        "size": {"type": "integer"},
    }
    if wanted.makes in ("image", "video"):
        about |= {"width": {"type": "integer"}, "height": {"type": "integer"}}
    if wanted.makes in ("video", "audio"):
        about["duration_ms"] = {"type": "integer"}
    return {
        "type": "object",
        "required": [name],
        "properties": {
            name: {
                "type": "array",
                "title": name.capitalize(),
                "description": f"One entry per {word}, in order.",
                "items": {"type": "object", "title": word.capitalize(), "properties": about},
            },
            "seed": {
                "type": "integer",
                "description": "The seed that was used; give it again for the same result.",
            },
        },
    }
