"""One recipe, measured in a process of its own: `python -m workers.engine.measuring FOLDER`.

FOLDER holds `asked.json` and gets `found.json` and the media of the last timed run of each input, `0.media` and so on.
A process for each recipe, because the peak of memory is that of a process, and what one has compiled or cached would
serve the next.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypedDict

from workers.engine.contract import Job, Metrics, Recipe, StepReport
from workers.engine.runtime import Engine

ASKED, FOUND = "asked.json", "found.json"


class Asked(TypedDict):
    """What is to be measured. `inputs` differ in their seed; each is run `runs` times after one that warms up."""

    recipe: Recipe
    inputs: list[dict[str, Any]]
    runs: int
    device: str
    threads: int | None
    weights_folder: str


class Found(TypedDict):
    """What came of it; `error` is a sentence and the rest is empty where it could not run."""

    error: str
    seconds_per_step: float
    load_s: float
    first_run_s: float
    peak_memory_bytes: int
    machine: dict[str, Any]
    versions: dict[str, str]
    media_types: list[str]
    notes: list[str]


def main() -> None:
    """Measure what the folder asks for."""
    folder = Path(sys.argv[1])
    asked: Asked = json.loads((folder / ASKED).read_text())
    (folder / FOUND).write_text(json.dumps(measure(asked, folder)))


def measure(asked: Asked, folder: Path) -> Found:
    """Run it and time it; media go into `folder`."""
    engine = Engine(
        device=asked["device"], threads=asked["threads"], weights_folder=Path(asked["weights_folder"])
    )
    recipe: Recipe = {**asked["recipe"], "previews": False}
    jobs = [Job(str(number), recipe, given, exact=True) for number, given in enumerate(asked["inputs"])]
    notes: list[str] = []

    def on_step(reports: Sequence[StepReport]) -> list[str]:
        notes.extend(line for report in reports for line in report.logs if line not in notes)
        return []

    started_at = time.perf_counter()
    timed: list[Metrics] = []
    media_types: list[str] = []
    for job in (replace(jobs[0], id="first"), *(job for job in jobs for _ in range(asked["runs"]))):
        [outcome] = engine.run([job], on_step)
        if outcome.error is not None or outcome.metrics is None:
            return _failed(outcome.error.sentence if outcome.error else "It did not run.")
        if job.id == "first":
            first_run_s = time.perf_counter() - started_at - outcome.metrics.load_s
            load_s = outcome.metrics.load_s
            continue
        timed.append(outcome.metrics)
        (folder / f"{job.id}.media").write_bytes(outcome.outputs[0].data)
        media_types = [*media_types[: int(job.id)], outcome.outputs[0].media_type]
    return {
        "error": "",
        "seconds_per_step": median(one.steps_s / max(one.steps, 1) for one in timed),
        "load_s": load_s,
        "first_run_s": first_run_s,
        "peak_memory_bytes": max(one.peak_memory_bytes for one in timed),
        "machine": _machine(timed[0]),
        "versions": dict(timed[0].versions),
        "media_types": media_types,
        "notes": [note for note in notes if not note.startswith("Weights loaded")],
    }


def _failed(sentence: str) -> Found:
    return {
        "error": sentence,
        "seconds_per_step": 0.0,
        "load_s": 0.0,
        "first_run_s": 0.0,
        "peak_memory_bytes": 0,
        "machine": {},
        "versions": {},
        "media_types": [],
        "notes": [],
    }


def _machine(metrics: Metrics) -> dict[str, Any]:
    from workers.engine import machine

    started = machine.start(metrics.device, metrics.threads)
    return {
        "device": started.device,
        "name": _name(started.device),
        "threads": started.threads,
        "memory_bytes": started.memory_bytes,
    }


def _name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
