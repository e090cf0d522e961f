"""Values while they are being filled in: rows that come, go and move, and the same values as JSON text."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from marketplace.schema.clean import ordered
from marketplace.schema.files import Schema

MAX_DIGITS = 1000


class InvalidJson(ValueError):
    """The text is no JSON object. `line` and `column` say where, from 1; 0 means nowhere in particular."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"Line {line}, column {column}: {message}" if line else message)
        self.line = line
        self.column = column


def read_json(text: str) -> dict[str, Any]:
    """An input as JSON text. Raises InvalidJson for what is none, or would not mean the same to everybody."""
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_int=_whole, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise InvalidJson(_reason(error), error.lineno, error.colno) from None
    except RecursionError:
        raise InvalidJson("It is nested too deep.") from None
    except ValueError as error:
        raise InvalidJson(str(error)) from None
    if not isinstance(value, dict):
        raise InvalidJson("It must be an object: { } around fields and their values.")
    return value


def write_json(schema: Schema, values: Mapping[str, Any]) -> str:
    """Values as JSON text, in the order of the form, without what is secret."""
    known = {
        name: values[name]
        for name, one in ordered(schema)
        if values.get(name) is not None and not one.get("x-secret")
    }
    others = {name: value for name, value in values.items() if name not in dict(ordered(schema))}
    return json.dumps({**known, **others}, indent=2, ensure_ascii=False)


def secrets_in(schema: Schema, values: Mapping[str, Any]) -> list[str]:
    """The secret fields that have a value."""
    return [name for name, one in ordered(schema) if one.get("x-secret") and values.get(name)]


def rearranged(schema: Schema, values: Mapping[str, Any], act: str) -> tuple[dict[str, Any], str]:
    """`values` after `add loras`, `remove loras.1`, `up loras.1` or `down loras.1`, and the path that it was about.

    What names no row changes nothing.
    """
    verb, _, path = act.partition(" ")
    changed = copy.deepcopy(dict(values))
    names = path.split(".")
    if verb == "add":
        one = _described(schema, names)
        rows = _rows(changed, names, schema) if one is not None and one["type"] == "array" else None
        if one is None or rows is None:
            return changed, ""
        rows.append(_fresh(one["items"]))
        first = next((f".{name}" for name, _ in ordered(one["items"])), "")
        return changed, f"{path}.{len(rows) - 1}{first}"
    rows = _rows(changed, names[:-1], schema)
    at = int(names[-1]) if names[-1].isascii() and names[-1].isdigit() and len(names[-1]) < 6 else -1
    if rows is None or not 0 <= at < len(rows):
        return changed, ""
    if verb == "remove":
        del rows[at]
        return changed, ".".join(names[:-1])
    to = at + {"up": -1, "down": 1}.get(verb, 0)
    if 0 <= to < len(rows):
        rows[at], rows[to] = rows[to], rows[at]
        return changed, ".".join([*names[:-1], str(to)])
    return changed, path


def _described(schema: Schema, names: list[str]) -> Schema | None:
    """The part of the schema under a path."""
    one: Schema | None = schema
    for name in names:
        if one is None:
            return None
        one = one.get("items") if one.get("type") == "array" else one.get("properties", {}).get(name)
    return one


def _rows(values: dict[str, Any], names: list[str], schema: Schema) -> list[Any] | None:
    """The list under a path; one that is not there yet is begun, from its default."""
    at: Any = values
    one: Schema | None = schema
    for place, name in enumerate(names):
        one = _described(schema, names[: place + 1])
        if one is None:
            return None
        if isinstance(at, dict):
            if not isinstance(at.get(name), list | dict):
                begun = one.get("default")
                at[name] = (
                    copy.deepcopy(begun) if begun is not None else ([] if one["type"] == "array" else {})
                )
            at = at[name]
        elif isinstance(at, list) and name.isascii() and name.isdigit() and int(name[:6]) < len(at):
            at = at[int(name)]
        else:
            return None
    return at if isinstance(at, list) else None


def _fresh(items: Schema) -> Any:
    """A new row."""
    if items.get("default") is not None:
        return copy.deepcopy(items["default"])
    return {"object": {}, "array": []}.get(items["type"])


def _reason(error: json.JSONDecodeError) -> str:
    """What the parser found, said to somebody who types."""
    said = {
        "Expecting value": "a value is missing here",
        "Expecting ',' delimiter": "a comma or a closing bracket is missing before this",
        "Expecting ':' delimiter": "a colon is missing after the name",
        "Expecting property name enclosed in double quotes": 'a name in "double quotes" must stand here',
        "Illegal trailing comma before end of object": "this comma has nothing after it",
        "Illegal trailing comma before end of array": "this comma has nothing after it",
        "Unterminated string starting at": "this text has no closing quote",
        "Extra data": "something stands after the end",
    }
    return said.get(error.msg, error.msg[:1].lower() + error.msg[1:]) + "."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"The name {name[:40]!a} stands twice.")
        found[name] = value
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON.")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"A number has more than {MAX_DIGITS:,} digits.")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"The number {text[:40]} is too large.")
    return number
