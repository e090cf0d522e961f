"""From a weights folder to a pipeline of diffusers on the device, without trusting anything in the folder.

Hides how the library loads: its silent gaps, its loud logs, what its errors mean.
"""

from __future__ import annotations

import json
import logging
import re
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

_VARIANT = re.compile(r"\.(fp16|bf16|fp32|fp8)(?=[.-])")
_log = logging.getLogger(__name__)


def check(recipe: Recipe, *, folder: Path, machine: Machine) -> None:
    """That the files in `folder` are whole and harmless, and that this machine has the classes and packages that they
    and the recipe ask for. Raises EngineError."""
    check_files(recipe, folder)
    wanted = recipe.get("scheduler") or {}
    if "class" in wanted:
        _scheduler_kind(str(wanted["class"]))
    accelerations.check(recipe)
    machine.dtype(recipe.get("dtype", "auto"))


def check_files(recipe: Recipe, folder: Path) -> None:
    """The part of `check` that is about the files, whatever machine will open them. Raises EngineError."""
    declared = weights.check(recipe, folder)
    _check_classes(recipe.get("pipeline") or declared, declared, folder)


def load(recipe: Recipe, *, folder: Path, machine: Machine) -> Any:
    """The pipeline in `folder`, which was checked, on `machine`. Raises EngineError; what the library raises where
    memory runs out."""
    for library in (_diffusers, _transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    dtype = machine.dtype(recipe.get("dtype", "auto"))
    try:
        name = recipe.get("pipeline") or _index(folder)["_class_name"]
        pipe = getattr(_diffusers, name).from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            variant=_variant(folder),
            **_scheduler_in_place(recipe.get("scheduler") or {}, folder),
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


def _check_classes(name: str, declared: str, folder: Path) -> None:
    """That `name` is a class of the library, the one that the folder declares or another for the same parts."""
    for one in {name, declared}:
        kind = getattr(diffusers, one, None)
        if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
            raise EngineError(
                f"diffusers {diffusers.__version__} has no pipeline “{one}”.", code="bad_weights"
            )
    parts = set()
    for component, pair in _index(folder).items():
        if component.startswith("_") or not isinstance(pair, list) or None in pair[:2]:
            continue
        library, of = pair[:2]
        source = {"diffusers": diffusers, "transformers": transformers}.get(library)
        source = source or getattr(diffusers.pipelines, library, None)
        part = getattr(source, of, None)
        if not isinstance(part, type):
            raise EngineError(f"The component “{component}” is of no known class ({of}).", code="bad_weights")
        if issubclass(part, torch.nn.Module) and not any((folder / component).glob("*.safetensors")):
            sentence = (
                f"The component “{component}” has no weights; they are opened from safetensors files only."
            )
            raise EngineError(sentence, code="bad_weights")
        parts.add(component)
    if name != declared:
        kind = getattr(_diffusers, name)
        needed, options = (set(names) for names in kind._get_signature_keys(kind))
        if not (parts <= needed | options and needed - parts <= set(kind._optional_components)):
            raise EngineError(
                f"The recipe asks for {name}, but the weights are those of a {declared}.", code="bad_weights"
            )


def _index(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "model_index.json").read_bytes())
    return found


def _variant(folder: Path) -> str | None:
    """The precision that files are named after, as in `model.fp16.safetensors`; None where they have no such name."""
    named = (_VARIANT.search(file.name) for file in sorted(folder.glob("*/*.safetensors")))
    return next((found[1] for found in named if found), None)


def _scheduler_in_place(wanted: Mapping[str, object], folder: Path) -> dict[str, object]:
    """The wanted scheduler for one whose class needs a package that is not installed, and so cannot even be loaded."""
    pair = _index(folder).get("scheduler")
    declared = getattr(diffusers, str(pair[1]), None) if isinstance(pair, list) and len(pair) == 2 else None
    if "class" not in wanted or not hasattr(declared, "_backends"):
        return {}
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
    return {"scheduler": _scheduler(wanted, {k: v for k, v in config.items() if not k.startswith("_")})}


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
    if wanted:
        pipe.scheduler = _scheduler({"class": type(pipe.scheduler).__name__, **wanted}, pipe.scheduler.config)


def _scheduler(wanted: Mapping[str, object], config: Mapping[str, object]) -> Any:
    options = dict(wanted)
    return _scheduler_kind(str(options.pop("class"))).from_config(config, **options)


def _scheduler_kind(name: str) -> Any:
    kind = getattr(_diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise EngineError(f"diffusers {diffusers.__version__} has no scheduler “{name}”.", code="bad_weights")
    return kind
