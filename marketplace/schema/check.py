"""What a publisher's schema must be like before anything relies on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from marketplace.schema.adapters import takes_adapters, trouble_of_adapters
from marketplace.schema.clean import problems_of

Schema = Mapping[str, Any]

TYPES = ("string", "integer", "number", "boolean", "array", "object")
CONTROLS = ("text", "textarea", "slider", "seed", "segments", "select")
MEASURES = ("image", "width", "height", "step", "second", "frame", "fps", "character")
BOUNDED = {"width", "height", "image", "step", "second", "frame"}
KEYWORDS = {
    *(
        "type",
        "title",
        "description",
        "default",
        "examples",
        "enum",
        "const",
        "format",
        "pattern",
        "deprecated",
    ),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties", "nullable"),
    *("x-order", "x-advanced", "x-secret", "x-control", "x-media", "x-measure", "x-enum-labels", "x-unit"),
}
MAX_PROPERTIES, MAX_DEPTH = 100, 4


class InvalidSchema(ValueError):
    """The schema is outside the dialect; the message names the place and what is wrong."""


def check(schema: Schema) -> None:
    """Refuse a schema that is no JSON Schema or that the form could not show. Raises InvalidSchema."""
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise InvalidSchema(f"{error.json_path}: {error.message}") from None
    except RecursionError:
        raise InvalidSchema(f"$: nested deeper than {MAX_DEPTH}") from None
    if schema.get("type") != "object":
        raise InvalidSchema("$: the input of an endpoint is an object")
    _check_object(schema, "$", 1)
    _check_frames(schema.get("properties", {}))
    _check_adapters(schema)


def _check_frames(properties: Mapping[str, Schema]) -> None:
    """Frames are paid by the second: without a pace nobody knows how long they last."""
    paces = [one for one in properties.values() if one.get("x-measure") == "fps"]
    if any(one.get("x-measure") == "frame" for one in properties.values()) and not paces:
        raise InvalidSchema("$: a field that counts frames needs one that says how many a second (fps)")
    if any(one.get("minimum", 0) <= 0 or one.get("default") is None for one in paces):
        raise InvalidSchema("$: frames a second have a default and a minimum above 0")


def _check_object(schema: Schema, at: str, depth: int) -> None:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if len(properties) > MAX_PROPERTIES:
        raise InvalidSchema(f"{at}: more than {MAX_PROPERTIES} properties")
    for name in schema.get("required", ()):
        if name not in properties:
            raise InvalidSchema(f"{at}: {name} is required but not described")
    for name, one in properties.items():
        if not name.isidentifier() or len(name) > 64:
            raise InvalidSchema(f"{at}.{name}: names are letters, digits and underscores, at most 64")
        _check_property(one, f"{at}.{name}", depth)


def _check_property(one: Schema, at: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidSchema(f"{at}: nested deeper than {MAX_DEPTH}")
    kind = one.get("type") if isinstance(one, Mapping) else None
    if kind not in TYPES:
        raise InvalidSchema(f"{at}: type must be one of {', '.join(TYPES)}")
    unknown = sorted(set(one) - KEYWORDS)
    if unknown:
        raise InvalidSchema(f"{at}: not part of the dialect: {', '.join(unknown)}")
    if one.get("x-control", "text") not in CONTROLS:
        raise InvalidSchema(f"{at}: x-control must be one of {', '.join(CONTROLS)}")
    if "x-measure" in one and one["x-measure"] not in MEASURES:
        raise InvalidSchema(f"{at}: x-measure must be one of {', '.join(MEASURES)}")
    if one.get("x-measure") in BOUNDED and "maximum" not in one:
        raise InvalidSchema(f"{at}: what is paid for needs a maximum")
    _check_hints(one, at)
    if kind == "array":
        if "items" not in one:
            raise InvalidSchema(f"{at}: an array says what its items are")
        _check_property(one["items"], f"{at}[]", depth + 1)
    if kind == "object":
        _check_object(one, at, depth + 1)
    if one.get("default") is not None:
        problem = next(iter(problems_of(one, one["default"], "")), None)
        if problem is not None:
            raise InvalidSchema(f"{at}: the default {problem.message}")


def _check_adapters(schema: Schema) -> None:
    """One field of the endpoint itself may take adapters, in bounds."""
    fields = [name for name, one in schema.get("properties", {}).items() if takes_adapters(one)]
    if len(fields) > 1:
        raise InvalidSchema(f"$.{fields[1]}: adapters are taken by one field, and {fields[0]} is one")
    for name in fields:
        trouble = trouble_of_adapters(schema["properties"][name])
        if trouble is not None:
            raise InvalidSchema(f"$.{name}: {trouble}")


def _check_hints(one: Schema, at: str) -> None:
    """What the form and `clean` read without asking again."""
    if "pattern" in one:
        try:
            re.compile(one["pattern"])
        except re.error as error:
            raise InvalidSchema(f"{at}: the pattern is no regular expression: {error}") from None
    if "enum" in one and not one["enum"]:
        raise InvalidSchema(f"{at}: an enum needs a choice")
    if type(one.get("x-order", 0)) is not int:
        raise InvalidSchema(f"{at}: x-order is a whole number")
    media = one.get("x-media", [])
    if not isinstance(media, list) or not all(isinstance(name, str) for name in media):
        raise InvalidSchema(f"{at}: x-media lists media types")
    if not isinstance(one.get("x-enum-labels", {}), Mapping):
        raise InvalidSchema(f"{at}: x-enum-labels says for each choice what people read")
