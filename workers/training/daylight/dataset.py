"""The training pictures on disk: draws them, in parallel and resumable, and hands them out with their captions.

Each part is one .npy of pictures and one .json of subjects; nothing of it is kept in version control.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.training.daylight.captions import Subject
from workers.training.daylight.ceramics import Ceramic, choose_ceramic, paint_ceramic
from workers.training.daylight.landscapes import Landscape, choose_landscape, paint_landscape
from workers.training.daylight.raster import Pixels

PART = 500  # pictures in a part
SIDE = 192


@dataclass(frozen=True)
class Format:
    """A size of picture: its name in file names, and its sides in pixels."""

    name: str
    width: int
    height: int


SQUARE = Format("square", SIDE, SIDE)
FORMATS = {f.name: f for f in (SQUARE, Format("wide", 256, 192), Format("tall", 192, 256))}


def choose(rng: np.random.Generator, index: int, *, held_out: bool = False) -> Subject:
    """Ceramics and landscapes in turn."""
    return (choose_landscape if index % 2 else choose_ceramic)(rng, held_out=held_out)


def paint(subject: Subject, rng: np.random.Generator, *, width: int = SIDE, height: int = SIDE) -> Pixels:
    if isinstance(subject, Ceramic):
        return paint_ceramic(subject, rng, width=width, height=height)
    return paint_landscape(subject, rng, width=width, height=height)


def draw(
    count: int, *, seed: int, held_out: bool = False, form: Format = SQUARE
) -> tuple[Pixels, list[Subject]]:
    """`count` pictures and what they show; the same seed draws the same pictures."""
    rng = np.random.default_rng(seed)
    subjects = [choose(rng, index, held_out=held_out) for index in range(count)]
    pictures = [paint(subject, rng, width=form.width, height=form.height) for subject in subjects]
    return np.stack(pictures), subjects


def _to_json(subject: Subject) -> dict[str, str]:
    return asdict(subject)


def _from_json(record: dict[str, str]) -> Subject:
    return Ceramic(**record) if "vessel" in record else Landscape(**record)


def _draw_part(job: tuple[str, str, int, int]) -> str:
    folder, name, index, count = job
    target = Path(folder) / f"{name}-{index:03}.npy"
    if target.exists():
        return target.name
    os.nice(max(0, 19 - os.nice(0)))
    seed = 1000 * (1 + list(FORMATS).index(name)) + index
    pictures, subjects = draw(count, seed=seed, form=FORMATS[name])
    target.with_suffix(".json").write_text(json.dumps([_to_json(subject) for subject in subjects]))
    passing = target.with_suffix(".part.npy")
    np.save(passing, pictures)
    passing.rename(target)
    return target.name


def write_dataset(folder: Path, *, counts: dict[str, int], processes: int, part: int = PART) -> None:
    """Draws the parts that are missing in `folder`; `counts` names pictures per format."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (str(folder), name, index, part)
        for name, count in counts.items()
        for index in range(-(-count // part))
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done in pool.imap_unordered(_draw_part, jobs):
            print(done, flush=True)


@dataclass(frozen=True)
class Part:
    pictures: NDArray[np.uint8]
    subjects: list[Subject]


def read_parts(folder: Path, form: Format = SQUARE) -> Iterator[Part]:
    """The parts of one format, in order. Raises FileNotFoundError when there is none."""
    files = sorted(path for path in folder.glob(f"{form.name}-*.npy") if ".part" not in path.name)
    if not files:
        raise FileNotFoundError(f"no {form.name} pictures in {folder}: run the data command first")
    for path in files:
        records = json.loads(path.with_suffix(".json").read_text())
        yield Part(np.load(path), [_from_json(record) for record in records])
