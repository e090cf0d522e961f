"""The form of an endpoint: which control shows which field, and how posted text becomes values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.schema.clean import SEED_MAXIMUM, FieldError, ordered
from marketplace.schema.files import Schema

MAX_SEGMENTS = 5
MISSING = object()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values a field can take."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One control, ready to be drawn. `control` names its template: text, textarea, secret, number, slider, seed,
    segments, select, checkbox, file or json."""

    name: str
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

    @property
    def id(self) -> str:
        return "f-" + self.name.replace(".", "-")


def fields(
    schema: Schema, values: Mapping[str, Any] | None = None, errors: list[FieldError] | None = None
) -> list[Field]:
    """The controls of `schema` in order, filled with `values` (else defaults), each with its own error."""
    wrong: dict[str, str] = {}
    for error in errors or []:
        wrong.setdefault(error.field.partition(".")[0].partition("[")[0], error.message)
    required = set(schema.get("required", ()))
    return [
        _field(
            name,
            one,
            (values or {}).get(name, MISSING),
            is_required=name in required,
            error=wrong.get(name, ""),
        )
        for name, one in ordered(schema)
    ]


def from_form(schema: Schema, posted: Mapping[str, str]) -> dict[str, Any]:
    """Values from a posted form. What cannot be read as its type is passed on as text, for `clean` to name."""
    data: dict[str, Any] = {}
    for name, one in ordered(schema):
        text = posted.get(name)
        kind = one["type"]
        if kind == "boolean":
            data[name] = text in {"on", "true", "1"}
        elif text is None or (text == "" and kind != "string"):
            continue
        elif kind == "string":
            text = text.replace("\r\n", "\n")
            if text or name in schema.get("required", ()):
                data[name] = text
        else:
            data[name] = _parsed(text, kind)
    return data


def _parsed(text: str, kind: str) -> Any:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _control(one: Schema) -> str:
    kind, chosen = one["type"], one.get("x-control")
    if "x-media" in one:
        return "file"
    if "enum" in one:
        return "segments" if len(one["enum"]) <= MAX_SEGMENTS else "select"
    if kind == "boolean":
        return "checkbox"
    if kind in {"array", "object"}:
        return "json"
    if kind == "string":
        return "secret" if one.get("x-secret") else str(chosen or "text")
    if chosen == "seed":
        return "seed"
    return "slider" if "minimum" in one and "maximum" in one else "number"


def _field(name: str, one: Schema, value: object, *, is_required: bool, error: str) -> Field:
    control = _control(one)
    default = one.get("default")
    shown = default if value is MISSING else value
    text = "" if one.get("x-secret") else _text(shown)
    step = str(one.get("multipleOf", "1" if one["type"] == "integer" else "any"))
    if control == "slider" and step == "any":
        step = str((one["maximum"] - one["minimum"]) / 100)
    labels = one.get("x-enum-labels", {})
    return Field(
        name=name,
        label=one.get("title") or name.replace("_", " ").capitalize(),
        hint=one.get("description", ""),
        control=control,
        type=one["type"],
        note=_note(one, control),
        value=text,
        default=_text(default),
        is_required=is_required,
        is_advanced=bool(one.get("x-advanced")),
        is_checked=shown is True,
        minimum=_text(one.get("minimum")),
        maximum=_text(one.get("maximum", SEED_MAXIMUM if control == "seed" else None)),
        step=step,
        max_length=_text(one.get("maxLength")),
        choices=tuple(
            Choice(_text(c), labels.get(str(c), _text(c)), c == shown) for c in one.get("enum", ())
        ),
        media=",".join(one.get("x-media", ())),
        error=error,
    )


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
    return "file" if control == "file" else str(one["type"])
