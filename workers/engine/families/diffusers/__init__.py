"""Any standard diffusers pipeline, opened by configuration from a folder.

Hides the library: loading without trust, its three kinds of step hook, per-picture generators, previews,
what its errors mean. The result is the same bytes for the same seed, alone on the same machine.
"""

from __future__ import annotations

from pathlib import Path

from workers.engine.contract import Recipe
from workers.engine.families.diffusers import accelerations
from workers.engine.families.diffusers.opening import check, load
from workers.engine.families.diffusers.pipeline import Pipeline
from workers.engine.machine import Machine

__all__ = ["Pipeline", "check", "needs_weights", "open"]

needs_weights = True


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> Pipeline:  # noqa: A001 - the verb of every family
    """The pipeline in `folder` on `machine`. Raises EngineError; what the library raises where memory runs out."""
    pipe = load(recipe, folder=folder, machine=machine)
    dtype = str(machine.dtype(recipe.get("dtype", "auto"))).removeprefix("torch.")
    done = accelerations.apply(pipe, recipe, machine)
    return Pipeline(pipe, recipe=recipe, machine=machine, dtype=dtype, accelerations=done)
