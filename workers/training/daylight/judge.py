"""Tests of pictures: tells from pixels alone what a picture shows. Fitted on real renders only."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from workers.training.daylight.autoencoder import to_tensor
from workers.training.daylight.captions import Subject
from workers.training.daylight.ceramics import FINISHES, GLAZES, LIGHTS, PLINTHS, VESSELS, WALLS
from workers.training.daylight.dataset import draw
from workers.training.daylight.landscapes import DISCS, MISTS, PLACES, SCENES, TIMES
from workers.training.daylight.raster import Pixels, Plane

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "vessel": VESSELS,
    "glaze": tuple(GLAZES),
    "finish": FINISHES,
    "plinth": tuple(PLINTHS),
    "wall": tuple(WALLS),
    "light": LIGHTS,
    "scene": SCENES,
    "time": TIMES,
    "mist": MISTS,
    "disc": DISCS,
    "place": PLACES,
}
_BY_COLOUR = (
    "wall",
    "time",
)  # nearest mean colour in Lab; "light" by the brighter side; the others by a network
_EPOCHS, _BATCH = 9, 32


def _layers(*widths: tuple[int, int, int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after, kernel in widths:
        layers += [nn.Conv2d(before, after, kernel, 2, kernel // 2), nn.BatchNorm2d(after), nn.ReLU()]
    return [*layers, nn.Flatten()]


class _Network(nn.Module):
    """Looks at the whole picture for everything, and at its middle, larger, for what a vessel is like."""

    def __init__(self) -> None:
        super().__init__()
        whole = _layers((3, 24, 5), (24, 48, 3), (48, 96, 3), (96, 96, 3), (96, 96, 3))
        middle = _layers((3, 24, 5), (24, 48, 3), (48, 64, 3), (64, 64, 3))
        self.whole = nn.Sequential(*whole, nn.Linear(96 * 16, 160), nn.ReLU())
        self.middle = nn.Sequential(*middle, nn.Linear(64 * 36, 96), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in ATTRIBUTES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        side = pictures.shape[-1]
        smaller = functional.interpolate(pictures, size=(128, 128), mode="bilinear", antialias=True)
        centre = pictures[..., side // 4 : side * 17 // 20, side // 5 : side * 4 // 5]
        near = functional.interpolate(centre, size=(96, 96), mode="bilinear", antialias=True)
        features = torch.cat([self.whole(smaller), self.middle(near)], 1)
        return {name: head(features) for name, head in self.heads.items()}


def _input(pictures: Pixels) -> Tensor:
    return functional.interpolate(
        to_tensor(pictures), size=(160, 160), mode="bilinear", antialias=True
    ).contiguous()


def _lab(rgb: Plane) -> Plane:
    """One sRGB colour of 0..255 in CIE Lab, where distance is what the eye sees."""
    value = np.asarray(rgb, np.float64) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    to_xyz = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz = linear @ to_xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return lab.astype(np.float32)


def _sides(picture: Pixels) -> tuple[Plane, Plane]:
    """The wall left and right of the vessel."""
    height, width = picture.shape[:2]
    rows, edge = slice(height // 30, height * 45 // 100), width // 5
    values = picture.astype(np.float32)
    return values[rows, 4:edge].reshape(-1, 3), values[rows, -edge:-4].reshape(-1, 3)


def _colours(picture: Pixels, attribute: str) -> Plane:
    if attribute == "wall":
        return np.concatenate([_lab(np.median(side, 0)) for side in _sides(picture)])
    height = picture.shape[0]
    strips = [picture[int(height * y) : int(height * (y + 0.05))] for y in (0.02, 0.20, 0.38)]
    return np.concatenate([_lab(np.median(strip.reshape(-1, 3).astype(np.float32), 0)) for strip in strips])


class Judge:
    """Reads the attributes off pictures of any subject."""

    def __init__(self, network: _Network, prototypes: dict[str, dict[str, Plane]]) -> None:
        self._network = network.eval()
        self._prototypes = prototypes

    def read(self, pictures: Pixels) -> list[dict[str, str]]:
        """For each picture the most likely value of every attribute."""
        with torch.no_grad():
            scores = [self._network(_input(pictures[i : i + 64])) for i in range(0, len(pictures), 64)]
        found = {name: torch.cat([s[name] for s in scores]).argmax(1).tolist() for name in ATTRIBUTES}
        readings = []
        for index, picture in enumerate(pictures):
            reading = {name: values[found[name][index]] for name, values in ATTRIBUTES.items()}
            for attribute in _BY_COLOUR:
                reading[attribute] = self._nearest(picture, attribute)
            left, right = _sides(picture)
            reading["light"] = "left" if left.mean() > right.mean() else "right"
            readings.append(reading)
        return readings

    def _nearest(self, picture: Pixels, attribute: str) -> str:
        seen, known = _colours(picture, attribute), self._prototypes[attribute]
        return min(known, key=lambda value: float(((seen - known[value]) ** 2).sum()))


def fit_judge(cache: Path, *, count: int = 3000) -> Judge:
    """A judge fitted on `count` renders of all combinations; kept in `cache` for the next call."""
    version = hashlib.sha256(repr((ATTRIBUTES, count, _EPOCHS, "5")).encode()).hexdigest()[:12]
    file = cache / f"judge-{version}.pt"
    network = _Network()
    if file.exists():
        kept = torch.load(file, weights_only=True)
        network.load_state_dict(kept["network"])
        prototypes = {a: {v: c.numpy() for v, c in known.items()} for a, known in kept["prototypes"].items()}
        return Judge(network, prototypes)
    pictures, subjects = _renders(count)
    prototypes = {attribute: _prototypes(pictures, subjects, attribute) for attribute in _BY_COLOUR}
    _train(network, pictures, subjects)
    cache.mkdir(parents=True, exist_ok=True)
    tensors = {a: {v: torch.from_numpy(c) for v, c in known.items()} for a, known in prototypes.items()}
    torch.save({"network": network.state_dict(), "prototypes": tensors}, file)
    return Judge(network, prototypes)


def _renders(count: int) -> tuple[Pixels, list[Subject]]:
    """All combinations alike, held out or not: else the judge would learn which ones do not occur."""
    rest = count // 8
    usual, held = draw(count - rest, seed=77), draw(rest, seed=78, held_out=True)
    return np.concatenate([usual[0], held[0]]), usual[1] + held[1]


def _prototypes(pictures: Pixels, subjects: list[Subject], attribute: str) -> dict[str, Plane]:
    seen: dict[str, list[Plane]] = {}
    for picture, subject in zip(pictures, subjects, strict=True):
        value = asdict(subject).get(attribute)
        if value is not None:
            seen.setdefault(value, []).append(_colours(picture, attribute))
    return {value: np.mean(colours, 0).astype(np.float32) for value, colours in seen.items()}


def _train(network: _Network, pictures: Pixels, subjects: list[Subject]) -> None:
    torch.manual_seed(0)
    inputs = torch.cat([_input(pictures[i : i + 200]) for i in range(0, len(pictures), 200)])
    records = [asdict(subject) for subject in subjects]
    targets = {
        name: torch.tensor([values.index(r[name]) if name in r else -1 for r in records])
        for name, values in ATTRIBUTES.items()
    }
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    rounds = _EPOCHS * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=rounds)
    for _ in range(_EPOCHS):
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs), _BATCH):
            chosen = order[start : start + _BATCH]
            guesses = network(_blurred(inputs[chosen]))
            losses = [
                functional.cross_entropy(guesses[name], targets[name][chosen], ignore_index=-1)
                for name in ATTRIBUTES
                if (targets[name][chosen] >= 0).any()
            ]
            optimizer.zero_grad()
            torch.autograd.backward(torch.stack(losses).sum())
            optimizer.step()
            schedule.step()


def _blurred(batch: Tensor) -> Tensor:
    """Noise, shifts and blur, so that the judge looks at what is shown and not at how crisp it is."""
    noisy = batch + torch.randn_like(batch) * 0.04 * torch.rand(len(batch), 1, 1, 1)
    down, across = (int(value) for value in torch.randint(-3, 4, (2,)))
    moved = torch.roll(noisy, (down, across), (2, 3))
    if torch.rand(()) < 0.2:
        moved = functional.interpolate(functional.avg_pool2d(moved, 2), scale_factor=2, mode="bilinear")
    return moved
