"""Still life: one glazed vessel on a plinth in window light. Hides all of its geometry and shading."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

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
    spline,
    to_pixels,
)

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

# height, then radii from the foot to the mouth
PROFILES: dict[str, tuple[float, tuple[float, ...]]] = {
    "vase": (0.55, (0.105, 0.150, 0.200, 0.218, 0.186, 0.118, 0.088, 0.118)),
    "bottle": (0.62, (0.138, 0.156, 0.162, 0.162, 0.142, 0.070, 0.047, 0.044, 0.046, 0.058)),
    "bowl": (0.265, (0.100, 0.185, 0.242, 0.276, 0.294, 0.300)),
    "jar": (0.38, (0.150, 0.190, 0.212, 0.218, 0.206, 0.180, 0.148)),
    "jug": (0.48, (0.140, 0.172, 0.184, 0.172, 0.142, 0.110, 0.104, 0.128)),
    "amphora": (0.61, (0.056, 0.082, 0.126, 0.176, 0.204, 0.196, 0.122, 0.072, 0.068, 0.092)),
    "teapot": (0.255, (0.112, 0.165, 0.194, 0.200, 0.186, 0.146, 0.088)),
    "gourd": (0.57, (0.110, 0.176, 0.212, 0.196, 0.118, 0.094, 0.128, 0.140, 0.098, 0.050)),
}
VESSELS = tuple(PROFILES)

_BASE = 0.775  # where the foot stands, from the top of the square
_TILT = 0.17  # how far a ring's near side hangs below its centre, per unit of radius
_PLINTH_BACK, _PLINTH_EDGE = 0.700, 0.852


@dataclass(frozen=True)
class Ceramic:
    vessel: str
    glaze: str
    finish: str
    plinth: str
    wall: str
    light: str

    def mirrored(self) -> Ceramic:
        return replace(self, light="right" if self.light == "left" else "left")

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


@dataclass(frozen=True)
class _Body:
    """One vessel as it stands in this picture."""

    axis: float
    height: float
    radii: Plane
    glaze: Plane
    lit: float  # -1: window on the left, +1: on the right
    finish: str

    @property
    def mouth(self) -> float:
        return _BASE - self.height

    @property
    def widest(self) -> float:
        return float(self.radii.max())

    def radius(self, y: Plane) -> Plane:
        return spline(self.radii, (_BASE - y) / np.float32(self.height))

    def at(self, share: float) -> tuple[float, float]:
        """Height and radius at `share` of the way up."""
        t = np.array([share], np.float32)
        return _BASE - share * self.height, float(spline(self.radii, t)[0])


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
    body = _Body(
        axis=0.5 + rng.uniform(-0.012, 0.012),
        height=tall * size * rng.uniform(0.97, 1.03),
        radii=(np.array(radii) * size * rng.uniform(0.98, 1.02, len(radii))).astype(np.float32),
        glaze=glaze,
        lit=lit,
        finish=subject.finish,
    )
    picture = _wall(view, wall, lit, body, rng)
    picture = _plinth(view, picture, PLINTHS[subject.plinth], body, rng, wooden=subject.plinth == "wooden")
    picture = _limbs(view, picture, subject.vessel, body)
    picture = _vessel(view, picture, body, wall, plinth, rng)
    closed = subject.vessel in ("jar", "teapot")
    picture = _lid(view, picture, body) if closed else _mouth(view, picture, body)
    return to_pixels(picture)


def _wall(view: Canvas, wall: Plane, lit: float, body: _Body, rng: np.random.Generator) -> Plane:
    x, y = view.x, view.y
    pool = np.exp(-2.3 * (1.1 * (x - (0.5 + lit * 0.32)) ** 2 + 0.9 * (y - 0.26) ** 2))
    glow = 0.66 + 0.34 * pool - 0.10 * smoothstep(0.45, 0.80, y)
    shade = 0.30 * np.exp(-1.3 * (((x - (0.5 - lit * 0.40)) / 0.20) ** 2 + ((y - 0.80) / 0.17) ** 2))
    thrown = ((x - (body.axis - lit * 0.30)) / (body.widest * 0.9 + 0.05)) ** 2
    rise = ((y - (_BASE - body.height * 0.38)) / (body.height * 0.62)) ** 2
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
    view: Canvas, picture: Plane, plinth: Plane, body: _Body, rng: np.random.Generator, *, wooden: bool
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
    flat = (y - (_BASE - 0.012)) / (0.028 + 0.055 * body.widest)
    cast = np.exp(-1.5 * (np.abs(reach) ** 2.4 + flat * flat)) * smoothstep(-0.22, 0.02, away)
    foot = float(body.radii[0])
    contact = np.exp(
        -1.6 * (((x - body.axis) / (foot * 1.22)) ** 2 + ((y - _BASE - 0.006) / (foot * 0.34 + 0.012)) ** 2)
    )
    top = top * ((1 - 0.50 * cast) * (1 - 0.60 * contact))[..., None]
    return over(over(picture, top, top_mask), front, front_mask)


def _light_direction(lit: float) -> Plane:
    toward = np.array([lit * 0.62, 0.50, 0.60], np.float32)
    return (toward / np.linalg.norm(toward)).astype(np.float32)


def _shine(finish: str, nx: Plane, ny: Plane, nz: Plane, lit: float) -> Plane:
    """What the surface mirrors: a soft lobe, and on glossy glazes the window itself."""
    half = _light_direction(lit) + np.array([0, 0.15, 0.99], np.float32)
    half = half / np.linalg.norm(half)
    lobe = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0)
    if finish == "matte":
        return clip01(0.03 * lobe**8)
    if finish == "speckled":
        return clip01(0.09 * lobe**14)
    if finish != "glossy":
        return clip01(0.10 * lobe**16 + 0.10 * lobe**60)
    side = nx * lit

    def pane(low: float, high: float, value: Doubles) -> Plane:
        return smoothstep(low - 0.035, low + 0.035, value) * (
            1 - smoothstep(high - 0.035, high + 0.035, value)
        )

    window = pane(0.30, 0.60, side) * pane(-0.10, 0.62, ny)
    bar = np.exp(-(((side - 0.45) / 0.020) ** 2)) + np.exp(-(((ny - 0.22) / 0.030) ** 2))
    edge = 0.10 * smoothstep(0.80, 0.93, -side) * (1 - smoothstep(0.93, 0.995, -side))
    return clip01(0.62 * window * (1 - 0.75 * clip01(bar)) + 0.10 * lobe**8 + edge)


def _vessel(
    view: Canvas, picture: Plane, body: _Body, wall: Plane, plinth: Plane, rng: np.random.Generator
) -> Plane:
    dx = view.x - np.float32(body.axis)
    top = body.mouth
    ring = view.y
    for _ in range(4):  # a ring's near side hangs below its centre: find the ring that each pixel lies on
        r = body.radius(np.clip(ring, top, _BASE))
        ring = view.y - _TILT * np.sqrt(np.maximum(r * r - dx * dx, 0))
    level = np.clip(ring, top, _BASE)
    r = np.maximum(body.radius(level), 1e-3)
    above, below = np.clip(level - 0.008, top, _BASE), np.clip(level + 0.008, top, _BASE)
    slope = (body.radius(above) - body.radius(below)) / np.maximum(below - above, 1e-3)
    rise = (_BASE - level) / np.float32(body.height)
    if body.finish == "ribbed":
        count = body.height / 0.044
        slope = slope + 0.42 * np.cos(2 * np.pi * count * rise) * smoothstep(0.03, 0.10, rise)
    u = np.clip(dx / r, -1, 1)
    z = np.sqrt(np.maximum(1 - u * u, 0))
    length = 1 / np.sqrt(1 + slope * slope)
    nx, ny, nz = u * length, -slope * length, z * length
    foot = float(body.radii[0])
    sole = _BASE + _TILT * np.sqrt(np.maximum(foot**2 - dx * dx, 0))
    mask = view.cover(r - np.abs(dx)) * view.cover(sole - view.y) * view.cover(ring - top + 0.004)
    albedo, bare = _decorate(view, body, rise, dx, rng)
    toward = _light_direction(body.lit)
    lambert = clip01((nx * toward[0] + ny * toward[1] + nz * toward[2] + 0.12) / 1.12)
    ambient = 0.30 + 0.08 * ny + 0.10 * nz
    paint = albedo * (ambient + 0.86 * lambert)[..., None]
    paint = paint + (_shine(body.finish, nx, ny, nz, body.lit) * (1 - bare))[..., None]
    paint = (
        paint
        + wall * (0.06 * (1 - nz) ** 3)[..., None]
        + plinth * (0.10 * clip01(0.2 - ny) * (1 - rise))[..., None]
    )
    paint = paint * (1 - 0.35 * np.exp(-rise * body.height * 26))[..., None]
    return over(picture, paint.astype(np.float32), mask)


def _decorate(
    view: Canvas, body: _Body, rise: Plane, dx: Plane, rng: np.random.Generator
) -> tuple[Plane, Plane]:
    """The colour of every point of the body, and how much of it is bare clay."""
    albedo = np.broadcast_to(body.glaze, (*rise.shape, 3)).astype(np.float32)
    bare = np.zeros_like(rise)
    pale = float(body.glaze.mean()) > 0.62
    if body.finish == "banded":
        low = rng.uniform(0.56, 0.60)
        high = low + rng.uniform(0.13, 0.16)
        band = smoothstep(low - 0.008, low + 0.008, rise) * (1 - smoothstep(high - 0.008, high + 0.008, rise))
        albedo = over(albedo, colour("80503a") if pale else colour("f1e8d8"), band)
    elif body.finish == "dipped":
        wave = 0.014 * np.sin(dx * 17 + rng.uniform(0, 6)) + 0.008 * np.sin(dx * 41 + rng.uniform(0, 6))
        line = rng.uniform(0.30, 0.35) + wave
        bare = 1 - smoothstep(-0.010, 0.010, rise - line)
        albedo = over(albedo, colour("8a5d42") if pale else colour("d6c3a4"), bare)
    elif body.finish == "speckled":
        dark = float(body.glaze.mean()) > 0.38
        albedo = over(
            albedo, colour("3a2a20") if dark else colour("e8dcc4"), 0.85 * _speckles(view, body, rng)
        )
    return albedo, bare


def _speckles(view: Canvas, body: _Body, rng: np.random.Generator) -> Plane:
    field = np.zeros_like(view.x)
    step = 1 / view.short
    for _ in range(int(110 * body.height)):
        px = body.axis + rng.uniform(-1, 1) * body.widest
        py = rng.uniform(body.mouth, _BASE + 0.02)
        size = rng.uniform(0.0060, 0.0100)
        column, row = int((px - view.left) / step), int((py - view.top) / step)
        reach = int(0.025 / step) + 1
        spot = (
            slice(max(row - reach, 0), row + reach + 1),
            slice(max(column - reach, 0), column + reach + 1),
        )
        distance = np.hypot(view.x[spot] - px, view.y[spot] - py)
        field[spot] = np.maximum(field[spot], smoothstep(-0.004, 0.004, size - distance))
    return field


def _mouth(view: Canvas, picture: Plane, body: _Body) -> Plane:
    radius = float(body.radii[-1])
    dx, dy = view.x - np.float32(body.axis), view.y - np.float32(body.mouth)
    flat = _TILT * radius
    gloss = 0.20 if body.finish == "glossy" else 0.06
    outer = view.cover((1 - np.hypot(dx / radius, dy / flat)) * flat * 1.2)
    rim = body.glaze * (0.95 + 0.18 * body.lit * dx / radius)[..., None] + gloss
    picture = over(picture, rim.astype(np.float32), outer)
    wall = 0.016  # the thickness of the clay
    hole_x, hole_y = radius - wall, flat - wall * 0.45
    hole = view.cover((1 - np.hypot(dx / hole_x, (dy - 0.001) / hole_y)) * hole_y * 1.2)
    inside = body.glaze * (0.34 - 0.26 * body.lit * dx / radius + 0.22 * clip01(dy / flat))[..., None]
    return over(picture, inside.astype(np.float32), hole)


def _lid(view: Canvas, picture: Plane, body: _Body) -> Plane:
    radius = float(body.radii[-1]) * 1.12
    tall = 0.030 + 0.16 * radius
    dx = view.x - np.float32(body.axis)
    u = np.clip(dx / radius, -1, 1)
    arch = np.sqrt(1 - u * u)
    crown, brim = body.mouth - tall * arch, body.mouth + _TILT * radius * arch
    mask = view.cover(view.y - crown) * view.cover(brim - view.y) * view.cover(radius - np.abs(dx))
    v = clip01((brim - view.y) / np.maximum(brim - crown, 1e-3))
    seam = 0.35 * np.exp(-((((1 - v) - 1) / 0.10) ** 2))
    tone = clip01(0.45 + 0.36 * body.lit * u + 0.30 * v)
    gloss = 0.55 if body.finish == "glossy" else 0.08
    glint = gloss * np.exp(-(((u - body.lit * 0.38) / 0.15) ** 2 + ((v - 0.62) / 0.14) ** 2))
    paint = body.glaze * ((0.35 + 0.80 * tone) * (1 - seam))[..., None] + glint[..., None]
    picture = over(picture, paint.astype(np.float32), mask)
    knob = np.float32(0.029)
    dy = view.y - np.float32(body.mouth - tall - 0.018)
    lift = clip01(0.5 + (body.lit * dx - dy) / knob * 0.42)
    spark = gloss * np.exp(-(((dx - body.lit * 0.010) / 0.007) ** 2 + ((dy + 0.010) / 0.007) ** 2))
    ball = body.glaze * (0.40 + 0.72 * lift)[..., None] + spark[..., None]
    return over(picture, ball.astype(np.float32), view.cover(knob - np.hypot(dx, dy)))


def _limbs(view: Canvas, picture: Plane, vessel: str, body: _Body) -> Plane:
    """Handles and spouts; painted before the body, which hides their roots."""
    far = -body.lit
    if vessel == "jug":
        picture = _handle(view, picture, body, side=far, low=0.30, high=0.90, reach=0.125, thick=0.0215)
        return _spout(
            view,
            picture,
            body,
            side=-far,
            start=(0.84, 0.3),
            bend=0.085,
            tip=(0.158, 0.995),
            thick=(0.045, 0.012),
        )
    if vessel == "amphora":
        for side in (-1.0, 1.0):
            picture = _handle(view, picture, body, side=side, low=0.60, high=0.93, reach=0.075, thick=0.0165)
    if vessel == "teapot":
        picture = _handle(view, picture, body, side=far, low=0.22, high=0.86, reach=0.125, thick=0.0200)
        picture = _spout(
            view,
            picture,
            body,
            side=-far,
            start=(0.30, 0.7),
            bend=0.255,
            tip=(0.330, 0.99),
            thick=(0.052, 0.020),
        )
    return picture


def _handle(
    view: Canvas,
    picture: Plane,
    body: _Body,
    *,
    side: float,
    low: float,
    high: float,
    reach: float,
    thick: float,
) -> Plane:
    (y_low, r_low), (y_high, r_high) = body.at(low), body.at(high)
    turn = np.linspace(-np.pi / 2, np.pi / 2, 48, dtype=np.float32)
    share = (np.sin(turn) + 1) / 2
    root = (r_low + (r_high - r_low) * share) * 0.90
    out = root + (max(r_low, r_high) + reach - root) * np.maximum(np.cos(turn), 0) ** 0.8
    points = np.stack([body.axis + side * out, y_low + (y_high - y_low) * share], 1)
    return _tube(view, picture, body, points, np.full(len(turn), thick, np.float32))


def _spout(
    view: Canvas,
    picture: Plane,
    body: _Body,
    *,
    side: float,
    start: tuple[float, float],
    bend: float,
    tip: tuple[float, float],
    thick: tuple[float, float],
) -> Plane:
    """A tapering tube from `start` (shares of height and radius) over `bend` to `tip` (distance, share of height)."""
    y0, r0 = body.at(start[0])
    y2 = _BASE - tip[1] * body.height
    t = np.linspace(0, 1, 40, dtype=np.float32)
    out = (1 - t) ** 2 * r0 * start[1] + 2 * t * (1 - t) * bend + t**2 * tip[0]
    drop = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * (y0 * 0.8 + y2 * 0.2) + t**2 * y2
    points = np.stack([body.axis + side * out, drop], 1)
    return _tube(view, picture, body, points, thick[0] + (thick[1] - thick[0]) * t**0.7)


def _tube(view: Canvas, picture: Plane, body: _Body, points: Doubles, thick: Doubles) -> Plane:
    """A round limb along `points`, lit like the body."""
    edge = float(thick.max()) + 2 / view.short
    (left, top), (right, bottom) = points.min(0) - edge, points.max(0) + edge
    columns = slice(*(int(np.clip((v - view.left) * view.short, 0, view.width)) for v in (left, right)))
    rows = slice(*(int(np.clip((v - view.top) * view.short, 0, view.height)) for v in (top, bottom)))
    x, y = view.x[rows, columns], view.y[rows, columns]
    nearest = np.full(x.shape, 1e9, np.float32)
    nx, ny = np.zeros_like(x), np.zeros_like(x)
    size = np.full_like(x, float(thick.mean()))
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    along[[0, -1]] = 0  # round ends
    for (px, py), r, (tx, ty) in zip(points, thick, along, strict=True):
        dx, dy = (x - np.float32(px)) / r, (np.float32(py) - y) / r
        distance = dx * dx + dy * dy
        closer = distance < nearest
        nearest[closer], size[closer] = distance[closer], r
        slid = dx[closer] * tx - dy[closer] * ty
        nx[closer], ny[closer] = dx[closer] - slid * tx, dy[closer] + slid * ty
    nx, ny = np.clip(nx, -1, 1), np.clip(ny, -1, 1)
    nearest = np.where(nearest < 1.6, np.hypot(nx, ny), 2)
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.02))
    toward = _light_direction(body.lit)
    lambert = clip01((nx * toward[0] + ny * toward[1] + nz * toward[2] + 0.12) / 1.12)
    gloss = 0.50 if body.finish == "glossy" else 0.05
    glint = gloss * smoothstep(0.90, 0.99, nx * toward[0] + ny * toward[1] + nz * toward[2])
    paint = body.glaze * (0.30 + 0.08 * ny + 0.08 * nz + 0.80 * lambert)[..., None] + glint[..., None]
    painted = picture.copy()
    painted[rows, columns] = over(
        picture[rows, columns], paint.astype(np.float32), view.cover((1 - nearest) * size)
    )
    return painted
