"""The words that a model knows, where its manifest lists them: prompt chips, examples, and what lies outside."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_OTHER_KEYS = {"examples", "understood", "note"}
MAX_UNKNOWN_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Group:
    """The values of one attribute: at most one of them belongs into a prompt."""

    key: str
    label: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """Attributes that are used together."""

    label: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All that a model knows to name."""

    topics: tuple[Topic, ...]
    examples: tuple[str, ...]
    understood: frozenset[str]

    def unknown(self, prompt: str) -> list[str]:
        """The words of `prompt` that the model never learned, each once, in order."""
        said = dict.fromkeys(word.lower() for word in _WORD.findall(prompt))
        return [word for word in said if word not in self.understood]


def vocabulary(manifest: Mapping[str, Any]) -> Vocabulary | None:
    """The vocabulary in a manifest; None for models that list none and so take any words.

    `words` holds topics (name -> attribute -> values), `examples` (prompts) and `understood` (single words).
    """
    words = manifest.get("words")
    if not isinstance(words, Mapping):
        return None
    topics = tuple(
        topic
        for name, attributes in words.items()
        if name not in _OTHER_KEYS and isinstance(attributes, Mapping)
        if (topic := _topic(str(name), attributes)).groups
    )
    examples = _texts(words.get("examples"))
    topics = tuple(_in_order(topic, examples) for topic in topics)
    understood = {word.lower() for text in _texts(words.get("understood")) for word in _WORD.findall(text)}
    for topic in topics:
        for group in topic.groups:
            understood |= {word.lower() for text in group.words for word in _WORD.findall(text)}
    if not topics and not examples:
        return None
    return Vocabulary(topics, examples, frozenset(understood) if topics else frozenset())


def _topic(name: str, attributes: Mapping[str, Any]) -> Topic:
    groups = tuple(
        Group(f"{name}.{key}", _label(str(key)), texts)
        for key, values in attributes.items()
        if (texts := _texts(values))
    )
    return Topic(_label(name), groups)


def _in_order(topic: Topic, examples: Iterable[str]) -> Topic:
    """The topic's attributes as the examples say them; the database keeps no order of keys."""

    def place(group: Group) -> float:
        found = [
            at / len(example)
            for example in examples
            for word in group.words
            if (at := f" {example} ".replace(",", " ,").find(f" {word} ")) >= 0
        ]
        return sum(found) / len(found) if found else 1.0

    return Topic(topic.label, tuple(sorted(topic.groups, key=place)))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str) and one) if isinstance(value, list) else ()


@functools.cache
def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
