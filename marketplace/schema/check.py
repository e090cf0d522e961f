"""What a publisher's schema must be like before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

Schema = Mapping[str, Any]

TYPES = ("string", "integer", "number", "boolean", "array", "object")
CONTROLS = ("text", "textarea", "slider", "seed", "segments", "select")
MEASURES = ("image", "width", "height", "step", "second", "character")
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
    if schema.get("type") != "object":
        raise InvalidSchema("$: the input of an endpoint is an object")
    _check_object(schema, "$", 1)


def _check_object(schema: Schema, at: str, depth: int) -> None:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if depth > MAX_DEPTH:
        raise InvalidSchema(f"{at}: nested deeper than {MAX_DEPTH}")
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
    kind = one.get("type")
    if kind not in TYPES:
        raise InvalidSchema(f"{at}: type must be one of {', '.join(TYPES)}")
    unknown = sorted(set(one) - KEYWORDS)
    if unknown:
        raise InvalidSchema(f"{at}: not part of the dialect: {', '.join(unknown)}")
    if one.get("x-control", "text") not in CONTROLS:
        raise InvalidSchema(f"{at}: x-control must be one of {', '.join(CONTROLS)}")
    if "x-measure" in one and one["x-measure"] not in MEASURES:
        raise InvalidSchema(f"{at}: x-measure must be one of {', '.join(MEASURES)}")
    if one.get("x-measure") in {"width", "height", "image", "step", "second"} and "maximum" not in one:
        raise InvalidSchema(f"{at}: what is paid for needs a maximum")
    if "default" in one and one["default"] is not None:
        problem = next(iter(Draft202012Validator(dict(one)).iter_errors(one["default"])), None)
        if problem is not None:
            raise InvalidSchema(f"{at}: the default is not valid: {problem.message}")
    if kind == "array":
        if "items" not in one:
            raise InvalidSchema(f"{at}: an array says what its items are")
        _check_property(one["items"], f"{at}[]", depth + 1)
    if kind == "object":
        _check_object(one, at, depth + 1)
