"""The field of an endpoint that takes adapters: a list of `{file, weight}`, whose files are safetensors.

It is drawn, posted, cleaned and documented as any list of groups is. What sets it apart is that its files are no media
of the input but weights beside those of the version, so runs that share a batch must agree in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

ADAPTER_TYPE = "application/x-safetensors"
MAX_ADAPTERS = 5
MAX_WEIGHT = 4.0


def adapter_field(schema: Schema) -> str | None:
    """The name of the field that takes adapters; None if there is none."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    return next((name for name, one in properties.items() if takes_adapters(one)), None)


def takes_adapters(one: Schema) -> bool:
    """Whether a property is a list of groups with a `file` of safetensors."""
    items = one.get("items") if one.get("type") == "array" else None
    if not isinstance(items, Mapping) or items.get("type") != "object":
        return False
    file = items.get("properties", {}).get("file")
    return isinstance(file, Mapping) and ADAPTER_TYPE in file.get("x-media", ())


def adapters_in(schema: Schema, cleaned: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The file and the weight of each adapter that a cleaned input asks for. One of weight 0 is none."""
    name = adapter_field(schema)
    asked = (cleaned.get(name) if name is not None else None) or ()
    found = [(str(one["file"]), float(one.get("weight", 1.0))) for one in asked]
    return [(file, weight) for file, weight in found if weight]


def trouble_of_adapters(one: Schema) -> str | None:
    """What an adapter field lacks; None if it is bounded as it must be."""
    items = one["items"]
    properties = items["properties"]
    if set(properties) != {"file", "weight"} or "file" not in items.get("required", ()):
        return "an adapter is a required file and a weight, and nothing else"
    if properties["file"].get("type") != "string" or properties["file"]["x-media"] != [ADAPTER_TYPE]:
        return f"the file of an adapter is of {ADAPTER_TYPE}"
    if not 1 <= one.get("maxItems", 0) <= MAX_ADAPTERS:
        return f"adapters need maxItems, at most {MAX_ADAPTERS}"
    weight = properties["weight"]
    bounds = (weight.get("minimum"), weight.get("maximum"))
    if weight.get("type") != "number" or any(b is None or abs(b) > MAX_WEIGHT for b in bounds):
        return f"the weight of an adapter is a number within -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}"
    return None
