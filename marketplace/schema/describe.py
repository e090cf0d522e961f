"""An endpoint's fields in words and examples, for API documentation and snippets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.schema.adapters import ADAPTER_TYPE
from marketplace.schema.clean import describe, ordered
from marketplace.schema.files import Schema

REDACTED = "[secret]"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table of parameters. `name` is the whole path, `depth` how deep it lies."""

    name: str
    type: str
    is_required: bool
    default: Any
    allowed: Any
    description: str
    depth: int = 0


def parameters(schema: Schema, *, prefix: str = "", depth: int = 0) -> list[Parameter]:
    """The rows of the parameter table, in order, each followed by what lies inside of it."""
    required = set(schema.get("required", ()))
    rows: list[Parameter] = []
    for name, one in ordered(schema):
        at = f"{prefix}{name}"
        rows.append(
            Parameter(
                name=at,
                type=_type(one),
                is_required=name in required,
                default=one.get("default"),
                allowed=_allowed(one),
                description=one.get("description", ""),
                depth=depth,
            )
        )
        inner, path = one, f"{at}."
        while inner.get("type") == "array" and "items" in inner:
            inner, path = inner["items"], f"{path[:-1]}[]."
        if inner.get("type") == "object" and inner.get("properties"):
            rows += parameters(inner, prefix=path, depth=depth + 1)
    return rows


def media_taken(schema: Schema) -> list[str]:
    """The kinds of media that the fields of an input take (image, video, …), each once; `any` where none is named.

    Weights are no media.
    """
    kinds: set[str] = set()

    def look(one: Schema) -> None:
        if "x-media" in one and ADAPTER_TYPE not in one["x-media"]:
            kinds.update(str(name).partition("/")[0] for name in one["x-media"] or ["any"])
        for inner in one.get("properties", {}).values():
            look(inner)
        if "items" in one:
            look(one["items"])

    look(schema)
    return sorted(kinds)


def media_property(output: Schema) -> str:
    """The property of an output that lists its media: the first list of objects with a `url`; `images` if none is."""
    for name, one in ordered(output):
        items = one.get("items", {})
        if one.get("type") == "array" and "url" in items.get("properties", {}):
            return name
    return "images"


def example(schema: Schema) -> dict[str, Any]:
    """An input that runs: every required field, by its first example or default."""
    required = set(schema.get("required", ()))
    return {
        name: one["examples"][0] if one.get("examples") else one.get("default")
        for name, one in ordered(schema)
        if name in required
    }


def redact(schema: Schema, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """`cleaned` with the values of secret fields replaced, for pages, answers and logs."""
    secret = {name for name, one in ordered(schema) if one.get("x-secret")}
    return {name: REDACTED if name in secret and value else value for name, value in cleaned.items()}


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "in steps of",
    "minLength": "characters at least",
}


def _type(one: Schema) -> str:
    if "x-media" in one:
        return "file"
    if one["type"] == "array" and "items" in one:
        return f"list of {_type(one['items'])}"
    return str(one["type"])


def _allowed(one: Schema) -> str:
    if "x-media" in one:
        return ", ".join(one["x-media"])
    allowed = describe(one)
    if isinstance(allowed, list):
        return ", ".join(str(a) for a in allowed)
    if isinstance(allowed, Mapping):
        if {"minimum", "maximum"} <= set(allowed):
            return f"{allowed['minimum']} to {allowed['maximum']}" + (
                f", by {allowed['multipleOf']}" if "multipleOf" in allowed else ""
            )
        if "maxLength" in allowed:
            return f"{allowed.get('minLength', 0)} to {allowed['maxLength']} characters"
        return ", ".join(f"{_BOUNDS.get(name, name)} {bound}" for name, bound in allowed.items())
    if "maxItems" in one or "minItems" in one:
        return f"{one.get('minItems', 0)} to {one.get('maxItems', 'any number of')} items"
    return ""
