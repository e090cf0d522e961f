"""Painting on float arrays: hides coordinates, antialiased edges and colour blending.

Lengths are in units of the picture's short side, so a painter written once draws any size and format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Doubles = Plane | NDArray[np.float64]  # what numpy's arithmetic hands on


@dataclass(frozen=True)
class Canvas:
    """Coordinates of every pixel's centre; the unit square of the composition sits in the middle."""

    x: Plane
    y: Plane
    short: int
    left: float
    top: float

    @property
    def width(self) -> int:
        return int(self.x.shape[1])

    @property
    def height(self) -> int:
        return int(self.x.shape[0])

    @property
    def span_x(self) -> float:
        return self.width / self.short

    @property
    def span_y(self) -> float:
        return self.height / self.short

    def cover(self, inside: Doubles) -> Plane:
        """Coverage of a pixel whose centre lies `inside` units within an edge (negative: outside)."""
        return clip01(inside * self.short + 0.5)


@lru_cache(maxsize=16)
def canvas(width: int, height: int) -> Canvas:
    short = min(width, height)
    left = -(width - short) / 2 / short
    top = -(height - short) * 0.6 / short
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x = ((columns + 0.5) / short + left).astype(np.float32)
    y = ((rows + 0.5) / short + top).astype(np.float32)
    return Canvas(x=x, y=y, short=short, left=left, top=top)


def colour(code: str) -> Plane:
    """Six hexadecimal digits as three floats from 0 to 1."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / np.float32(255)


def clip01(values: Doubles) -> Plane:
    clipped: Plane = np.clip(values, 0.0, 1.0).astype(np.float32, copy=False)
    return clipped


def smoothstep(low: float, high: float, values: Doubles) -> Plane:
    t = clip01((values - np.float32(low)) / np.float32(high - low))
    return t * t * (3 - 2 * t)


def over(base: Plane, paint: Plane, amount: Plane) -> Plane:
    """`paint` laid over `base`, by `amount` from 0 to 1 per pixel."""
    return base + (paint - base) * amount[..., None]


def spline(points: Plane, t: Plane) -> Plane:
    """Catmull-Rom curve through equally spaced `points`, read at `t` from 0 to 1."""
    last = len(points) - 1
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    padded = padded.astype(np.float32)
    place = np.clip(t, 0, 1) * last
    index = np.minimum(place.astype(np.int32), last - 1)
    f = (place - index).astype(np.float32)
    a, b, c, d = (padded[index + k] for k in range(4))
    value: Plane = 0.5 * (
        2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f * f + (3 * b - a - 3 * c + d) * f**3
    )
    return value.astype(np.float32)


def to_pixels(picture: Plane) -> Pixels:
    return (clip01(picture) * 255 + 0.5).astype(np.uint8)
