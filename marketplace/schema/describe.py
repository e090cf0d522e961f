"""An endpoint's fields in words and examples, for API documentation and snippets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.schema.clean import describe, ordered
from marketplace.schema.files import Schema

REDACTED = "[secret]"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table of parameters."""

    name: str
    type: str
    is_required: bool
    default: Any
    allowed: Any
    description: str


def parameters(schema: Schema) -> list[Parameter]:
    """The rows of the parameter table, in order."""
    required = set(schema.get("required", ()))
    return [
        Parameter(
            name=name,
            type="file" if "x-media" in one else one["type"],
            is_required=name in required,
            default=one.get("default"),
            allowed=_allowed(one),
            description=one.get("description", ""),
        )
        for name, one in ordered(schema)
    ]


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


def _allowed(one: Schema) -> str:
    allowed = describe(one)
    if isinstance(allowed, list):
        return ", ".join(str(a) for a in allowed)
    if isinstance(allowed, Mapping):
        if {"minimum", "maximum"} <= set(allowed):
            return f"{allowed['minimum']} to {allowed['maximum']}" + (
                f", by {allowed['multipleOf']}" if "multipleOf" in allowed else ""
            )
        return ", ".join(f"{name} {bound}" for name, bound in allowed.items())
    return ", ".join(one.get("x-media", ()))
