"""What a dialect's words mean to an endpoint: one declarative rule per word, and what becomes of the rest.

A word that the endpoint's own schema has means that field, whatever the tables say. Any other means what the dialect's
table says: another name for a field, a file, a size, a length in time, adapters, or something that is only understood
when it asks for what happens anyway. What an endpoint cannot honour is refused where it would change what is made, and
ignored and reported where the clients of the protocol send it as a habit; nothing is dropped in silence.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from marketplace.schema import FieldError, InvalidInput, Schema, adapter_field, takes
from playground import examiner

Given = Mapping[str, Any]

MAX_IGNORED = 50  # words that are told of
_LABEL = re.compile(r"data:(image|audio|video)/[a-z0-9.+-]{1,64};base64,", re.IGNORECASE)
_SNIFFED = 1368  # characters of base64: 1,026 bytes


class Extras(Enum):
    """What becomes of a word that neither the endpoint nor the table knows."""

    REFUSED = "refused"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A word that counts for nothing, and why; or one that counts for something else than it says."""

    field: str
    why: str

    def as_json(self) -> dict[str, str]:
        return {"field": self.field, "why": self.why}


@dataclass(frozen=True, slots=True)
class Translated:
    """An input in the endpoint's words. `names` are the caller's own, by ours; inside a list by `list[].field`."""

    input: dict[str, Any]
    ignored: list[Ignored]
    names: dict[str, str]

    def errors(self, found: Iterable[FieldError]) -> InvalidInput:
        """What is wrong with the input, told in the caller's words."""
        return InvalidInput(
            [FieldError(theirs(self.names, e.field), e.code, e.message, e.allowed) for e in found]
        )


@dataclass(slots=True)
class Reading:
    """A translation under way."""

    task: str
    schema: Schema
    given: Given
    input: dict[str, Any] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)  # words of which it is known what became

    @property
    def fields(self) -> Mapping[str, Schema]:
        found: Mapping[str, Schema] = self.schema.get("properties", {})
        return found

    def measuring(self, measure: str, *names: str) -> str | None:
        """The field that says how much of something there is: by its `x-measure`, or else by name."""
        for name, one in self.fields.items():
            if one.get("x-measure") == measure:
                return name
        return next((name for name in names if name in self.fields), None)

    def value(self, ours: str) -> Any:
        """What one of our fields has by now, a text as what it spells; its default where nothing was said."""
        said = self.input.get(ours)
        return cast(self.fields[ours], said if said is not None else self.fields[ours].get("default"))

    def put(self, ours: str, word: str, value: Any) -> None:
        """Let `word` say `value` for our field; what another word said differently is an error."""
        self.heard.add(word)
        if ours in self.input and self.input[ours] != value:
            message = f"says something else than {self.names[ours]}"
            self.errors.append(FieldError(word, "not_allowed", message))
            return
        if ours not in self.input:
            self.input[ours], self.names[ours] = value, word

    def refuse(self, word: str, message: str, allowed: Any = None) -> None:
        self.heard.add(word)
        self.errors.append(FieldError(word, "not_allowed", message, allowed))

    def ignore(self, word: str, why: str) -> None:
        self.heard.add(word)
        self.ignored.append(Ignored(word, why))

    def agree(self, word: str) -> None:
        """What `word` asks for happens anyway, or is none of the endpoint's business."""
        self.heard.add(word)


class Rule(Protocol):
    """What one word means. Rules of a later `rank` read what earlier ones have found."""

    @property
    def rank(self) -> int: ...

    def read(self, reading: Reading, word: str, value: Any) -> None:
        """Put what `value` says into the reading; None of JSON is never handed in.

        A word of which nothing is said to the reading counts for nothing, and that is told.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name for the first of these fields that the endpoint has.

    Where it has none, the value is refused if it matters (`matters`) and is not one that asks for nothing (`neutral`);
    else it is ignored and reported.
    """

    targets: Sequence[str]
    neutral: Sequence[Any] = ()
    matters: bool = False
    values: Mapping[Any, Any] = field(
        default_factory=dict
    )  # theirs → ours, where choices are called differently
    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        ours = next((name for name in self.targets if name in reading.fields), None)
        if isinstance(value, str | int | float) and value in self.values:
            value = self.values[value]
        if ours is not None:
            reading.put(ours, word, value)
        else:
            without(reading, word, value, self.neutral, matters=self.matters)


@dataclass(frozen=True, slots=True)
class Only:
    """A word that the protocol has and this house has not: understood where it asks for what happens anyway.

    Any other value is refused; with `ignores`, a habit of the clients, it is ignored and reported for that reason.
    """

    neutral: Sequence[Any] = ()
    ignores: str = ""
    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        if value in self.neutral:
            reading.agree(word)
        elif self.ignores:
            reading.ignore(word, self.ignores)
        else:
            allowed = list(self.neutral)
            reading.refuse(word, f"cannot be {_short(value)} with this model", allowed)


@dataclass(frozen=True, slots=True)
class Handled:
    """A word that the facade itself acts on: no part of the input."""

    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        reading.agree(word)


def without(reading: Reading, word: str, value: Any, neutral: Sequence[Any], *, matters: bool) -> None:
    """The endpoint has no field for a word: refused where that matters, else ignored and reported."""
    if value in neutral or value in ([], {}, ""):
        reading.agree(word)
    elif matters:
        reading.refuse(
            word, f"cannot be {_short(value)}: this model has no such field", list(neutral) or None
        )
    else:
        reading.ignore(word, f"this model ({reading.task}) has no such field")


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a list of them: for the field of the endpoint that takes this kind (`image/*`).

    `names` are looked for first; then the first field of the kind, if `anywhere`.
    """

    kind: str
    names: Sequence[str]
    anywhere: bool = True
    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        ours = self._field(reading)
        if ours is None:
            without(reading, word, value, (), matters=True)
            return
        _put_shaped(reading, ours, word, value)

    def _field(self, reading: Reading) -> str | None:
        fits = [name for name, one in reading.fields.items() if self._fits(one)]
        named = next((name for name in self.names if name in fits), None)
        if named is not None or not self.anywhere:
            return named
        return next((name for name in fits if "mask" not in name), None)

    def _fits(self, one: Schema) -> bool:
        file = one.get("items", {}) if one.get("type") == "array" else one
        if "x-media" not in file:
            return False
        types = tuple(file["x-media"])
        kind = self.kind.partition("/")[0]
        return not types or any(name.startswith(f"{kind}/") for name in types) or takes(types, self.kind)


def shaped(one: Schema, value: Any) -> Any:
    """A file for a field that takes a list as a list of one, and a list of one for a field that takes one as that."""
    if "x-media" in one.get("items", {}) and isinstance(value, str):
        return [value]
    if "x-media" in one and isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def relabelled(value: Any) -> Any:
    """A `data:` address under the type that its bytes have, where it names another of the same kind: some clients call
    every picture a JPEG."""
    if isinstance(value, list):
        return [relabelled(one) for one in value]
    found = _LABEL.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    text = value[found.end() :]
    try:
        kind = examiner.sniff(base64.b64decode(text[:_SNIFFED], validate=True))
    except ValueError:  # is told of when the file is taken
        return value
    return f"data:{kind};base64,{text}" if kind.startswith(f"{found[1]}/") else value


def _put_shaped(reading: Reading, ours: str, word: str, value: Any) -> None:
    """Let `word` say `value`, which may be files, for our field."""
    found = shaped(reading.fields[ours], relabelled(value))
    if isinstance(found, list) and "x-media" in reading.fields[ours]:
        reading.refuse(word, f"is one file with this model, and {len(found)} were sent", {"maxItems": 1})
    else:
        reading.put(ours, word, found)


@dataclass(frozen=True, slots=True)
class Adapters:
    """A list of adapters: each an object with the file under `file` and how strongly it works under `weight`; or one
    address, or a list of addresses."""

    file: str = "path"
    weight: str = "scale"
    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        ours = adapter_field(reading.schema)
        if ours is None or value == "":
            without(reading, word, value, (), matters=True)
            return
        listed = value if isinstance(value, list) else [value]
        found = [one for one in (self._one(reading, word, one) for one in listed) if one is not None]
        reading.put(ours, word, found)
        reading.names[f"{ours}[].file"] = f"{word}[].{self.file}"
        reading.names[f"{ours}[].weight"] = f"{word}[].{self.weight}"

    def _one(self, reading: Reading, word: str, one: Any) -> dict[str, Any] | None:
        if isinstance(one, str):
            return {"file": one}
        if not isinstance(one, Mapping) or set(one) - {self.file, self.weight}:
            reading.refuse(word, f"is a list of objects with {self.file} and {self.weight}")
            return None
        named = {"file": one.get(self.file), "weight": one.get(self.weight)}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class AdapterWeight:
    """How strongly the one adapter works that another word names."""

    rank: int = 2

    def read(self, reading: Reading, word: str, value: Any) -> None:
        ours = adapter_field(reading.schema)
        asked = reading.input.get(ours) if ours is not None else None
        if not asked:
            reading.ignore(word, "no adapter is named")
            return
        if not isinstance(asked, list) or not all(isinstance(one, Mapping) for one in asked):
            return  # what is wrong with it the schema says
        if all("weight" in one for one in asked):
            reading.ignore(word, "each adapter has a weight of its own")
            return
        reading.agree(word)
        reading.input[str(ours)] = [{**one, "weight": one.get("weight", value)} for one in asked]
        reading.names[f"{ours}[].weight"] = word


@dataclass(frozen=True, slots=True)
class Table:
    """The words of one dialect. `casts`: numbers and truths come as text, as forms send them."""

    rules: Mapping[str, Rule]
    extras: Extras = Extras.IGNORED
    casts: bool = False


def translate(table: Table, task: str, input_schema: Schema, given: Given) -> Translated:
    """What a caller says in the words of `table`, in those of an endpoint for `task`.

    Whether the values are allowed is for the schema to say, but for sizes and lengths, which are chosen here. Raises
    InvalidInput, which names the caller's words, for what cannot be honoured.
    """
    reading = Reading(task, input_schema, given)
    ruled: list[tuple[int, str, Rule]] = []
    for word, value in given.items():
        if word in reading.fields:
            one = reading.fields[word]
            _put_shaped(reading, word, word, spelled(table.rules.get(word), one, value))
        elif value is None:
            continue
        elif word in table.rules:
            ruled.append((table.rules[word].rank, word, table.rules[word]))
        elif table.extras is Extras.REFUSED:
            allowed = sorted({*reading.fields, *table.rules})
            reading.errors.append(FieldError(_told(word), "unknown", "is not a field of this model", allowed))
        else:
            reading.ignore(_told(word), "this model knows no such field")
    for _, word, rule in sorted(ruled, key=lambda one: one[0]):
        rule.read(reading, word, given[word])
        if word not in reading.heard:
            reading.ignore(word, "counts for nothing beside what else was said")
    if table.casts:
        reading.input = {name: cast(reading.fields[name], one) for name, one in reading.input.items()}
    if reading.errors:
        raise InvalidInput(reading.errors)
    return Translated(reading.input, _told_of(reading.ignored), _default_names(table, reading))


def _told_of(ignored: list[Ignored]) -> list[Ignored]:
    """As many as are told of; how many more there are is told, too."""
    if len(ignored) <= MAX_IGNORED:
        return ignored
    more = len(ignored) - MAX_IGNORED + 1
    return [*ignored[: MAX_IGNORED - 1], Ignored("…", f"{more} more words count for nothing")]


def spelled(rule: Rule | None, one: Schema, value: Any) -> Any:
    """A choice that the protocol calls differently, as the field calls it: `jpg` for `jpeg`."""
    if isinstance(rule, Alias) and isinstance(value, str) and value not in one.get("enum", [value]):
        return rule.values.get(value, value)
    return value


def _default_names(table: Table, reading: Reading) -> dict[str, str]:
    """Also what a field is called that was not given: an error may be about its being missing."""
    names = dict(reading.names)
    for word, rule in table.rules.items():
        if isinstance(rule, Alias):
            ours = next((name for name in rule.targets if name in reading.fields), None)
            if ours is not None and ours not in table.rules:
                names.setdefault(ours, word)
    return names


_INDEX = re.compile(r"\[\d+\]")


def theirs(names: Mapping[str, str], at: str) -> str:
    """A place in the input in the caller's words: `adapters[1].file` may be their `loras[1].path`."""
    general = _INDEX.sub("[]", at)
    indices = iter(_INDEX.findall(at))
    if general in names:
        return re.sub(r"\[\]", lambda _: next(indices, "[]"), names[general])
    head = re.match(r"[^.\[]*", at)
    assert head is not None
    return names.get(head[0], head[0]) + at[head.end() :]


def cast(one: Schema, value: Any) -> Any:
    """Text as the number or truth that the field takes, where it spells one."""
    if not isinstance(value, str):
        return value
    text, kind = value.strip(), one.get("type")
    if kind == "boolean" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind == "integer" and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if kind in {"number", "integer"} and re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", text):
        return float(text)
    return value


def _told(word: object) -> str:
    """A word that nobody knows, as it is told of: forms and queries may hold what the database cannot."""
    return str(word)[:64].replace("\0", "\ufffd")


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "…"
