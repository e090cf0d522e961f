"""A family that makes what a test can look into: pictures that show what they were given, films, and tones.

The recipe's `weights` says which: `repaint` gives its picture back, with the mask's white painted in a colour of the
seed; `reel` is as long and as large as asked, and begins with its picture; `recut` gives its film back; `voice` sings
its text, a letter a tone. For tests only, as `faulty`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from workers.engine import films, sounds
from workers.engine.contract import Job, MediaOutput, Metrics, Outcome, Recipe
from workers.engine.families.testcard import TestCard, _number, _size
from workers.engine.machine import Machine

needs_weights = False
RATE = 8_000  # of a tone, in samples a second
TONE_SECONDS = 0.05


def check(recipe: Recipe, *, folder: Path, machine: Machine) -> None:
    """There is nothing that could fail."""


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> Studio:  # noqa: A001 - the verb of every family
    """A studio for one kind of thing."""
    return Studio(recipe["weights"])


class Studio(TestCard):
    """A test card in its steps and previews; what comes of them is made here."""

    def __init__(self, makes: str) -> None:
        super().__init__(previews=True)
        self._makes = makes

    def _outcome(self, job: Job, card: Image.Image, metrics: Metrics) -> Outcome:
        seed = _number(job.input, "seed", least=0)
        made = _MAKERS[self._makes](job.input, card, seed)
        return Outcome(job.id, "succeeded", (made,), metrics, seed)


def _picture(input: Mapping[str, object], name: str) -> Image.Image | None:
    value = input.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, str) or not value:
        return None
    return Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2]))).convert("RGB")


def _repainted(input: Mapping[str, object], card: Image.Image, seed: int) -> MediaOutput:
    picture = _picture(input, "image") or card
    mask = _picture(input, "mask_image")
    if mask is not None:
        picture.paste(card.getpixel((0, 0)), mask=mask.convert("L").resize(picture.size))
    form = str(input.get("output_format") or "png")
    out = io.BytesIO()
    picture.save(out, form.upper())
    meta = {"seed": seed, "encoder": {"format": form.upper()}}
    return MediaOutput(out.getvalue(), f"image/{form}", *picture.size, meta)


def _reel(input: Mapping[str, object], card: Image.Image, seed: int) -> MediaOutput:
    size, count = _size(input), _number(input, "num_frames", 8)
    still = np.asarray((_picture(input, "image") or card).resize(size))
    return films.encode(np.stack([still] * count), fps=_number(input, "fps", 8), seed=seed)


def _recut(input: Mapping[str, object], card: Image.Image, seed: int) -> MediaOutput:
    film = base64.b64decode(str(input["video"]).partition(",")[2])
    return MediaOutput(film, "video/mp4", *_size(input), {"seed": seed, "encoder": {"format": "MP4"}})


def _voice(input: Mapping[str, object], card: Image.Image, seed: int) -> MediaOutput:
    pitch = {"alto": 440.0, "bass": 110.0}[str(input.get("voice") or "alto")]
    times = np.arange(int(RATE * TONE_SECONDS)) / RATE
    tones = [np.sin(2 * np.pi * (pitch + ord(letter) % 32) * times) for letter in str(input["prompt"])]
    return sounds.encode(np.concatenate(tones)[None].astype(np.float32), rate=RATE, seed=seed)


_MAKERS = {"repaint": _repainted, "reel": _reel, "recut": _recut, "voice": _voice}
