"""Stripe's form encoding: `line_items[0][price_data][currency]=usd` as the nested values that it spells."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

from billing.sandbox.refusals import Json, Refused

MAX_FIELDS = 1000
MAX_DEPTH = 10
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode(text: str) -> Json:
    """The nested values of a form; leaves are strings, lists are lists. Raises Refused."""
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise Refused("The body could not be read as a form.") from None
    tree: Json = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        if match is None:
            raise Refused(f"Invalid parameter name: {key[:100]}", param=key[:100])
        path = [match[1], *_PART.findall(match[2])]
        if len(path) > MAX_DEPTH:
            raise Refused(f"Parameters are nested too deeply: {key[:100]}", param=key[:100])
        _put(tree, path, value, key)
    return {name: _listed(value) for name, value in tree.items()}


def _put(tree: Json, path: list[str], value: str, key: str) -> None:
    *ways, last = path
    for way in ways:
        tree = tree.setdefault(way or str(len(tree)), {})
        if not isinstance(tree, dict):
            raise Refused(f"{key[:100]} is both a value and a group of values.", param=key[:100])
    name = last or str(len(tree))
    if name in tree:
        raise Refused(f"{key[:100]} is given twice.", param=key[:100])
    tree[name] = value


def _listed(value: Any) -> Any:
    """Groups whose names count from 0 are lists."""
    if not isinstance(value, dict):
        return value
    if list(value) == [str(number) for number in range(len(value))]:
        return [_listed(one) for one in value.values()]
    return {name: _listed(one) for name, one in value.items()}
