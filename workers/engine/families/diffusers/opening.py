"""From a weights folder to a pipeline of diffusers on the device, without trusting anything in the folder.

Hides how the library loads: its silent gaps, its loud logs, what its errors mean.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from workers.engine import machine as machines
from workers.engine import weights
from workers.engine.contract import EngineError, Recipe
from workers.engine.families.diffusers import accelerations
from workers.engine.machine import Machine

# Both libraries are half typed; what is taken from them is checked where it is taken.
_diffusers: Any = diffusers
_transformers: Any = transformers

_log = logging.getLogger(__name__)


def load(recipe: Recipe, *, folder: Path, machine: Machine) -> Any:
    """The pipeline in `folder` on `machine`. Raises EngineError: damaged, missing or unsafe weights, no memory."""
    declared = weights.check(recipe, folder)
    _check_classes(declared, folder)
    for library in (_diffusers, _transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    dtype = machine.dtype(recipe.get("dtype", "auto"))
    try:
        pipe = _diffusers.DiffusionPipeline.from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            **accelerations.loading(recipe),
        )
        _check_complete(pipe, folder)
        _set_scheduler(pipe, recipe.get("scheduler") or {})
        accelerations.place(pipe, recipe, machine)
    except EngineError:
        raise
    except Exception as error:
        if machines.is_out_of_memory(error):
            raise
        _log.exception("opening %s failed", folder.name)
        sentence = (
            f"The weights of this model could not be opened ({type(error).__name__}); publish them again."
        )
        raise EngineError(sentence, code="bad_weights") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _check_classes(declared: str, folder: Path) -> None:
    kind = getattr(diffusers, declared, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise EngineError(
            f"diffusers {diffusers.__version__} has no pipeline “{declared}”.", code="bad_weights"
        )
    for component, pair in json.loads((folder / "model_index.json").read_bytes()).items():
        if component.startswith("_") or not isinstance(pair, list) or None in pair[:2]:
            continue
        library, name = pair[:2]
        source = {"diffusers": diffusers, "transformers": transformers}.get(library)
        source = source or getattr(diffusers.pipelines, library, None)
        if source is None or not isinstance(getattr(source, name, None), type):
            raise EngineError(
                f"The component “{component}” is of no known class ({name}).", code="bad_weights"
            )


def _check_complete(pipe: Any, folder: Path) -> None:
    """The libraries fill missing tensors with noise and a warning; here they are an error."""
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            present = len(weights.tensors(folder / name))
            if present < sum(1 for _ in component.parameters()):
                raise EngineError(
                    f"Tensors are missing from the weights of “{name}”; publish them again.",
                    code="bad_weights",
                )


def _set_scheduler(pipe: Any, wanted: Mapping[str, object]) -> None:
    if not wanted:
        return
    options = dict(wanted)
    name = str(options.pop("class", type(pipe.scheduler).__name__))
    kind = getattr(_diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise EngineError(f"diffusers {diffusers.__version__} has no scheduler “{name}”.", code="bad_weights")
    pipe.scheduler = getattr(_diffusers, name).from_config(pipe.scheduler.config, **options)
