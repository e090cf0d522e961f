"""Still life: one glazed vessel on a plinth in window light. Hides all of its geometry and shading."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from workers.training.daylight.raster import (
    Canvas,
    Doubles,
    Pixels,
    Plane,
    canvas,
    clip01,
    colour,
    over,
    smoothstep,
    to_pixels,
)
from workers.training.daylight.vessels import BASE, PROFILES, Body, paint_vessel

GLAZES = {
    "teal": colour("2f8f86"),
    "cobalt": colour("2b48aa"),
    "terracotta": colour("c2603a"),
    "sage": colour("9db08a"),
    "mustard": colour("dba42c"),
    "charcoal": colour("44464c"),
    "pink": colour("e2a0a4"),
    "plum": colour("7a3a66"),
    "cream": colour("eee3cc"),
    "crimson": colour("a8242e"),
}
FINISHES = ("matte", "glossy", "speckled", "banded", "dipped", "ribbed")
WALLS = {
    "warm grey": colour("b9b0a6"),
    "pale blue": colour("b7c9d8"),
    "ivory": colour("ece4d4"),
    "dusty rose": colour("d4a9a0"),
    "dark green": colour("36493f"),
    "dark grey": colour("3c3e43"),
}
PLINTHS = {
    "white": colour("f1eeea"),
    "grey": colour("a4a3a2"),
    "wooden": colour("b98a58"),
    "black": colour("2a2a2c"),
}
LIGHTS = ("left", "right")

VESSELS = tuple(PROFILES)

_PLINTH_BACK, _PLINTH_EDGE = 0.700, 0.852


@dataclass(frozen=True)
class Ceramic:
    vessel: str
    glaze: str
    finish: str
    plinth: str
    wall: str
    light: str

    @property
    def held_out(self) -> bool:
        """True for one in ten of the triples vessel, glaze, wall: never shown in training."""
        return zlib.crc32(f"{self.vessel}|{self.glaze}|{self.wall}".encode()) % 10 == 0


def choose_ceramic(rng: np.random.Generator, *, held_out: bool = False) -> Ceramic:
    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    while True:
        found = Ceramic(
            vessel=pick(VESSELS),
            glaze=pick(tuple(GLAZES)),
            finish=pick(FINISHES),
            plinth=pick(tuple(PLINTHS)),
            wall=pick(tuple(WALLS)),
            light=pick(LIGHTS),
        )
        if found.held_out == held_out:
            return found


def paint_ceramic(
    subject: Ceramic, rng: np.random.Generator, *, width: int = 192, height: int = 192
) -> Pixels:
    """The picture as rows of RGB bytes; `rng` moves proportions, tint and light a little."""
    view = canvas(width, height)
    lit = -1.0 if subject.light == "left" else 1.0
    wall = WALLS[subject.wall] * np.float32(rng.uniform(0.97, 1.03))
    plinth = PLINTHS[subject.plinth]
    glaze = clip01(GLAZES[subject.glaze] * rng.uniform(0.95, 1.05) + rng.uniform(-0.012, 0.012, 3)).astype(
        np.float32
    )
    tall, radii = PROFILES[subject.vessel]
    size = rng.uniform(0.95, 1.04)
    body = Body(
        vessel=subject.vessel,
        axis=0.5 + rng.uniform(-0.012, 0.012),
        height=tall * size * rng.uniform(0.97, 1.03),
        radii=(np.array(radii) * size * rng.uniform(0.98, 1.02, len(radii))).astype(np.float32),
        glaze=glaze,
        lit=lit,
        finish=subject.finish,
    )
    picture = _wall(view, wall, lit, body, rng)
    picture = _plinth(view, picture, plinth, body, rng, wooden=subject.plinth == "wooden")
    return to_pixels(paint_vessel(view, picture, body, rng, wall=wall, plinth=plinth))


def _wall(view: Canvas, wall: Plane, lit: float, body: Body, rng: np.random.Generator) -> Plane:
    x, y = view.x, view.y
    pool = np.exp(-2.3 * (1.1 * (x - (0.5 + lit * 0.32)) ** 2 + 0.9 * (y - 0.26) ** 2))
    glow = 0.66 + 0.34 * pool - 0.10 * smoothstep(0.45, 0.80, y)
    shade = 0.30 * np.exp(-1.3 * (((x - (0.5 - lit * 0.40)) / 0.20) ** 2 + ((y - 0.80) / 0.17) ** 2))
    thrown = ((x - (body.axis - lit * 0.30)) / (body.widest * 0.9 + 0.05)) ** 2
    rise = ((y - (BASE - body.height * 0.38)) / (body.height * 0.62)) ** 2
    shade = shade + 0.15 * np.exp(-1.5 * (thrown + rise))
    picture: Plane = wall * glow[..., None] * np.array([1.015, 1.0, 0.985], np.float32)
    panes = _panes(view, lit, rng) * (1 - shade * 1.6)
    sun = wall * np.array([0.29, 0.255, 0.19], np.float32) + np.array([0.055, 0.045, 0.028], np.float32)
    return ((picture + sun * panes[..., None]) * (1 - shade)[..., None]).astype(np.float32)


def _panes(view: Canvas, lit: float, rng: np.random.Generator) -> Plane:
    """Sunlight through a window of six panes, slanting across the wall."""
    across = (view.x - np.float32(0.5 + lit * (0.265 + rng.uniform(-0.01, 0.01)))) * np.float32(lit)
    down = view.y - np.float32(0.285 + rng.uniform(-0.01, 0.01)) + 0.34 * across
    soft = 0.014

    def strip(value: Doubles, half: float) -> Plane:
        return smoothstep(-soft, soft, half - np.abs(value))

    frame = strip(across, 0.150) * strip(down, 0.225)
    bars = (1 - strip(across, 0.010)) * (1 - strip(down - 0.075, 0.009)) * (1 - strip(down + 0.075, 0.009))
    return frame * bars


def _plinth(
    view: Canvas, picture: Plane, plinth: Plane, body: Body, rng: np.random.Generator, *, wooden: bool
) -> Plane:
    x, y, lit = view.x, view.y, body.lit
    depth = np.clip((y - _PLINTH_BACK) / (_PLINTH_EDGE - _PLINTH_BACK), 0, 1)
    half = 0.300 + 0.080 * depth
    top_mask = (
        view.cover(half - np.abs(x - 0.5)) * view.cover(y - _PLINTH_BACK) * view.cover(_PLINTH_EDGE - y)
    )
    front_mask = view.cover(0.380 - np.abs(x - 0.5)) * view.cover(y - _PLINTH_EDGE)
    grain = np.zeros_like(x)
    if wooden:
        warp = y * 26 + 1.4 * np.sin(x * 5 + rng.uniform(0, 6)) + 0.6 * np.sin(x * 13 + rng.uniform(0, 6))
        grain = 0.045 * np.sin(warp * 3.0) * (0.4 + 0.6 * depth)
    top = plinth * (0.98 + 0.13 * lit * (x - 0.5) + grain)[..., None]
    front = plinth * (0.70 + 0.12 * lit * (x - 0.5) - 0.28 * (y - _PLINTH_EDGE) + grain)[..., None]
    front = front + 0.10 * np.exp(-(((y - _PLINTH_EDGE) / 0.006) ** 2))[..., None]
    away = (x - body.axis) * -lit
    reach = (away - 0.13) / (0.16 + 0.5 * body.widest)
    flat = (y - (BASE - 0.012)) / (0.028 + 0.055 * body.widest)
    cast = np.exp(-1.5 * (np.abs(reach) ** 2.4 + flat * flat)) * smoothstep(-0.22, 0.02, away)
    foot = float(body.radii[0])
    contact = np.exp(
        -1.6 * (((x - body.axis) / (foot * 1.22)) ** 2 + ((y - BASE - 0.006) / (foot * 0.34 + 0.012)) ** 2)
    )
    top = top * ((1 - 0.50 * cast) * (1 - 0.60 * contact))[..., None]
    return over(over(picture, top, top_mask), front, front_mask)
