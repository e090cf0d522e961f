"""An endpoint's schemas in Cog's dialect of OpenAPI, from which Replicate's clients and forms learn what a model takes.

Choices are components of their own that a property refers to, as clients follow one reference and no second one; files
are strings of the format `uri`; the order of the fields is `x-order`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.schema import Schema
from marketplace.schema.clean import ordered
from playground.facades.replicate.show import LISTED

COG_VERSION = "0.16.0"  # whose dialect this is; clients read from it that lists are no iterators
Json = dict[str, Any]

_RESERVED = {"Input", "Output"}  # names of components that mean something else
_SAME = (
    *("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength"),
    *("maxLength", "pattern", "minItems", "maxItems", "nullable", "deprecated", "format"),
)


def openapi(input_schema: Schema, output_schema: Schema) -> Json:
    """The document of one version: `Input`, `Output` and the choices that `Input` refers to.

    What is made is a list of pictures, in the order in which they were made, or one file of another kind.
    """
    components: dict[str, Json] = {}
    properties: dict[str, Json] = {}
    for place, (name, one) in enumerate(ordered(input_schema)):
        properties[name] = {**_property(name, one, components), "x-order": place}
    components["Input"] = {
        "type": "object",
        "title": "Input",
        "required": list(input_schema.get("required", ())),
        "properties": properties,
    }
    file = {"type": "string", "format": "uri"}
    if LISTED in output_schema.get("properties", {LISTED: {}}):
        components["Output"] = {"type": "array", "title": "Output", "items": file}
    else:
        components["Output"] = {**file, "title": "Output"}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": components},
    }


def _property(name: str, one: Schema, components: dict[str, Json]) -> Json:
    """A field of the input; its choices become a component."""
    if "enum" not in one or name in _RESERVED:
        return _value(name, one)
    components[name] = {
        "type": one["type"],
        "title": name,
        "description": "An enumeration.",
        "enum": list(one["enum"]),
    }
    return {"allOf": [{"$ref": f"#/components/schemas/{name}"}], **_said(one)}


def _value(name: str, one: Schema) -> Json:
    """A field, or what lies inside of one, without references."""
    found: Json = {key: one[key] for key in _SAME if key in one}
    if name:
        found["title"] = one.get("title") or name.replace("_", " ").capitalize()
    found.update(_said(one))
    if "enum" in one:
        found["enum"] = list(one["enum"])
    if "x-media" in one:
        found["format"] = "uri"
    if one.get("x-secret"):
        found |= {"format": "password", "writeOnly": True, "x-cog-secret": True}
    if "items" in one:
        found["items"] = _value("", one["items"])
    inner: Mapping[str, Schema] = one.get("properties", {})
    if inner:
        found["properties"] = {key: _value(key, each) for key, each in ordered(one)}
        found["required"] = list(one.get("required", ()))
    return found


def _said(one: Schema) -> Json:
    """What a field says of itself, and what it is where it is not given."""
    return {key: one[key] for key in ("description", "default") if one.get(key) is not None}
