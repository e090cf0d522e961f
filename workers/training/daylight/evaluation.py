"""Does the model draw what its captions say? Accuracy per attribute on combinations held out of training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from workers.training.daylight.captions import Subject, caption
from workers.training.daylight.dataset import choose, paint
from workers.training.daylight.judge import ATTRIBUTES, fit_judge
from workers.training.daylight.pipeline import Pipeline, load_pipeline
from workers.training.daylight.raster import Pixels

Scores = dict[str, float]
_BATCH = 8


@dataclass(frozen=True)
class Report:
    """One evaluation: for every row a score per attribute, and how it was measured."""

    rows: dict[str, Scores]
    counts: dict[str, int]
    steps: int
    guidance: float
    captions: int

    def table(self) -> str:
        names = list(next(iter(self.rows.values())))
        width = max(len(row) for row in self.rows) + 2
        lines = [f"{self.captions} held-out captions, {self.steps} steps, guidance {self.guidance:g}"]
        lines.append(" " * width + " ".join(f"{name:>8}" for name in names))
        for row, scores in self.rows.items():
            lines.append(f"{row:<{width}}" + " ".join(f"{scores[name]:8.2f}" for name in names))
        lines.append(f"{'pictures':<{width}}" + " ".join(f"{self.counts[name]:8d}" for name in names))
        return "\n".join(lines)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def held_out_subjects(count: int, *, seed: int = 4) -> list[Subject]:
    """`count` ceramics and `count` landscapes whose combinations no training picture shows."""
    rng = np.random.default_rng(seed)
    return [choose(rng, index, held_out=True) for index in range(2 * count)]


def generate(
    pipeline: Pipeline,
    captions: list[str],
    *,
    steps: int,
    guidance: float,
    first_seed: int = 0,
) -> Iterator[Pixels]:
    """One picture per caption, the n-th with seed `first_seed` + n."""
    for start in range(0, len(captions), _BATCH):
        some = captions[start : start + _BATCH]
        seeds = [torch.Generator().manual_seed(first_seed + start + index) for index in range(len(some))]
        result = pipeline(
            some, num_inference_steps=steps, guidance_scale=guidance, generator=seeds, output_type="np"
        )
        for picture in result.images:
            yield (np.asarray(picture) * 255 + 0.5).astype(np.uint8)


def score(readings: list[dict[str, str]], subjects: list[Subject]) -> tuple[Scores, dict[str, int]]:
    """Share of pictures per attribute where the reading is what the caption says, and of all attributes at once."""
    hits: dict[str, list[bool]] = {}
    for reading, subject in zip(readings, subjects, strict=True):
        wanted: dict[str, str] = asdict(subject)
        right = {name: reading[name] == value for name, value in wanted.items()}
        for name, hit in right.items():
            hits.setdefault(name, []).append(hit)
        hits.setdefault("all", []).append(all(right.values()))
    order = [name for name in (*ATTRIBUTES, "all") if name in hits]
    return {name: float(np.mean(hits[name])) for name in order}, {name: len(hits[name]) for name in order}


def shuffled(subjects: list[Subject], *, seed: int = 9) -> list[Subject]:
    """The same subjects dealt out anew within ceramics and within landscapes: what blind luck would score."""
    rng = np.random.default_rng(seed)
    dealt = list(subjects)
    for kind in {type(subject) for subject in subjects}:
        places = [index for index, subject in enumerate(subjects) if type(subject) is kind]
        for place, source in zip(places, rng.permutation(places), strict=True):
            dealt[place] = subjects[int(source)]
    return dealt


def evaluate(
    *, weights: Path, cache: Path, count: int, steps: int, guidance: float, device: torch.device
) -> Report:
    """Measures the pipeline in `weights` on `count` ceramics and `count` landscapes."""
    judge = fit_judge(cache)
    subjects = held_out_subjects(count)
    rng = np.random.default_rng(5)
    renders = np.stack([paint(subject, rng) for subject in subjects])
    ceiling, counts = score(judge.read(renders), subjects)
    captions = [caption(subject) for subject in subjects]
    pipeline = load_pipeline(weights, device)
    drawn = np.stack(list(generate(pipeline, captions, steps=steps, guidance=guidance)))
    readings = judge.read(drawn)
    rows = {
        "the model": score(readings, subjects)[0],
        "real renders": ceiling,
        "captions shuffled": score(readings, shuffled(subjects))[0],
    }
    return Report(rows=rows, counts=counts, steps=steps, guidance=guidance, captions=len(subjects))
