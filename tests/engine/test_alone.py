"""The engine by itself: what importing it costs, and a family that needs no torch at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.engine.conftest import Listener
from workers.engine import Engine, Job, Recipe

CARD: Recipe = {"family": "testcard", "weights": "", "defaults": {"num_inference_steps": 5}}
PROJECT = Path(__file__).resolve().parents[2]


def test_importing_and_making_an_engine_costs_no_torch() -> None:
    script = """
import sys
from workers import engine
made = engine.Engine()
assert made.loaded() == [] and made.loading() == []
card = {"family": "testcard", "weights": ""}
[outcome] = made.run([engine.Job("a", card, {"seed": 1})], lambda reports: [])
assert outcome.status == "succeeded", outcome
heavy = {"torch", "diffusers", "transformers", "numpy", "django", "celery"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROJECT, timeout=300)


def test_a_test_card_takes_its_steps_and_can_be_stopped(job: Callable[..., Job]) -> None:
    engine = Engine()
    listener = Listener(b=2)
    kept, stopped = engine.run([Job("a", CARD, {"seed": 1}), Job("b", CARD, {"seed": 2})], listener)
    assert (kept.status, stopped.status) == ("succeeded", "stopped")
    assert listener.steps("a") == [1, 2, 3, 4, 5]
    assert [bool(report.preview) for report in listener.of("a")] == [True] * 4 + [False]
    [again] = engine.run([Job("a", CARD, {"seed": 1})], Listener())
    assert again.outputs[0].data == kept.outputs[0].data
    [bad] = engine.run([Job("a", CARD, {"seed": 1, "step_seconds": -1})], Listener())
    assert bad.error is not None
    assert "step_seconds" in bad.error.sentence
