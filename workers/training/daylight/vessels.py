"""The vessel itself: profiles, turned body, glaze and shine, lid or mouth, handles and spouts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.training.daylight.raster import Canvas, Doubles, Plane, clip01, colour, over, smoothstep, spline

BASE = 0.775  # where the foot stands, from the top of the square
_TILT = 0.17  # how far a ring's near side hangs below its centre, per unit of radius
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


@dataclass(frozen=True)
class Body:
    """One vessel as it stands in this picture."""

    vessel: str
    axis: float
    height: float
    radii: Plane
    glaze: Plane
    lit: float  # -1: window on the left, +1: on the right
    finish: str

    @property
    def mouth(self) -> float:
        return BASE - self.height

    @property
    def widest(self) -> float:
        return float(self.radii.max())

    def radius(self, y: Plane) -> Plane:
        return spline(self.radii, (BASE - y) / np.float32(self.height))

    def at(self, share: float) -> tuple[float, float]:
        """Height and radius at `share` of the way up."""
        t = np.array([share], np.float32)
        return BASE - share * self.height, float(spline(self.radii, t)[0])


def paint_vessel(
    view: Canvas, picture: Plane, body: Body, rng: np.random.Generator, *, wall: Plane, plinth: Plane
) -> Plane:
    """The vessel laid over `picture`; `wall` and `plinth` are the colours that shine back on it."""
    picture = _limbs(view, picture, body)
    picture = _turned(view, picture, body, wall, plinth, rng)
    return _lid(view, picture, body) if body.vessel in ("jar", "teapot") else _mouth(view, picture, body)


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


def _turned(
    view: Canvas, picture: Plane, body: Body, wall: Plane, plinth: Plane, rng: np.random.Generator
) -> Plane:
    dx = view.x - np.float32(body.axis)
    top = body.mouth
    ring = view.y
    for _ in range(4):  # a ring's near side hangs below its centre: find the ring that each pixel lies on
        r = body.radius(np.clip(ring, top, BASE))
        ring = view.y - _TILT * np.sqrt(np.maximum(r * r - dx * dx, 0))
    level = np.clip(ring, top, BASE)
    r = np.maximum(body.radius(level), 1e-3)
    above, below = np.clip(level - 0.008, top, BASE), np.clip(level + 0.008, top, BASE)
    slope = (body.radius(above) - body.radius(below)) / np.maximum(below - above, 1e-3)
    rise = (BASE - level) / np.float32(body.height)
    if body.finish == "ribbed":
        count = body.height / 0.044
        slope = slope + 0.42 * np.cos(2 * np.pi * count * rise) * smoothstep(0.03, 0.10, rise)
    u = np.clip(dx / r, -1, 1)
    z = np.sqrt(np.maximum(1 - u * u, 0))
    length = 1 / np.sqrt(1 + slope * slope)
    nx, ny, nz = u * length, -slope * length, z * length
    foot = float(body.radii[0])
    sole = BASE + _TILT * np.sqrt(np.maximum(foot**2 - dx * dx, 0))
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
    view: Canvas, body: Body, rise: Plane, dx: Plane, rng: np.random.Generator
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


def _speckles(view: Canvas, body: Body, rng: np.random.Generator) -> Plane:
    field = np.zeros_like(view.x)
    step = 1 / view.short
    for _ in range(int(110 * body.height)):
        px = body.axis + rng.uniform(-1, 1) * body.widest
        py = rng.uniform(body.mouth, BASE + 0.02)
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


def _mouth(view: Canvas, picture: Plane, body: Body) -> Plane:
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


def _lid(view: Canvas, picture: Plane, body: Body) -> Plane:
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


def _limbs(view: Canvas, picture: Plane, body: Body) -> Plane:
    """Handles and spouts; painted before the body, which hides their roots."""
    far = -body.lit
    if body.vessel == "jug":
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
    if body.vessel == "amphora":
        for side in (-1.0, 1.0):
            picture = _handle(view, picture, body, side=side, low=0.60, high=0.93, reach=0.075, thick=0.0165)
    if body.vessel == "teapot":
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
    body: Body,
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
    body: Body,
    *,
    side: float,
    start: tuple[float, float],
    bend: float,
    tip: tuple[float, float],
    thick: tuple[float, float],
) -> Plane:
    """A tapering tube from `start` (shares of height and radius) over `bend` to `tip` (distance, share of height)."""
    y0, r0 = body.at(start[0])
    y2 = BASE - tip[1] * body.height
    t = np.linspace(0, 1, 40, dtype=np.float32)
    out = (1 - t) ** 2 * r0 * start[1] + 2 * t * (1 - t) * bend + t**2 * tip[0]
    drop = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * (y0 * 0.8 + y2 * 0.2) + t**2 * y2
    points = np.stack([body.axis + side * out, drop], 1)
    return _tube(view, picture, body, points, thick[0] + (thick[1] - thick[0]) * t**0.7)


def _tube(view: Canvas, picture: Plane, body: Body, points: Doubles, thick: Doubles) -> Plane:
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
