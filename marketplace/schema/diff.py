"""What changed from one schema to the next, field by field and in words, and whether it breaks callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from marketplace.schema.clean import ordered
from marketplace.schema.files import Schema

# Bound → whether a larger value refuses more, and how people read it.
BOUNDS = {
    "minimum": (True, "at least"),
    "exclusiveMinimum": (True, "more than"),
    "maximum": (False, "at most"),
    "exclusiveMaximum": (False, "less than"),
    "minLength": (True, "characters at least"),
    "maxLength": (False, "characters at most"),
    "minItems": (True, "items at least"),
    "maxItems": (False, "items at most"),
}
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one field. `kind` is added, removed or changed; breaking ones refuse what was taken before."""

    field: str
    kind: str
    text: str
    is_breaking: bool


def changes(old: Schema, new: Schema) -> list[Change]:
    """The changes of an input from `old` to `new`, in the order of the form, what is gone last."""
    return list(_object(old, new, ""))


def _object(old: Schema, new: Schema, prefix: str) -> Iterator[Change]:
    before, after = dict(ordered(old)), dict(ordered(new))
    required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
    for name, one in after.items():
        at = prefix + name
        is_needed = name in required_after
        if name not in before:
            yield Change(at, "added", _added(one, is_needed=is_needed), is_needed)
            continue
        if is_needed and name not in required_before:
            yield Change(at, "changed", "is required now", is_breaking=True)
        elif name in required_before and not is_needed:
            yield Change(at, "changed", "is no longer required", is_breaking=False)
        yield from _field(before[name], one, at)
    for name, one in before.items():
        if name not in after:
            yield Change(
                prefix + name, "removed", f"{one['type']}; a call that sends it is refused", is_breaking=True
            )


def _added(one: Schema, *, is_needed: bool) -> str:
    kind = "file" if "x-media" in one else one["type"]
    if is_needed:
        return f"{kind}, required"
    default = one.get("default")
    return f"{kind}, optional" if default is None else f"{kind}, {_said(default)} where it is left out"


def _field(old: Schema, new: Schema, at: str) -> Iterator[Change]:
    if old["type"] != new["type"]:
        widened = (old["type"], new["type"]) == ("integer", "number")
        yield Change(at, "changed", f"type {old['type']} → {new['type']}", not widened)
        return
    if old.get("default") != new.get("default"):
        text = f"default {_said(old.get('default'))} → {_said(new.get('default'))}"
        yield Change(at, "changed", text, is_breaking=False)
    yield from _choices(old, new, at)
    yield from _bounds(old, new, at)
    for key, label in (("multipleOf", "steps of"), ("pattern", "pattern"), ("x-media", "types")):
        if old.get(key) != new.get(key):
            is_breaking = key in new and not (key == "x-media" and set(old.get(key, ())) <= set(new[key]))
            text = f"{label} {_said(old.get(key))} → {_said(new.get(key))}"
            yield Change(at, "changed", text, is_breaking)
    if new["type"] == "object":
        yield from _object(old, new, f"{at}.")
    elif new["type"] == "array" and "items" in old and "items" in new:
        yield from _field(old["items"], new["items"], f"{at}[]")


def _choices(old: Schema, new: Schema, at: str) -> Iterator[Change]:
    before, after = old.get("enum"), new.get("enum")
    if before == after:
        return
    if before is None:
        yield Change(at, "changed", f"only {_list(after)} now", is_breaking=True)
    elif after is None:
        yield Change(at, "changed", "any value now, not only choices", is_breaking=False)
    else:
        gone, come = [c for c in before if c not in after], [c for c in after if c not in before]
        if come:
            yield Change(at, "changed", f"new {_plural(come)} {_list(come)}", is_breaking=False)
        if gone:
            yield Change(at, "changed", f"without the {_plural(gone)} {_list(gone)}", is_breaking=True)


def _bounds(old: Schema, new: Schema, at: str) -> Iterator[Change]:
    for key, (is_floor, label) in BOUNDS.items():
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if after is None:
            yield Change(at, "changed", f"no longer {label} {_said(before)}", is_breaking=False)
            continue
        is_narrower = before is None or (after > before if is_floor else after < before)
        text = f"{label} {_said(after)}" + (f", was {_said(before)}" if before is not None else "")
        yield Change(at, "changed", text, is_narrower)


def _plural(choices: list[Any]) -> str:
    return "choice" if len(choices) == 1 else "choices"


def _list(choices: Any) -> str:
    return ", ".join(_said(c) for c in choices)


def _said(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return _list(value) or "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
