"""An input in the words of another protocol: what its own users would write for the same run.

The facades translate those words to ours; this is the way back. A wording only proposes: it stands if the facade's own
table reads it as exactly the same input, and else the field keeps the name that the model gave it, which every protocol
takes as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from marketplace.schema import InvalidInput, Schema, adapter_field
from playground.facades.words import Reading, Table, translate

Words = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Words to be said in the place of these fields."""

    fields: Sequence[str]
    words: Mapping[str, Any]


class Wording(Protocol):
    """One word of a protocol, and what of an input it can say."""

    def propose(self, reading: Reading) -> Proposal | None:
        """Of `reading.given`, whose names are the model's; None where there is nothing to say."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """Another name for the first of these fields that the model has."""

    word: str
    of: Sequence[str]

    def propose(self, reading: Reading) -> Proposal | None:
        ours = next((name for name in self.of if name in reading.fields), None)
        if ours is None or ours not in reading.given:
            return None
        return Proposal((ours,), {self.word: reading.given[ours]})


@dataclass(frozen=True, slots=True)
class Filed:
    """Another name for a field that takes a file; `many` where it takes a list of them."""

    word: str
    of: Sequence[str]
    many: str = ""

    def propose(self, reading: Reading) -> Proposal | None:
        for ours in self.of:
            one = reading.fields.get(ours, {})
            takes_many = "x-media" in one.get("items", {})
            if ours in reading.given and (takes_many or "x-media" in one):
                word = self.many if takes_many and self.many else self.word
                return Proposal((ours,), {word: reading.given[ours]})
        return None


@dataclass(frozen=True, slots=True)
class Sized:
    """Width and height as one: `"1024x768"` as text, or an object of the two."""

    word: str
    is_text: bool = False

    def propose(self, reading: Reading) -> Proposal | None:
        sides = reading.measuring("width", "width"), reading.measuring("height", "height")
        fields = [name for name in sides if name is not None]
        if len(fields) < 2 or not set(fields) & set(reading.given):
            return None
        across, up = (reading.given.get(name, reading.fields[name].get("default")) for name in fields)
        size = f"{across}x{up}" if self.is_text else {"width": across, "height": up}
        return Proposal(fields, {self.word: size})


@dataclass(frozen=True, slots=True)
class Lasting:
    """Whole seconds, as text, in the place of frames; where the model has seconds, those."""

    word: str

    def propose(self, reading: Reading) -> Proposal | None:
        frames, pace = reading.measuring("frame", "num_frames"), reading.measuring("fps", "fps", "frame_rate")
        lasts = reading.measuring("second", "duration", "seconds")
        if frames is None and lasts is not None and lasts in reading.given:
            return Proposal((lasts,), {self.word: str(reading.given[lasts])})
        if frames is None or frames not in reading.given or pace is None:
            return None
        count, rate = reading.given[frames], reading.given.get(pace, reading.fields[pace].get("default"))
        if not all(isinstance(one, int) and one > 0 for one in (count, rate)) or count % rate:
            return None
        return Proposal((frames,), {self.word: str(count // rate)})


@dataclass(frozen=True, slots=True)
class Adapted:
    """A list of adapters, with other names for its file and how strongly it works."""

    word: str
    file: str
    weight: str

    def propose(self, reading: Reading) -> Proposal | None:
        ours = adapter_field(reading.schema)
        listed = reading.given.get(ours) if ours is not None else None
        if ours is None or not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            return None
        theirs = {"file": self.file, "weight": self.weight}
        return Proposal(
            (ours,), {self.word: [{theirs.get(name, name): it for name, it in one.items()} for one in listed]}
        )


def said(
    table: Table, wordings: Iterable[Wording], task: str, schema: Schema, values: Mapping[str, Any]
) -> Words:
    """`values`, whose names are the model's, in the words of a protocol whose facade has `table`."""
    words, meant = dict(values), _meaning(table, task, schema, values)
    for wording in wordings if meant is not None else ():
        proposal = wording.propose(Reading(task, schema, words))
        if proposal is None or proposal.words.items() <= words.items():
            continue
        attempt = _instead(words, proposal)
        if _meaning(table, task, schema, attempt) == meant:
            words = attempt
    return words


def _instead(words: Words, proposal: Proposal) -> Words:
    """The words of a proposal where the first of its fields stood."""
    found: Words = {}
    for name, value in words.items():
        if name not in proposal.fields:
            found.setdefault(name, value)
        else:
            found |= {word: one for word, one in proposal.words.items() if word not in found}
    return found


def _meaning(table: Table, task: str, schema: Schema, words: Mapping[str, Any]) -> tuple[Words, Any] | None:
    """What the facade makes of them: the input with its defaults, and what it ignores; None if it refuses them."""
    try:
        found = translate(table, task, schema, words)
    except InvalidInput:
        return None
    defaults = {
        name: one["default"] for name, one in schema.get("properties", {}).items() if "default" in one
    }
    return {**defaults, **found.input}, {one.field for one in found.ignored}
