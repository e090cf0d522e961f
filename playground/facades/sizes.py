"""How large and how long: words for sizes, shapes and seconds, to what an endpoint's schema allows.

A size that is asked for to the pixel must be allowed to the pixel. A shape (a ratio, or a preset's name) takes the
nearest allowed size of exactly that shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd
from typing import Any

from marketplace.schema import Schema
from playground.facades.words import Reading, without

Pair = tuple[int, int]

_SIZE = re.compile(r"\s*(\d{1,5})\s*[x×*]\s*(\d{1,5})\s*", re.IGNORECASE)
_RATIO = re.compile(r"\s*(\d{1,4})\s*[:/]\s*(\d{1,4})\s*")
_SECONDS = re.compile(r"\s*(\d{1,5}(?:\.\d{1,6})?)\s*(?:s|sec|seconds)?\s*", re.IGNORECASE)
LARGEST = 16_384  # px of a side, where the schema names no maximum
MAX_LISTED = 24
LEAST_RATE, MOST_RATE = 0.001, 1_000_000  # frames a second, with which it can be reckoned
COMMON_RATIOS = (
    *((1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (9, 16), (5, 4), (4, 5), (2, 1), (1, 2)),
    *((21, 9), (9, 21)),
)
PRESETS: Mapping[str, Pair] = {  # fal's names
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


@dataclass(frozen=True, slots=True)
class Size:
    """`"1024x768"`, `{"width", "height"}`, a preset's name, or `auto` for the model's own size."""

    presets: Mapping[str, Pair] = field(default_factory=lambda: PRESETS)
    rank: int = 1

    def read(self, reading: Reading, word: str, value: Any) -> None:
        if isinstance(value, str) and value.strip().lower() == "auto":
            reading.agree(word)
            return
        sides = _Sides.of(reading)
        if sides is None:
            without(reading, word, value, (), matters=True)
            return
        if isinstance(value, str) and value in self.presets:
            wanted = self.presets[value]
            found = wanted if sides.allow(wanted) else sides.nearest(wanted, wanted[0] * wanted[1])
            if found is not None and found != wanted:
                reading.ignore(
                    word, f"{value} is {_said(wanted)}; of that shape this model makes {_said(found)}"
                )
        else:
            wanted_size = _pair(value)
            if wanted_size is None:
                allowed = ["auto", *self.presets, *sides.listed()]
                reading.refuse(word, "is no size: say auto, a width x height, or a preset", allowed)
                return
            wanted, found = wanted_size, wanted_size if sides.allow(wanted_size) else None
        if found is None:
            reading.refuse(word, f"cannot be {_said(wanted)} with this model", sides.listed())
            return
        sides.put(reading, word, found)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`"16:9"`: the nearest allowed size of exactly that shape; nearest to `megapixels`, or to the model's own size.

    `custom` leaves the size to `width` and `height`.
    """

    area: str = "megapixels"
    rank: int = 1

    def read(self, reading: Reading, word: str, value: Any) -> None:
        if isinstance(value, str) and value.strip().lower() in {"auto", "custom"}:
            reading.agree(word)
            return
        sides = _Sides.of(reading)
        if sides is None:
            without(reading, word, value, (), matters=True)
            return
        found = _RATIO.fullmatch(value) if isinstance(value, str) else None
        shape = (int(found[1]), int(found[2])) if found is not None else (0, 0)
        if not all(shape):
            reading.refuse(word, "is no ratio like 16:9 that this model can take", sides.ratios())
            return
        pair = sides.nearest(shape, _area(reading.given.get(self.area)) or sides.area())
        if pair is None:
            reading.refuse(word, f"cannot be {value.strip()} with this model", sides.ratios())
            return
        sides.put(reading, word, pair)


@dataclass(frozen=True, slots=True)
class Megapixels:
    """How many million pixels: beside a ratio the one near to that is chosen; alone, the model's own shape.

    What comes out as less than half of that, or more than twice, is told.
    """

    rank: int = 2

    def read(self, reading: Reading, word: str, value: Any) -> None:
        sides = _Sides.of(reading)
        area = _area(value)
        if sides is None or area is None:
            without(reading, word, value, (), matters=area is not None)
            return
        if not set(sides.names) & set(reading.input):
            pair = sides.nearest(sides.own(), area)
            if pair is None:
                reading.refuse(word, "cannot be set with this model", sides.listed())
                return
            sides.put(reading, word, pair)
        found = sides.found(reading)
        if found is None:
            return  # what is wrong with it the schema says
        if area / 2 <= found[0] * found[1] <= area * 2:
            reading.agree(word)
        else:
            reading.ignore(word, f"what is made is {_said(found)}")


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long: a number of seconds, as number or text, in frames over frames a second."""

    rank: int = 1

    def read(self, reading: Reading, word: str, value: Any) -> None:
        seconds = _seconds(value)
        frames, pace = reading.measuring("frame", "num_frames"), reading.measuring("fps", "fps", "frame_rate")
        lasts = reading.measuring("second", "duration", "seconds")
        if seconds is None:
            if isinstance(value, str) and value.strip().lower() == "auto":
                reading.agree(word)
            else:
                reading.refuse(word, "is no number of seconds")
        elif lasts is not None and frames is None:
            reading.put(lasts, word, int(seconds) if seconds.is_integer() else seconds)
        elif frames is None or pace is None:
            without(reading, word, value, (), matters=True)
        else:
            self._in_frames(reading, word, seconds, frames, pace)

    def _in_frames(self, reading: Reading, word: str, seconds: float, frames: str, pace: str) -> None:
        one = reading.fields[frames]
        rate = reading.value(pace)
        if rate is None:
            reading.refuse(word, f"cannot be told in frames without {pace}")
            return
        if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
            return  # what is wrong with it the schema says
        if not LEAST_RATE <= rate <= MOST_RATE:
            reading.refuse(word, f"cannot be told in frames at such a {pace}")
            return
        counts = list(_values(one))
        wanted = round(seconds * rate)
        nearest = min(counts, key=lambda count: (abs(count - wanted), count), default=None)
        stride = max((b - a for a, b in pairwise(counts)), default=1)
        if nearest is None or abs(nearest - wanted) > stride:
            span = [round(counts[0] / rate, 2), round(counts[-1] / rate, 2)] if counts else []
            reading.refuse(
                word,
                f"cannot be {seconds:g} s with this model: {span[0]:g} to {span[-1]:g} s"
                if span
                else "cannot be set",
                {"minimum": span[0], "maximum": span[-1]} if span else None,
            )
            return
        reading.put(frames, word, nearest)


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two fields that say how large a picture is."""

    names: tuple[str, str]
    width: Schema
    height: Schema

    @classmethod
    def of(cls, reading: Reading) -> _Sides | None:
        across, up = reading.measuring("width", "width"), reading.measuring("height", "height")
        if across is None or up is None:
            return None
        sides = reading.fields[across], reading.fields[up]
        if any(one.get("type") not in {"integer", "number"} for one in sides):
            return None
        return cls((across, up), *sides)

    def put(self, reading: Reading, word: str, pair: Pair) -> None:
        before = len(reading.errors)
        for name, side in zip(self.names, pair, strict=True):
            if len(reading.errors) == before:
                reading.put(name, word, side)

    def found(self, reading: Reading) -> Pair | None:
        """The size as it is by now; None where what was said is no size."""
        said = [reading.value(name) for name in self.names]
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in said):
            return None
        return said[0], said[1]

    def allow(self, pair: Pair) -> bool:
        return _allows(self.width, pair[0]) and _allows(self.height, pair[1])

    def own(self) -> Pair:
        """The size without a word about it."""
        return int(self.width.get("default") or 1), int(self.height.get("default") or 1)

    def area(self) -> int:
        across, up = self.own()
        return across * up

    def nearest(self, shape: Pair, area: int) -> Pair | None:
        """The allowed size of exactly this shape whose area is nearest to `area`."""
        part = gcd(*shape)
        across, up = shape[0] // part, shape[1] // part
        most = min(_maximum(self.width) // across, _maximum(self.height) // up)
        sized = ((across * k, up * k) for k in range(1, most + 1))
        return min(filter(self.allow, sized), key=lambda pair: abs(pair[0] * pair[1] - area), default=None)

    def listed(self) -> list[str]:
        """What sizes there are: all of them, or those of the common shapes that are nearest to the model's own."""
        if "enum" in self.width and "enum" in self.height:
            pairs = [(w, h) for w in self.width["enum"] for h in self.height["enum"] if self.allow((w, h))]
        else:
            near = (self.nearest(shape, self.area()) for shape in COMMON_RATIOS)
            pairs = [pair for pair in near if pair is not None]
        return [f"{w}x{h}" for w, h in pairs[:MAX_LISTED]]

    def ratios(self) -> list[str]:
        return [f"{a}:{b}" for a, b in COMMON_RATIOS if self.nearest((a, b), self.area()) is not None]


def _allows(one: Schema, side: int) -> bool:
    if "enum" in one:
        return side in one["enum"]
    within = one.get("minimum", 1) <= side <= one.get("maximum", LARGEST)
    return bool(within and side % one.get("multipleOf", 1) == 0)


def _maximum(one: Schema) -> int:
    return min(LARGEST, int(max(one["enum"]) if "enum" in one else one.get("maximum", LARGEST)))


def _values(one: Schema) -> Iterator[int]:
    """The whole numbers that a field allows, in order."""
    if "enum" in one:
        yield from sorted(one["enum"])
        return
    for number in range(max(1, int(one.get("minimum", 1))), _maximum(one) + 1):
        if number % one.get("multipleOf", 1) == 0:
            yield number


def _pair(value: Any) -> Pair | None:
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        return (int(found[1]), int(found[2])) if found is not None else None
    if isinstance(value, Mapping) and set(value) == {"width", "height"}:
        across, up = value["width"], value["height"]
        if all(isinstance(side, int) and not isinstance(side, bool) for side in (across, up)):
            return across, up
    return None


def _area(value: Any) -> int | None:
    """Pixels of a number of megapixels, as number or text (`1`, `"0.25"`)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        pixels = float(value) * 1_000_000
    except (ValueError, OverflowError):
        return None
    return round(pixels) if 0 < pixels <= LARGEST**2 else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        found = _SECONDS.fullmatch(value)
        return float(found[1]) if found is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < 100_000 else None


def _said(pair: Pair) -> str:
    return f"{pair[0]} × {pair[1]}"
