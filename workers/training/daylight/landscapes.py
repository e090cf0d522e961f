"""Haze-layered landscapes: a sky with sun or moon, and ridges, trees, dunes or water fading towards it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from workers.training.daylight.raster import Canvas, Pixels, Plane, canvas, clip01, colour, over, to_pixels


@dataclass(frozen=True)
class _Hour:
    """Colours of one time of day."""

    sky: Plane
    middle: Plane
    horizon: Plane
    far: Plane
    near: Plane
    light: Plane
    tint: float  # how bright the ground's own colour is


def _hour(codes: str, tint: float) -> _Hour:
    sky, middle, horizon, far, near, light = (colour(code) for code in codes.split())
    return _Hour(sky=sky, middle=middle, horizon=horizon, far=far, near=near, light=light, tint=tint)


_HOURS = {
    "dawn": _hour("8fa3cf d9b8cf fde0c4 c9a9c4 4a3a62 fff0d8", 0.9),
    "noon": _hour("3f86cf 86bde6 dcf0f8 a9cbdc 1f5560 ffffff", 1.05),
    "sunset": _hour("5b4a86 e07a56 ffc566 d98060 3c1d3a fff0b0", 0.85),
    "dusk": _hour("1f2457 5a4a90 c58aa8 7f6aa6 1a1638 ffdcc8", 0.45),
    "night": _hour("060a1e 101d40 27406c 2c4468 050a16 e8eefc", 0.22),
}
TIMES = tuple(_HOURS)
MISTS = ("clear", "misty")
DISCS = ("sun", "moon")
PLACES = ("left", "centre", "right")


@dataclass(frozen=True)
class _Terrain:
    """How the layers of one scene lie."""

    layers: int
    rough: float
    waves: float
    swing: float
    end: float  # the nearest layer's foot; for water: how far below the horizon the land ends
    ground: str = "000000"
    ground_share: float = 0.0
    water: bool = False


_TERRAINS = {
    "mountains": _Terrain(layers=5, rough=0.50, waves=2.2, swing=0.085, end=0.95),
    "lake": _Terrain(layers=3, rough=0.50, waves=2.4, swing=0.085, end=0.08, water=True),
    "sea": _Terrain(layers=0, rough=0.45, waves=2.2, swing=0.05, end=0.0, water=True),
    "islands": _Terrain(layers=4, rough=0.46, waves=1.0, swing=0.10, end=0.0, water=True),
    "desert": _Terrain(
        layers=4, rough=0.28, waves=1.5, swing=0.055, end=0.92, ground="d98a3c", ground_share=0.62
    ),
    "hills": _Terrain(
        layers=4, rough=0.30, waves=2.0, swing=0.055, end=0.92, ground="4f8a4a", ground_share=0.50
    ),
    "forest": _Terrain(
        layers=4, rough=0.34, waves=1.8, swing=0.05, end=0.93, ground="2f5f4a", ground_share=0.34
    ),
}
SCENES = tuple(_TERRAINS)


@dataclass(frozen=True)
class Landscape:
    scene: str
    time: str
    mist: str
    disc: str
    place: str

    @property
    def held_out(self) -> bool:
        """True for one in eight of the triples time, scene, place: never shown in training."""
        return zlib.crc32(f"{self.time}|{self.scene}|{self.place}".encode()) % 8 == 0


def choose_landscape(rng: np.random.Generator, *, held_out: bool = False) -> Landscape:
    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    while True:
        time = pick(TIMES)
        disc = "moon" if time == "night" else pick(DISCS) if time == "dusk" else "sun"
        found = Landscape(scene=pick(SCENES), time=time, mist=pick(MISTS), disc=disc, place=pick(PLACES))
        if found.held_out == held_out:
            return found


@dataclass(frozen=True)
class _Scene:
    """One landscape as it is drawn in this picture; heights as shares of the picture's height."""

    subject: Landscape
    view: Canvas
    hour: _Hour
    terrain: _Terrain
    down: Plane  # 0 at the top edge, 1 at the bottom
    horizon: float
    disc_x: float
    disc_y: float
    radius: float

    @property
    def haze(self) -> Plane:
        misty = self.subject.mist == "misty"
        mixed: Plane = self.hour.horizon * 0.6 + self.hour.light * 0.4 if misty else self.hour.horizon
        return mixed.astype(np.float32)


def paint_landscape(
    subject: Landscape, rng: np.random.Generator, *, width: int = 192, height: int = 192
) -> Pixels:
    """The picture as rows of RGB bytes; `rng` moves horizon, disc and ridges."""
    view = canvas(width, height)
    water = subject.scene in ("sea", "islands")
    horizon = rng.uniform(0.54, 0.61) if water else rng.uniform(0.50, 0.58)
    low = subject.time in ("dawn", "sunset", "dusk") and subject.disc == "sun"
    share = {"left": 0.24, "centre": 0.5, "right": 0.76}[subject.place] + rng.uniform(-0.035, 0.035)
    scene = _Scene(
        subject=subject,
        view=view,
        hour=_HOURS[subject.time],
        terrain=_TERRAINS[subject.scene],
        down=((view.y - view.top) / np.float32(view.span_y)).astype(np.float32),
        horizon=horizon,
        disc_x=view.left + share * view.span_x,
        disc_y=view.top
        + view.span_y * (horizon - rng.uniform(0.17, 0.22) if low else rng.uniform(0.15, 0.23)),
        radius=rng.uniform(0.042, 0.052),
    )
    picture = _sky(scene, rng)
    if subject.scene == "lake":  # the land first: it is what the water mirrors
        picture = _water(scene, _land(scene, picture, rng), horizon + scene.terrain.end + 0.035, rng)
    elif scene.terrain.water:
        picture = _land(scene, _water(scene, picture, horizon, rng), rng)
    else:
        picture = _land(scene, picture, rng)
    return to_pixels(picture)


def _sky(scene: _Scene, rng: np.random.Generator) -> Plane:
    view, hour, subject = scene.view, scene.hour, scene.subject
    t = np.clip(scene.down / scene.horizon, 0, 1)[..., None]
    upper = hour.sky + (hour.middle - hour.sky) * (t / 0.55)
    lower = hour.middle + (hour.horizon - hour.middle) * ((t - 0.55) / 0.45)
    picture: Plane = np.where(t < 0.55, upper, lower).astype(np.float32)
    distance = np.hypot(view.x - scene.disc_x, view.y - scene.disc_y)
    strength = 0.45 if subject.disc == "moon" else 0.7 if subject.time == "noon" else 0.9
    glow = (0.55 * np.exp(-distance / 0.11) + 0.35 * np.exp(-distance / 0.30)) * strength
    picture = over(picture, hour.light, clip01(glow))
    if subject.time == "night":
        picture = _stars(scene, picture, rng)
    face = np.broadcast_to(hour.light * np.float32(1.01), picture.shape)
    if subject.disc == "moon":
        face = np.broadcast_to(hour.light * 0.35 + colour("edf1fa") * 0.65, picture.shape)
        seas = 0.13 * np.exp(
            -(((view.x - scene.disc_x + 0.012) / 0.016) ** 2 + ((view.y - scene.disc_y + 0.006) / 0.02) ** 2)
        )
        seas = seas + 0.09 * np.exp(
            -(((view.x - scene.disc_x - 0.015) / 0.012) ** 2 + ((view.y - scene.disc_y - 0.014) / 0.01) ** 2)
        )
        face = face * (1 - seas)[..., None]
    return over(picture, face, view.cover(scene.radius - distance)).astype(np.float32)


def _stars(scene: _Scene, picture: Plane, rng: np.random.Generator) -> Plane:
    view = scene.view
    for _ in range(int(rng.integers(16, 28) * view.span_x * view.span_y)):
        x = view.left + rng.uniform(0.02, 0.98) * view.span_x
        y = view.top + rng.uniform(0.02, scene.horizon - 0.12) * view.span_y
        size, bright = rng.uniform(0.0035, 0.0055), rng.uniform(0.3, 0.8)
        if np.hypot(x - scene.disc_x, y - scene.disc_y) < 0.14:
            continue
        column, row = int((x - view.left) * view.short), int((y - view.top) * view.short)
        spot = (slice(max(row - 4, 0), row + 5), slice(max(column - 4, 0), column + 5))
        shine = bright * np.exp(-((view.x[spot] - x) ** 2 + (view.y[spot] - y) ** 2) / size**2)
        picture[spot] += shine[..., None].astype(np.float32)
    return picture


def _ridge(view: Canvas, rng: np.random.Generator, *, rough: float, waves: float) -> Plane:
    """A skyline as one height per column: value noise, halving octaves."""
    x = (np.arange(view.width) + 0.5) / view.short
    line = np.zeros(view.width)
    swing = 1.0
    for _ in range(6 if rough > 0.45 else 3):
        knots = rng.uniform(-1, 1, int(np.ceil(waves * view.span_x)) + 3)
        place = x * waves + rng.random()
        index = place.astype(int)
        t = place - index
        t = t * t * (3 - 2 * t)
        line += swing * (knots[index] * (1 - t) + knots[index + 1] * t)
        swing, waves = swing * rough, waves * 2
    return line.astype(np.float32)


def _treetops(view: Canvas, rng: np.random.Generator, depth: float) -> Plane:
    """Pointed crowns, larger when nearer: how far each column's tops rise above the ground line."""
    x = (np.arange(view.width) + 0.5) / view.short + view.left
    tops = np.zeros(view.width, np.float32)
    spacing = 0.020 + 0.034 * depth
    place = view.left - spacing
    while place < view.left + view.span_x + spacing:
        tall = (0.050 + 0.095 * depth) * rng.uniform(0.45, 1.15)
        slim = tall * rng.uniform(0.24, 0.32)
        tops = np.maximum(tops, tall * np.clip(1 - np.abs(x - place) / slim, 0, 1) ** 0.85)
        place += spacing * rng.uniform(0.55, 1.7)
    return tops.astype(np.float32)


def _skyline(scene: _Scene, rng: np.random.Generator, index: int, q: float) -> Plane:
    """Where layer `index` begins, as a share of the height, one value per column."""
    terrain, view = scene.terrain, scene.view
    if scene.subject.scene == "islands":
        x = (np.arange(view.width) + 0.5) / view.width
        line = np.full(view.width, scene.horizon + 0.02 + 0.07 * q, np.float32)
        middle, half = rng.uniform(0.12, 0.88), rng.uniform(0.13, 0.26)
        bump = np.clip(1 - ((x - middle) / half) ** 2, 0, 1) ** 0.8
        detail = 0.75 + 0.22 * _ridge(view, rng, rough=0.5, waves=5.0)
        line -= (bump * detail * rng.uniform(0.10, 0.17) * (1 - 0.25 * q)).astype(np.float32)
        return line
    end = scene.horizon + terrain.end if terrain.water else terrain.end
    base = scene.horizon - 0.03 + (end - scene.horizon + 0.03) * q**1.15
    swing = terrain.swing * (1 - 0.25 * q)
    ridge = _ridge(view, rng, rough=terrain.rough, waves=terrain.waves)
    low: Plane = base - swing * (ridge + np.float32(0.2))
    return low.astype(np.float32)


def _land(scene: _Scene, picture: Plane, rng: np.random.Generator) -> Plane:
    """The layers from far to near, each fading into the haze at its foot."""
    hour, terrain, view, subject = scene.hour, scene.terrain, scene.view, scene.subject
    ground = colour(terrain.ground) * np.float32(hour.tint)
    misty = subject.mist == "misty"
    for index in range(terrain.layers):
        q = index / max(terrain.layers - 1, 1)
        line = _skyline(scene, rng, index, q)
        depth = q * 0.55 if terrain.water else q
        paint = hour.far + (hour.near - hour.far) * depth**0.85
        own = ground * (1.15 - 0.70 * depth) * (0.65 + 0.35 * depth) + hour.horizon * 0.35 * (1 - depth)
        paint = paint * (1 - terrain.ground_share) + own * terrain.ground_share
        gap = scene.down - line[None]
        below = np.clip(gap / 0.20, 0, 1) ** 0.8
        if subject.scene == "forest":  # the haze lies on the ground, the crowns stand out of it
            gap = gap + _treetops(view, rng, q)[None]
        fog = (0.66 if misty else 0.18) * (1 - 0.55 * depth) * below
        near_disc = np.exp(-(((view.x - scene.disc_x) / 0.28) ** 2))
        warm = near_disc * (0.16 if subject.disc == "sun" else 0.06) * (1 - depth)
        layer = over(np.broadcast_to(paint, picture.shape), scene.haze, fog)
        layer = over(layer, hour.light, warm)
        mask = view.cover(gap * np.float32(view.span_y))
        if subject.scene == "islands":
            foot = scene.horizon + 0.012 + 0.060 * q
            mask = mask * view.cover((foot - scene.down) * np.float32(view.span_y))
        picture = over(picture, layer, mask).astype(np.float32)
    return picture


def _water(scene: _Scene, picture: Plane, shore: float, rng: np.random.Generator) -> Plane:
    view, hour, subject = scene.view, scene.hour, scene.subject
    v = np.clip((scene.down - shore) / (1 - shore), 0, 1)
    deep = v[..., None]
    y = view.y - view.top
    phase = rng.uniform(0, 6)
    if subject.scene == "lake":
        rows = np.clip(((2 * shore - scene.down) * view.height).astype(int), 0, view.height - 1)
        shift = np.sin(y * 150 + phase) * 0.010 * v * view.short
        columns = np.clip(np.arange(view.width)[None] + shift, 0, view.width - 1).astype(int)
        water = picture[rows, columns] * (0.80 - 0.30 * deep) + hour.near * (0.12 + 0.22 * deep)
        ripple, gleam, spread = np.full_like(v, 0.85), 0.40, 0.035
    else:
        pale = (hour.horizon * 0.62 + hour.middle * 0.38) * 0.85
        water = pale + (hour.near * 0.75 + hour.sky * 0.25 - pale) * deep**0.7
        swell = np.sin(90 * y / (0.35 + 1.2 * v) + 3 * np.sin(view.x * 12 + phase))
        water = water * (1 + 0.05 * swell * v)[..., None]
        ripple = 0.66 + 0.34 * np.sin(130 * y / (0.6 + v) + 2.5 * np.sin(view.x * 14 + y * 40 + phase))
        gleam, spread = 0.80, 0.030
    wide = spread + 0.10 * v
    streak = np.exp(-(((view.x - scene.disc_x) / wide) ** 2)) * ripple * gleam * (1 - 0.45 * v)
    water = over(water, hour.light, clip01(streak))
    if subject.mist == "misty":
        water = over(water, scene.haze, 0.60 * np.exp(-v * 6))
    mask = view.cover((scene.down - shore) * np.float32(view.span_y))
    return over(picture, water.astype(np.float32), mask)
