"""The conditions of a price in words that one types, `width >= 1024 and mode in fast, turbo`, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_LENGTH = 400
SIGNS = {
    ">=": "gte",
    "≥": "gte",
    "<=": "lte",
    "≤": "lte",
    ">": "gt",
    "<": "lt",
    "=": "eq",
    "is": "eq",
    "in": "in",
}
WRITTEN = {"gte": ">=", "lte": "<=", "gt": ">", "lt": "<", "eq": "=", "in": "in"}
NUMBERS = ("integer", "number")
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|>=|<=|[≥≤><=,]|[^\s",=<>≥≤]+)')
_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN = re.compile(r"[A-Za-z_][\w.+-]*")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")

Conditions = dict[str, dict[str, Any]]


class Unreadable(ValueError):
    """The text is no condition; the message says where and what would be, as the end of a sentence."""


def read(text: str, described: Mapping[str, Any]) -> Conditions:
    """The conditions that the text says of the fields of an input. Nothing is no condition. Raises Unreadable.

    A value is read as its field's type has it; whether the field takes it is not looked at here.
    """
    if len(text) > MAX_LENGTH:
        raise Unreadable(f"has more than {MAX_LENGTH} characters")
    tokens = _tokens(text)
    found: Conditions = {}
    while tokens:
        name, sign = tokens.pop(0), tokens.pop(0).lower() if tokens else ""
        operator = SIGNS.get(sign)
        if operator is None or not tokens or not _NAME.fullmatch(name):
            raise Unreadable(
                f"stops after {name[:40]!a}: write a field, a sign and a value, like width >= 1024"
            )
        kind = described.get("properties", {}).get(name, {}).get("type", "string")
        values = [_value(tokens.pop(0), kind, name)]
        while operator == "in" and tokens and tokens[0] == ",":
            tokens.pop(0)
            if not tokens:
                raise Unreadable("ends with a comma")
            values.append(_value(tokens.pop(0), kind, name))
        if operator in found.setdefault(name, {}):
            raise Unreadable(f"says {WRITTEN[operator]} of {name[:40]!a} twice")
        found[name][operator] = values if operator == "in" else values[0]
        if tokens and (tokens.pop(0).lower() != "and" or not tokens):
            raise Unreadable("joins conditions by the word and, which another one follows")
    return found


def write(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """The conditions as `read` takes them."""
    return " and ".join(
        f"{name} {WRITTEN.get(operator, operator)} {_written(operand)}"
        for name, tests in conditions.items()
        for operator, operand in tests.items()
    )


def said(conditions: Mapping[str, Mapping[str, Any]], from_runs: int) -> str:
    """When a price line counts, for who reads it."""
    parts = [f"if {write(conditions)}"] if conditions else []
    parts += [f"after {from_runs:,} runs a month"] if from_runs else []
    return ", ".join(parts) or "always"


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable("has a quotation mark too many")
        found.append(match[1])
        at = match.end()
    return found


def _value(word: str, kind: str, name: str) -> Any:
    if word.startswith('"'):
        try:
            return json.loads(word)
        except json.JSONDecodeError:
            raise Unreadable("has a quoted text that cannot be read") from None
    if word == "," or word in SIGNS.keys() - {"in", "is"}:
        raise Unreadable(f"has {word} where a value belongs")
    if kind in NUMBERS:
        if not _NUMBER.fullmatch(word):
            raise Unreadable(f"compares {name[:40]!a}, a number, with {word[:40]!a}")
        return float(word) if "." in word else int(word)
    if kind == "boolean" and word.lower() in ("true", "false", "yes", "no"):
        return word.lower() in ("true", "yes")
    return word


def _written(operand: Any) -> str:
    if isinstance(operand, list | tuple):
        return ", ".join(_written(one) for one in operand)
    if isinstance(operand, str):
        is_plain = _PLAIN.fullmatch(operand) and operand.lower() != "and"
        return operand if is_plain else json.dumps(operand, ensure_ascii=False)
    return json.dumps(operand)
