"""The words that the schemas of answers are written in."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
MICROS: Schema = {"type": "integer", "description": "micro-dollars: 1,000,000 are one dollar"}
YES_NO: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
DAY: Schema = {"type": "string", "format": "date"}
ADDRESS: Schema = {"type": "string", "format": "uri"}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
CURRENCY: Schema = {"const": "USD"}


def ref(name: str) -> Schema:
    """A reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(one: Schema) -> Schema:
    """The schema, or null."""
    if isinstance(one.get("type"), str):
        return {**one, "type": [one["type"], "null"]}
    return {"anyOf": [one, {"type": "null"}]}


def array(of: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": of}


def said(one: Schema, description: str) -> Schema:
    """The schema, and what it means."""
    return {**one, "description": description}


def record(description: str, /, **members: Schema) -> Schema:
    """An object that has exactly these members, all of them."""
    return {
        "type": "object",
        "description": description,
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def page_of(name: str) -> Schema:
    """A page of a list."""
    return record(
        "One page of a list. `next` and `previous` are whole addresses, null at the ends.",
        results=array(ref(name)),
        next=maybe(ADDRESS),
        previous=maybe(ADDRESS),
    )


def identifier(prefix: str) -> Schema:
    """A public id, as we write it."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-hjkmnp-tv-z]{{26}}$"}


LINE = record(
    "Quantity times price.",
    unit=STRING,
    quantity={"type": "string"},
    unit_price={"type": "string"},
    amount_micros=MICROS,
)
LINE["properties"]["from_runs"] = said(
    {"type": "integer", "minimum": 1},
    "where a volume tier was reached: after how many runs of the month it counts",
)
