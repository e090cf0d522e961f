"""Input from any door, made clean or refused with every reason at once."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.schema.files import Schema, trouble, types_of

INTEGER_LIMIT = 2**53  # what JavaScript clients can hold exactly
SEED_MAXIMUM = 2**32 - 1
STRING_LIMIT = 100_000  # where the schema names none
ITEMS_LIMIT = 1_000
UNKNOWN_LIMIT = 20  # of a body full of unknown fields, this many are named


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field: a stable code, a sentence, and what is allowed."""

    field: str
    code: str
    message: str
    allowed: Any = None

    def as_json(self) -> dict[str, Any]:
        return {"field": self.field, "code": self.code, "message": self.message, "allowed": self.allowed}


class FieldErrors(ValueError):
    """What was filled in cannot be taken as it is; `errors` lists all that is wrong, by field."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{error.field} {error.message}" for error in self.errors))


class InvalidInput(ValueError):
    """The input does not fit the schema. `errors` lists all that is wrong."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))
        self.errors = errors


def ordered(schema: Schema) -> list[tuple[str, Schema]]:
    """The properties in the order people see them; the database keeps none of its own."""
    properties: Mapping[str, Schema] = schema.get("properties", {})
    return sorted(properties.items(), key=lambda item: (item[1].get("x-order", 1000), item[0]))


def clean(schema: Schema, data: object) -> dict[str, Any]:
    """`data` with defaults filled in, in schema order. Raises InvalidInput with every error.

    Unknown fields are errors: a parameter that is dropped in silence is charged and changes the product.
    """
    errors: list[FieldError] = []
    result = _object(schema, data, "", errors)
    if errors:
        raise InvalidInput(errors)
    return result


def with_seeds(schema: Schema, cleaned: dict[str, Any]) -> dict[str, Any]:
    """`cleaned` with a random seed wherever a seed field was left empty, so that every run can be made again."""
    result = dict(cleaned)
    for name, one in ordered(schema):
        if one.get("x-control") == "seed" and result.get(name) is None:
            lowest, highest = int(one.get("minimum", 0)), int(one.get("maximum", SEED_MAXIMUM))
            result[name] = lowest + secrets.randbelow(highest - lowest + 1)
    return result


def problems_of(one: Schema, value: object, at: str) -> list[FieldError]:
    """What is wrong with `value` as the field `one`."""
    errors: list[FieldError] = []
    _VALUES[one["type"]](one, value, at, errors)
    return errors


def _object(schema: Schema, data: object, path: str, errors: list[FieldError]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        errors.append(FieldError(path or "input", "type", "must be an object of fields and values", "object"))
        return {}
    properties = ordered(schema)
    names = [name for name, _ in properties]
    unknown = [str(name)[:64] or '""' for name in data if name not in names][:UNKNOWN_LIMIT]
    errors += [
        FieldError(_join(path, name), "unknown", "is not a field of this model", names) for name in unknown
    ]
    required = set(schema.get("required", ()))
    result: dict[str, Any] = {}
    for name, one in properties:
        value = data.get(name)
        at = _join(path, name)
        if name in required and (value is None or value == ""):
            errors.append(FieldError(at, "required", "is required", describe(one)))
            continue
        if value is None:
            value = one.get("default")
        if value is None:
            if "default" in one or one.get("nullable") or one.get("x-control") == "seed":
                result[name] = None
            continue
        count = len(errors)
        cleaned = _VALUES[one["type"]](one, value, at, errors)
        if len(errors) == count:
            result[name] = cleaned
    return result


def _string(one: Schema, value: object, at: str, errors: list[FieldError]) -> object:
    if not isinstance(value, str):
        errors.append(FieldError(at, "type", "must be text", "string"))
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        errors.append(FieldError(at, "type", "holds characters that are no valid Unicode", "string"))
        return None
    if "\0" in value:
        errors.append(FieldError(at, "type", "holds a null character; remove it", "string"))
        return None
    if "x-media" in one:
        found = trouble(one, value)
        if found is not None:
            errors.append(FieldError(at, *found, list(types_of(one))))
        return value
    lowest, highest = one.get("minLength", 0), one.get("maxLength", STRING_LIMIT)
    if len(value) > highest:
        message = f"has {len(value):,} characters, at most {highest:,} are allowed"
        errors.append(FieldError(at, "too_long", message, {"maxLength": highest}))
    elif len(value) < lowest:
        errors.append(
            FieldError(at, "too_short", f"needs at least {lowest:,} characters", {"minLength": lowest})
        )
    elif "pattern" in one and re.search(one["pattern"], value) is None:
        errors.append(FieldError(at, "pattern", f"must match {one['pattern']}", one["pattern"]))
    return _choice(one, value, at, errors)


def _number(one: Schema, value: object, at: str, errors: list[FieldError]) -> object:
    integer = one["type"] == "integer"
    message = f"must be a {'whole ' if integer else ''}number"
    # A large integer does not fit the float that isnan takes.
    not_a_number = isinstance(value, bool) or (isinstance(value, float) and math.isnan(value))
    if not_a_number or not isinstance(value, int | float):
        errors.append(FieldError(at, "type", message, describe(one)))
        return None
    if abs(value) > INTEGER_LIMIT:
        errors.append(FieldError(at, "too_large", "is too large a number", describe(one)))
        return None
    if integer:
        if value != int(value):
            errors.append(FieldError(at, "type", message, describe(one)))
            return None
        value = int(value)
    _bounds(one, value, at, errors)
    return _choice(one, value, at, errors)


def _bounds(one: Schema, value: int | float, at: str, errors: list[FieldError]) -> None:
    span = describe(one)
    if "minimum" in one and value < one["minimum"]:
        errors.append(FieldError(at, "too_small", f"must be at least {one['minimum']:,}", span))
    elif "exclusiveMinimum" in one and value <= one["exclusiveMinimum"]:
        errors.append(FieldError(at, "too_small", f"must be more than {one['exclusiveMinimum']:,}", span))
    elif "maximum" in one and value > one["maximum"]:
        errors.append(FieldError(at, "too_large", f"must be at most {one['maximum']:,}", span))
    elif "exclusiveMaximum" in one and value >= one["exclusiveMaximum"]:
        errors.append(FieldError(at, "too_large", f"must be less than {one['exclusiveMaximum']:,}", span))
    elif "multipleOf" in one and Fraction(str(value)) % Fraction(str(one["multipleOf"])):
        errors.append(FieldError(at, "multiple_of", f"must be a multiple of {one['multipleOf']}", span))


def _boolean(one: Schema, value: object, at: str, errors: list[FieldError]) -> object:
    if not isinstance(value, bool):
        errors.append(FieldError(at, "type", "must be true or false", [True, False]))
        return None
    return value


def _array(one: Schema, value: object, at: str, errors: list[FieldError]) -> object:
    if not isinstance(value, list):
        errors.append(FieldError(at, "type", "must be a list", "array"))
        return None
    lowest, highest = one.get("minItems", 0), min(one.get("maxItems", ITEMS_LIMIT), ITEMS_LIMIT)
    if len(value) < lowest:
        errors.append(FieldError(at, "too_few", f"needs at least {lowest} items", {"minItems": lowest}))
        return None
    if len(value) > highest:
        errors.append(FieldError(at, "too_many", f"takes at most {highest} items", {"maxItems": highest}))
        return None
    items: Schema = one["items"]
    return [_VALUES[items["type"]](items, item, f"{at}[{i}]", errors) for i, item in enumerate(value)]


def _choice(one: Schema, value: object, at: str, errors: list[FieldError]) -> object:
    if "enum" in one and value not in one["enum"]:
        choices = ", ".join(str(c) for c in one["enum"])
        errors.append(FieldError(at, "not_allowed", f"must be one of {choices}", list(one["enum"])))
    return value


_VALUES: dict[str, Callable[[Schema, object, str, list[FieldError]], object]] = {
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "array": _array,
    "object": _object,
}


def describe(one: Schema) -> Any:
    """What a field allows, as data: its choices, its bounds, or its type."""
    if "enum" in one:
        return list(one["enum"])
    keys = (
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
    )
    return {key: one[key] for key in keys if key in one} or one["type"]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
