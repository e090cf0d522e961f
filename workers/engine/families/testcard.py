"""A test card instead of a model: colour bars drawn by Pillow, in as many steps of as many seconds as asked.

It measures everything around a model (queue, money, progress, storage) on a machine without weights or torch.
"""

from __future__ import annotations

import colorsys
import io
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from workers.engine.contract import (
    EngineError,
    Job,
    MediaOutput,
    Metrics,
    OnStep,
    Outcome,
    Recipe,
    StepReport,
)
from workers.engine.machine import Machine
from workers.engine.previews import LAST_SHARE

needs_weights = False

_BARS = 7


def check(recipe: Recipe, *, folder: Path, machine: Machine) -> None:
    """There is nothing that could fail."""


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> TestCard:  # noqa: A001 - the verb of every family
    """A test card."""
    return TestCard(previews=recipe.get("previews", True))


class TestCard:
    """One opened test card: `batch_key`, `pictures`, `run`, `close`."""

    __test__ = False  # pytest would take the name for a test

    def __init__(self, *, previews: bool) -> None:
        self._previews = previews
        self.bytes = 0

    def close(self) -> None:
        """Nothing to let go of."""

    def pictures(self, input: Mapping[str, object]) -> int:
        """Always one."""
        return 1

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Steps and their length must agree. Raises EngineError for an unusable input."""
        _number(input, "seed", least=0)
        _size(input)
        return f"{_number(input, 'num_inference_steps', 4)}/{_seconds(input)}"

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """Waits out the steps, then draws one card per job."""
        if any(job.adapters for job in jobs):
            raise EngineError("A test card takes no adapters.", code="invalid_input")
        started_at = time.perf_counter()
        steps, step_s = _number(jobs[0].input, "num_inference_steps", 4), _seconds(jobs[0].input)
        cards = {job.id: _draw(_number(job.input, "seed", least=0)) for job in jobs}
        unwanted: set[str] = set()
        for step in range(1, steps + 1):
            if step_s > 0:
                time.sleep(step_s)
            shown = self._previews and step <= steps * LAST_SHARE and step < steps
            reports = [
                StepReport(job.id, step, steps, _veiled(cards[job.id], step / steps) if shown else None)
                for job in jobs
                if job.id not in unwanted
            ]
            unwanted |= set(on_step(reports))
        steps_s = time.perf_counter() - started_at
        metrics = Metrics(
            steps_s=steps_s,
            total_s=steps_s,
            steps=steps,
            steps_per_second=steps / max(steps_s, 1e-9),
            batch=len(jobs),
        )
        return [self._outcome(job, cards[job.id], metrics) for job in jobs]

    def _outcome(self, job: Job, card: Image.Image, metrics: Metrics) -> Outcome:
        width, height = _size(job.input)
        seed = _number(job.input, "seed", least=0)
        data = _png(card.resize((width, height), Image.Resampling.NEAREST))
        output = MediaOutput(data, "image/png", width, height, {"seed": seed, "encoder": {"format": "PNG"}})
        return Outcome(job.id, "succeeded", (output,), metrics, seed)


def _number(input: Mapping[str, object], name: str, otherwise: int | None = None, *, least: int = 1) -> int:
    value = input.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise EngineError(f"“{name}” must be a whole number of at least {least}.", code="invalid_input")
    return value


def _size(input: Mapping[str, object]) -> tuple[int, int]:
    return min(_number(input, "width", 64), 4096), min(_number(input, "height", 64), 4096)


def _seconds(input: Mapping[str, object]) -> float:
    value = input.get("step_seconds", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 60:
        raise EngineError("“step_seconds” must be between 0 and 60.", code="invalid_input")
    return float(value)


def _draw(seed: int) -> Image.Image:
    dice = random.Random(seed)
    turn = dice.random()
    card = Image.new("RGB", (_BARS, 2))
    for bar in range(_BARS):
        for row, value in enumerate((0.9, 0.55)):
            red, green, blue = colorsys.hsv_to_rgb((turn + bar / _BARS) % 1, 0.65, value)
            card.putpixel((bar, row), (round(red * 255), round(green * 255), round(blue * 255)))
    return card


def _veiled(card: Image.Image, share: float) -> bytes:
    grey = Image.new("RGB", card.size, (128, 128, 128))
    buffer = io.BytesIO()
    Image.blend(grey, card, share).resize((56, 32), Image.Resampling.NEAREST).save(
        buffer, format="WEBP", quality=70, method=0
    )
    return buffer.getvalue()


def _png(card: Image.Image) -> bytes:
    buffer = io.BytesIO()
    card.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
