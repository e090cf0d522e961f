"""Tiny pipelines, made once a session, and one engine that most tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from workers.engine import Engine, Job, Recipe, StepReport

STEPS = 8


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with `sd`, `flux` and `pixart` in it."""
    from workers.engine import machine

    machine.set_environment()
    from tests.engine import tiny

    root = tmp_path_factory.mktemp("weights")
    tiny.stable_diffusion(root / "sd")
    tiny.flux(root / "flux")
    tiny.pixart(root / "pixart")
    return root


@pytest.fixture(scope="session")
def engine(weights: Path) -> Engine:
    return Engine(device="cpu", threads=1, weights_folder=weights)


@pytest.fixture
def sd() -> Recipe:
    return {
        "family": "diffusers",
        "weights": "sd",
        "defaults": {"num_inference_steps": STEPS, "guidance_scale": 3.0},
    }


@pytest.fixture
def job(sd: Recipe) -> Callable[..., Job]:
    def make(id: str = "one", recipe: Recipe | None = None, *, exact: bool = False, **asked: object) -> Job:
        asked = {"prompt": "a tall vase", "seed": 1, "width": 64, "height": 64, **asked}
        return Job(id, recipe or sd, asked, exact)

    return make


class Listener:
    """An `on_step` that remembers every report and stops whom it is told to, at the step it is told to."""

    def __init__(self, **stop_at: int) -> None:
        self.stop_at = stop_at
        self.reports: list[StepReport] = []
        self.calls = 0

    def __call__(self, reports: Sequence[StepReport]) -> list[str]:
        self.calls += 1
        self.reports.extend(reports)
        return [report.id for report in reports if report.step >= self.stop_at.get(report.id, 1 << 30)]

    def steps(self, id: str) -> list[int]:
        """The steps that were told, each once; the first may be told again with its preview."""
        told = [report.step for report in self.of(id)]
        assert told.count(1) <= 2
        return told[1:] if told[:2] == [1, 1] else told

    def of(self, id: str) -> list[StepReport]:
        """What was told of the steps, without what was only told again because files took their time."""
        told = [report for report in self.reports if report.id == id and report.step > 0]
        return [
            report
            for before, report in zip([None, *told], told, strict=False)
            if before is None or report.preview or report.logs or report.step != before.step
        ]
