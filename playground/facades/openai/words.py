"""The words of the OpenAI API for pictures, films and speech."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from playground.facades.sizes import Size
from playground.facades.vocabulary import IMAGE, SHARED, VIDEO
from playground.facades.words import Alias, Extras, File, Only, Reading, Rule, Table

NO_SIZES: Mapping[str, tuple[int, int]] = {}  # sizes have no names here


@dataclass(frozen=True, slots=True)
class Reference:
    """What a film begins with: a picture, or a film where the model takes no picture."""

    picture: File = field(default_factory=lambda: File("image/*", IMAGE))
    film: File = field(default_factory=lambda: File("video/*", VIDEO))
    rank: int = 0

    def read(self, reading: Reading, word: str, value: Any) -> None:
        is_film = isinstance(value, str) and value.startswith("data:video/")
        (self.film if is_film or self.picture._field(reading) is None else self.picture).read(
            reading, word, value
        )


_NOBODY = "nobody is told apart by it here"
_RULES: Mapping[str, Rule] = {
    **SHARED,
    # Pictures
    "size": Size(presets=NO_SIZES),
    "output_format": Alias(("format",), neutral=("png",), matters=True),
    "output_compression": Alias(("output_quality",), neutral=(100,), matters=True),
    "quality": Only(("auto", "standard")),
    "background": Only(("auto", "opaque")),
    "style": Only(("vivid",)),
    "moderation": Only(("auto", "low")),
    "input_fidelity": Only(("low",)),
    **dict.fromkeys(("complexity", "frame_count", "frame_duration_ms", "svg", "markup"), Only()),
    # Films
    "input_reference": Reference(),
    # Speech
    "instructions": Alias((), matters=True),
    "response_format": Alias(("output_format", "format"), neutral=("wav",), matters=True),
    # All of them
    "user": Only(ignores=_NOBODY),
    "safety_identifier": Only(ignores=_NOBODY),
}

TABLE = Table(_RULES, extras=Extras.IGNORED, casts=True)
