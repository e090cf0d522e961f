"""The words of Hugging Face's inference endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playground.facades.huggingface.bodies import as_file
from playground.facades.sizes import Size
from playground.facades.vocabulary import AUDIO, COUNT, IMAGE, PROMPT, SHARED, VIDEO
from playground.facades.words import Alias, Extras, File, Only, Reading, Rule, Table

_FILES = {"image": IMAGE, "video": VIDEO, "audio": AUDIO}
_WORDS = Alias(PROMPT, matters=True)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What it is all about: a file, where the model takes one and this is one, else the words."""

    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        file = as_file(str(value)) if any(map(_takes_file, reading.fields.values())) else None
        if file is not None:
            kind = (
                file.removeprefix("data:").partition("/")[0] if file.startswith("data:") else _taken(reading)
            )
            File(f"{kind}/*", _FILES.get(kind, ())).read(reading, word, file)
        elif str(value).startswith("data:"):
            reading.refuse(word, "is a file, and this model takes words")
        else:
            _WORDS.read(reading, word, value)


def _taken(reading: Reading) -> str:
    """The kind of file that the model takes, of one that does not say what it is."""
    types = (
        str(kind)
        for one in reading.fields.values()
        for kind in one.get("x-media", one.get("items", {}).get("x-media", ()))
    )
    return next((kind.partition("/")[0] for kind in types if kind.partition("/")[0] in _FILES), "image")


def _takes_file(one: Mapping[str, Any]) -> bool:
    return "x-media" in one or "x-media" in one.get("items", {})


_RULES: Mapping[str, Rule] = {
    **SHARED,
    "inputs": Inputs(),
    "target_size": Size(presets={}),
    "num_images_per_prompt": Alias(COUNT, neutral=(1,), matters=True),
    "scheduler": Only(ignores="the model has its own"),
}

TABLE = Table(_RULES, extras=Extras.IGNORED)
