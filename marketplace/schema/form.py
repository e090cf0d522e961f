"""The form of an endpoint: which control shows which field, and how posted text becomes values.

A control is named by its path, `loras.0.weight`. A list is posted as rows: `loras.rows` says how many, row by row its
fields follow; an optional group is posted with `group.on`. As one text, a list is JSON, or one item a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketplace.schema.clean import ITEMS_LIMIT, SEED_MAXIMUM, FieldError, ordered
from marketplace.schema.files import Schema

MAX_SEGMENTS = 5
MAX_ROWS_SHOWN = 100
MISSING = object()
ON = {"on", "true", "1"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values a field can take."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One control, ready to be drawn. `control` names its kind: text, textarea, secret, number, slider, seed, segments,
    select, switch, file, rows or group. Rows and groups hold controls of their own in `fields`."""

    name: str  # the path under which it is posted
    label: str
    hint: str
    control: str
    type: str
    note: str
    value: str
    default: str
    is_required: bool
    is_advanced: bool
    is_checked: bool
    minimum: str
    maximum: str
    step: str
    max_length: str
    choices: tuple[Choice, ...]
    media: str
    error: str
    fields: tuple[Field, ...] = field(default=())
    can_add: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether it or anything in it has an error."""
        return bool(self.error) or any(one.is_wrong for one in self.fields)

    @property
    def id(self) -> str:
        return "f-" + self.name.replace(".", "-")


def fields(
    schema: Schema, values: Mapping[str, Any] | None = None, errors: list[FieldError] | None = None
) -> list[Field]:
    """The controls of `schema` in order, filled with `values` (else defaults), each with its own error."""
    wrong: dict[str, str] = {}
    for error in errors or []:
        wrong.setdefault(dotted(error.field), error.message)
    return _fields(schema, values or {}, "", wrong)


def dotted(path: str) -> str:
    """`loras[0].weight` as the form names it."""
    return path.replace("[", ".").replace("]", "")


def label_of(schema: Schema, path: str) -> str:
    """What people read for a field that `clean` names, `loras[0].weight`: the titles down to it."""
    said: list[str] = []
    one: Schema | None = schema
    for name in dotted(path).split("."):
        if one is not None and one.get("type") == "array":
            one = one.get("items")
            said.append(str(int(name) + 1) if name.isdigit() else name)
            continue
        one = one.get("properties", {}).get(name) if one is not None else None
        said.append(str(one.get("title") or name.replace("_", " ").capitalize()) if one is not None else name)
    return " › ".join(said)


def _fields(schema: Schema, values: Mapping[str, Any], prefix: str, wrong: Mapping[str, str]) -> list[Field]:
    required = set(schema.get("required", ()))
    return [
        _field(
            prefix + name,
            one,
            values.get(name, MISSING),
            label=one.get("title") or name.replace("_", " ").capitalize(),
            is_required=name in required,
            wrong=wrong,
        )
        for name, one in ordered(schema)
    ]


def from_form(
    schema: Schema, posted: Mapping[str, str], *, prefix: str = "", keep_empty: bool = False
) -> dict[str, Any]:
    """Values from a posted form. What cannot be read as its type is passed on as text, for `clean` to name.

    `keep_empty` keeps rows in which nothing stands yet, for a form that is still being filled in.
    """
    data: dict[str, Any] = {}
    required = set(schema.get("required", ()))
    for name, one in ordered(schema):
        value = _read(one, posted, prefix + name, is_required=name in required, keep_empty=keep_empty)
        if value is not MISSING:
            data[name] = value
    return data


def _read(one: Schema, posted: Mapping[str, str], at: str, *, is_required: bool, keep_empty: bool) -> Any:
    text, kind = posted.get(at), one["type"]
    if kind == "array" and f"{at}.rows" in posted:
        return _rows(one, posted, at, keep_empty=keep_empty)
    if kind == "object" and text is None:
        if not is_required and posted.get(f"{at}.on") not in ON:
            return MISSING
        return from_form(one, posted, prefix=f"{at}.", keep_empty=keep_empty)
    if kind == "boolean":
        if is_nullable_boolean(one):
            return MISSING if not text else text in ON
        return text in ON
    if text is None or (text == "" and kind != "string"):
        return MISSING
    if kind == "string":
        text = text.replace("\r\n", "\n")
        return text if text or is_required else MISSING
    return _parsed(one, text)


def _rows(one: Schema, posted: Mapping[str, str], at: str, *, keep_empty: bool) -> Any:
    said = posted[f"{at}.rows"]
    if not (said.isascii() and said.isdigit() and len(said) < 6):
        return said
    items: Schema = one["items"]
    found = []
    for row in range(min(int(said), ITEMS_LIMIT + 1)):
        name = f"{at}.{row}"
        value = _read(items, posted, name, is_required=True, keep_empty=keep_empty)
        is_empty = value is MISSING or value == ""
        if keep_empty or not is_empty:
            found.append(None if is_empty else value)
    return found if found or keep_empty else MISSING


def _parsed(one: Schema, text: str) -> Any:
    kind = one["type"]
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
        if kind == "array" and not text.lstrip().startswith("["):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            items = one["items"]
            if items["type"] in {"string", "integer", "number"}:
                return [line if items["type"] == "string" else _parsed(items, line) for line in lines]
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def is_nullable_boolean(one: Schema) -> bool:
    """Whether "not set" is a third answer."""
    return one["type"] == "boolean" and bool(one.get("nullable")) and one.get("default") is None


def _control(one: Schema) -> str:
    kind, chosen = one["type"], one.get("x-control")
    if "x-media" in one:
        return "file"
    if "enum" in one and kind not in {"array", "object"}:
        return "segments" if len(one["enum"]) <= MAX_SEGMENTS and chosen != "select" else "select"
    if kind == "boolean":
        return "segments" if is_nullable_boolean(one) else "switch"
    if kind in {"array", "object"}:
        return "rows" if kind == "array" else "group"
    if kind == "string":
        return "secret" if one.get("x-secret") else _text_control(one, chosen)
    if chosen == "seed":
        return "seed"
    return "slider" if "minimum" in one and "maximum" in one else "number"


def _text_control(one: Schema, chosen: str | None) -> str:
    return "textarea" if chosen == "textarea" else "text"


def _field(
    name: str, one: Schema, value: object, *, label: str, is_required: bool, wrong: Mapping[str, str]
) -> Field:
    control = _control(one)
    default = one.get("default")
    shown = default if value is MISSING else value
    inner = _inner(name, one, shown, control, wrong)
    return Field(
        name=name,
        label=label,
        hint=one.get("description", ""),
        control=control,
        type=one["type"],
        note=_note(one, control),
        value="" if one.get("x-secret") else _text(shown),
        default=_text(default),
        is_required=is_required,
        is_advanced=bool(one.get("x-advanced")),
        is_checked=_is_checked(control, shown, is_required=is_required),
        minimum=_text(one.get("minimum")),
        maximum=_text(one.get("maximum", SEED_MAXIMUM if control == "seed" else None)),
        step=_step(one, control),
        max_length=_text(one.get("maxLength")),
        choices=_choices(one, shown),
        media=",".join(one.get("x-media", ())),
        error=_error(name, control, inner, wrong),
        fields=inner,
        can_add=control == "rows" and len(inner) < min(one.get("maxItems", ITEMS_LIMIT), MAX_ROWS_SHOWN),
    )


def _inner(
    name: str, one: Schema, shown: object, control: str, wrong: Mapping[str, str]
) -> tuple[Field, ...]:
    """The controls inside of a list or a group."""
    if control == "group":
        values = shown if isinstance(shown, Mapping) else {}
        return tuple(_fields(one, values, f"{name}.", wrong))
    if control != "rows" or not isinstance(shown, Sequence) or isinstance(shown, str):
        return ()
    return tuple(
        _field(
            f"{name}.{row}",
            one["items"],
            item,
            label=f"{one['items'].get('title') or 'Item'} {row + 1}",
            is_required=True,
            wrong=wrong,
        )
        for row, item in enumerate(shown[:MAX_ROWS_SHOWN])
    )


def _error(name: str, control: str, inner: Sequence[Field], wrong: Mapping[str, str]) -> str:
    """What is wrong here, or deeper down where no control shows it."""
    if name in wrong:
        return wrong[name]
    shown = tuple(one.name for one in inner)
    below = (
        text
        for path, text in wrong.items()
        if path.startswith(f"{name}.") and not any(path == one or path.startswith(f"{one}.") for one in shown)
    )
    return next(below, "")


def _is_checked(control: str, shown: object, *, is_required: bool) -> bool:
    if control == "group":
        return is_required or isinstance(shown, Mapping)
    return shown is True


def _step(one: Schema, control: str) -> str:
    step = str(one.get("multipleOf", "1" if one["type"] == "integer" else "any"))
    if control == "slider" and step == "any":
        return str((one["maximum"] - one["minimum"]) / 100)
    return step


def _choices(one: Schema, shown: object) -> tuple[Choice, ...]:
    labels = one.get("x-enum-labels", {})
    if is_nullable_boolean(one):
        named = (("", "Not set", None), ("true", "Yes", True), ("false", "No", False))
        return tuple(Choice(value, label, shown is meant) for value, label, meant in named)
    return tuple(Choice(_text(c), labels.get(str(c), _text(c)), c == shown) for c in one.get("enum", ()))


def _text(value: object) -> str:
    if value is None or value is MISSING:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _note(one: Schema, control: str) -> str:
    if control == "slider":
        return f"{one['minimum']} to {one['maximum']}"
    if control in {"segments", "select"}:
        return "choice"
    if control == "rows":
        most = one.get("maxItems")
        return f"up to {most}" if most else "list"
    if control in {"group", "switch"}:
        return ""
    return "file" if control == "file" else str(one["type"])
