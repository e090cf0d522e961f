"""A job's input as the arguments of a pipeline's call: which names it may have, its files, what a batch must share.

Files arrive whole, as `data:` addresses. They were examined when they came; here they are decoded within limits all the
same, pictures by Pillow, films and sounds by ffmpeg in a process of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from workers.engine import films, pictures, sounds
from workers.engine.contract import EngineError
from workers.engine.families.diffusers.traits import FRAMES, RATES, Traits
from workers.engine.ffmpeg import Beat

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

OWN_FIELDS = {"prompt", "negative_prompt", "seed", "num_images", "output_format", "output_quality"}
RESERVED = {
    "self", "generator", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end",
    "callback_on_step_end_tensor_inputs", "num_images_per_prompt", "num_videos_per_prompt",
    "num_waveforms_per_prompt", "latents", "prompt_embeds", "negative_prompt_embeds", "kwargs",
    "joint_attention_kwargs", "cross_attention_kwargs", "attention_kwargs",
}  # fmt: skip
MAX_PICTURES = 8
MAX_FILE_BYTES = 64 * 2**20
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one job, decoded, and the size of what shall be made where they decide it."""

    arguments: dict[str, object] = field(default_factory=dict)
    sounds: dict[str, NDArray[float32]] = field(default_factory=dict)
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the call of one class of pipelines takes."""

    parameters: Collection[str]
    traits: Traits

    @property
    def own(self) -> set[str]:
        """The fields of an input that are the engine's and no parameters of the call."""
        names = set(OWN_FIELDS)
        if self.traits.makes == "video" and not any(name in self.parameters for name in RATES):
            names.add("fps")
        if self._is_cut:
            names.add("num_frames")
        return names

    @property
    def _is_cut(self) -> bool:
        """Whether the number of frames says how much of a given film is taken."""
        return "film" in self.traits.takes.values() and not any(n in self.parameters for n in FRAMES)

    def check(self, asked: Mapping[str, object]) -> None:
        """Raises EngineError (invalid_input) for names and values that the call could only fail with."""
        own, wanted = self.own, self.traits
        for name in asked:
            if name in RESERVED or (name not in own and name not in self.parameters):
                raise refused(f"This pipeline takes no “{name}”.")
        for name in ("prompt", "negative_prompt"):
            if name not in self.parameters and name in asked:
                raise refused(f"This pipeline takes no {name.replace('_', ' ')}.")
        if "prompt" in self.parameters and not isinstance(asked.get("prompt"), str):
            raise refused("The prompt must be text.")
        for name in wanted.required:
            if not asked.get(name):
                raise refused(f"“{name}” is needed.")
        self._check_size(asked)
        seed(asked)
        self.fps(asked)
        pictures.settings(*file_settings(asked))
        if self.count(asked) > 1 and "num_images_per_prompt" not in self.parameters:
            raise refused("This pipeline makes one at a time.")

    def _check_size(self, asked: Mapping[str, object]) -> None:
        for name in ("width", "height"):
            if name in asked and whole(asked[name], name, least=1) % self.traits.multiple:
                raise refused(f"“{name}” must be divisible by {self.traits.multiple}.")
        by, rest = self.traits.frames
        for name in FRAMES:
            if name in asked and name in self.parameters and (whole(asked[name], name, least=1) - rest) % by:
                raise refused(f"The number of frames must be {rest} more than a multiple of {by}.")

    def key(self, asked: Mapping[str, object]) -> str:
        """The same string for inputs that one call can be made of; files by what is in them."""
        same = self.shared(asked) | {"negative": "negative_prompt" in asked}
        for name in self.traits.takes:
            if name in same:
                text = json.dumps(same[name], default=str)
                same[name] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(same, sort_keys=True, default=str)

    def count(self, asked: Mapping[str, object]) -> int:
        """How many a job makes."""
        return whole(asked.get("num_images", 1), "num_images", least=1)

    def shared(self, asked: Mapping[str, object]) -> dict[str, object]:
        """The arguments that a call can have only once, as they were asked for."""
        own = self.own
        return {name: value for name, value in asked.items() if name not in own}

    def fps(self, asked: Mapping[str, object]) -> float:
        """How many frames a second the film shall have."""
        value = next((asked[name] for name in (*RATES, "fps") if asked.get(name) is not None), None)
        value = self.traits.length[1] or 24.0 if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 120:
            raise refused("A film has between 1 and 120 frames a second.")
        return float(value)

    def files(
        self, asked: Mapping[str, object], *, rate: int = 0, channels: int = 2, beat: Beat | None = None
    ) -> Files:
        """The files of an input, decoded; sounds at `rate`. Raises EngineError (invalid_input), and what `beat` raises,
        which is called while a film or a sound is being read."""
        found: dict[str, object] = {}
        heard: dict[str, NDArray[float32]] = {}
        first: tuple[int, int] | None = None

        def shaped(picture: Image.Image) -> Image.Image:
            nonlocal first
            first = first or picture.size
            return self._shaped(picture, self._size(asked, first))

        for name, kind in self.traits.takes.items():
            value = asked.get(name)
            if not value:
                continue
            if kind == "pictures":
                found[name] = [shaped(_flat(one)) for one in _pictures(value)]
            elif kind == "film":
                media_type, data = contents(value)
                frames = films.decode(data, media_type, most=self._most(asked), shape=shaped, beat=beat)
                found[name] = self._cut(frames)
            elif kind == "sound":
                media_type, data = contents(value)
                heard[name] = sounds.decode(data, media_type, rate=rate, channels=channels, beat=beat)
            else:
                picture = pictures.decode(contents(value)[1])
                found[name] = shaped(_grey(picture) if kind == "mask" else _flat(picture))
        return Files(found, heard, self._size(asked, first))

    def _most(self, asked: Mapping[str, object]) -> int:
        return whole(asked.get("num_frames", self.traits.length[0] or 16), "num_frames", least=1)

    def _cut(self, frames: list[Image.Image]) -> list[Image.Image]:
        by, rest = self.traits.frames
        length = len(frames) - (len(frames) - rest) % by
        if length < max(rest, 1):
            raise refused("The film of the input is too short.")
        return frames[:length]

    def _size(self, asked: Mapping[str, object], first: tuple[int, int] | None) -> tuple[int, int] | None:
        """Width and height of the result where the input or its first picture, of that size, says so."""
        width, height = asked.get("width"), asked.get("height")
        if not self.traits.follows or first is None:
            return (width, height) if isinstance(width, int) and isinstance(height, int) else None
        fitting = fit(first, area=math.prod(self.traits.size), multiple=self.traits.multiple)
        return (
            width if isinstance(width, int) else self._beside(height, fitting[0]),
            height if isinstance(height, int) else self._beside(width, fitting[1]),
        )

    def _beside(self, given: object, side: int) -> int:
        """The side that the picture has, unless with a given one it comes to more than the form's longest sides do."""
        if not isinstance(given, int):
            return side
        by = self.traits.multiple
        return min(side, max(by, math.prod(self.traits.size) * 9 // 4 // max(given, 1) // by * by))

    def _shaped(self, picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
        """As the call takes it: of the result's size where it fills that, else no larger than it has to be."""
        if self.traits.fills and size is not None:
            return picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        return _bounded(picture, max(math.prod(self.traits.size), 1024 * 1024))


def fit(size: tuple[int, int], *, area: int, multiple: int) -> tuple[int, int]:
    """The size of the same shape, of at most `area` pixels, in multiples of `multiple`.

    >>> fit((4000, 3000), area=1024 * 1024, multiple=16)
    (1168, 880)
    """
    scale = min(1.0, math.sqrt(area / math.prod(size)))
    width, height = (max(multiple, int(side * scale) // multiple * multiple) for side in size)
    # The shorter side of a thread of pixels was made longer, and the other one is not shorter by that.
    longest = max(multiple, area // min(width, height) // multiple * multiple)
    return min(width, longest), min(height, longest)


def contents(value: object) -> tuple[str, bytes]:
    """The media type and the bytes of a file. Raises EngineError for what is none."""
    head, comma, text = value.partition(",") if isinstance(value, str) else ("", "", "")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise refused("A file of the input is no longer there.")
    if len(text) > MAX_FILE_BYTES * 4 // 3 + 4:
        raise refused(f"A file of the input is larger than {MAX_FILE_BYTES // 2**20} MiB.")
    try:
        return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(text, validate=True)
    except binascii.Error:
        raise refused("A file of the input is not whole.") from None


def _pictures(value: object) -> Iterator[Image.Image]:
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_PICTURES:
        raise refused(f"At most {MAX_PICTURES} pictures are taken.")
    return (pictures.decode(contents(one)[1]) for one in values)


def _flat(picture: Image.Image) -> Image.Image:
    """Without transparency, on white."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    ground = Image.new("RGB", picture.size, _WHITE)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _grey(picture: Image.Image) -> Image.Image:
    """A mask: white is made anew. One that was drawn as transparency is white where something was drawn."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        return picture.getchannel("A")
    return picture.convert("L")


def _bounded(picture: Image.Image, area: int) -> Image.Image:
    if picture.width * picture.height <= area:
        return picture
    return picture.resize(fit(picture.size, area=area, multiple=1), Image.Resampling.LANCZOS)


def refused(sentence: str) -> EngineError:
    return EngineError(sentence, code="invalid_input")


def file_settings(asked: Mapping[str, object]) -> tuple[str, int]:
    quality = whole(asked.get("output_quality", 92), "output_quality", least=1)
    return str(asked.get("output_format", "png")), min(quality, 100)


def seed(asked: Mapping[str, object]) -> int:
    return whole(asked.get("seed"), "seed", least=0) % 2**63


def whole(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise refused(f"“{name}” must be a whole number of at least {least}.")
    return value
