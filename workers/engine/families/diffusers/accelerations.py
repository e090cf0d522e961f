"""What a recipe asks for to run faster or in less memory, done to an opened pipeline by the library's own names.

Hides when each must happen, what this machine lacks, and that step caches and compiled code have a state. Whether the
parts go together was asked when the recipe was published; here is asked what the machine has. What only costs speed is
left out with a line for the log of the runs; what was asked for because of memory is an error.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import torch

from workers.engine import machine as machines
from workers.engine.contract import EngineError, Recipe
from workers.engine.machine import Machine

_diffusers: Any = diffusers

_log = logging.getLogger(__name__)

DENOISERS = ("transformer", "transformer_2", "unet")
_PACKAGES = {
    "bitsandbytes_4bit": ("bitsandbytes", "bitsandbytes"),
    "bitsandbytes_8bit": ("bitsandbytes", "bitsandbytes"),
    "gguf": ("gguf", "gguf"),
    "modelopt": ("modelopt", "nvidia-modelopt"),
    "quanto": ("optimum.quanto", "optimum-quanto"),
    "torchao": ("torchao", "torchao"),
}
_AFTER_TIMESTEP = ("FasterCacheConfig", "PyramidAttentionBroadcastConfig")

Asked = Mapping[str, Any]


def asked_of(recipe: Recipe) -> Asked:
    """The accelerations of a recipe; none is an empty mapping."""
    asked = recipe.get("accelerations") or {}
    if not isinstance(asked, Mapping):
        raise EngineError("The accelerations of this recipe are no table.", code="bad_weights")
    return asked


def check(recipe: Recipe) -> None:
    """That what has to be asked for as the weights are opened can be had here. Raises EngineError, naming the package
    that is missing."""
    wanted = asked_of(recipe).get("quantization")
    if not wanted:
        return
    backend = str(wanted.get("quant_backend")) if isinstance(wanted, Mapping) else "none"
    module, package = _PACKAGES.get(backend, ("", ""))
    if not module:
        raise EngineError(f"There is no quantization “{backend}” here.", code="bad_weights")
    if not _is_there(module):
        sentence = f"Quantization by {backend} needs the package {package}, which is not installed here."
        raise EngineError(sentence, code="bad_weights")


def loading(recipe: Recipe) -> dict[str, Any]:
    """What opening the weights takes beside their folder, once `check` found that it can be had."""
    wanted = asked_of(recipe).get("quantization")
    if not wanted:
        return {}
    options = {name: _as_dtype(value) for name, value in (wanted.get("quant_kwargs") or {}).items()}
    config = _diffusers.PipelineQuantizationConfig(
        quant_backend=str(wanted["quant_backend"]),
        quant_kwargs=options,
        components_to_quantize=list(wanted.get("components_to_quantize") or ()) or None,
    )
    return {"quantization_config": config}


def place(pipe: Any, recipe: Recipe, machine: Machine) -> None:
    """The pipeline on the device, or beside it and brought there part by part."""
    wanted = dict(asked_of(recipe).get("offload") or {})
    kind = wanted.pop("kind", "")
    if kind == "group":
        wanted.setdefault("offload_type", "block_level")
        pipe.enable_group_offload(
            onload_device=torch.device(machine.device), offload_device=torch.device("cpu"), **wanted
        )
    elif kind == "model" and machine.device != "cpu":
        pipe.enable_model_cpu_offload(device=machine.device)
    elif kind == "sequential" and machine.device != "cpu":
        pipe.enable_sequential_cpu_offload(device=machine.device)
    else:
        pipe.to(machine.device)


def apply(pipe: Any, recipe: Recipe, machine: Machine) -> Accelerations:
    """The rest of them, to a pipeline in its place. Raises EngineError for what cannot be left out."""
    try:
        return Accelerations(pipe, recipe, machine)
    except Exception as error:
        if machines.is_out_of_memory(error) or isinstance(error, EngineError):
            raise
        _log.exception("the accelerations of a recipe failed")
        sentence = f"What this recipe asks for to save memory failed here ({type(error).__name__})."
        raise EngineError(sentence, code="bad_weights") from error


class Accelerations:
    """What was done to one pipeline. `notes` say what could not be done, for the log of its runs."""

    def __init__(self, pipe: Any, recipe: Recipe, machine: Machine) -> None:
        self.notes: list[str] = []
        self._denoisers: list[Any] = [
            model for name in DENOISERS if isinstance(model := getattr(pipe, name, None), torch.nn.Module)
        ]
        self._cached: list[Any] = []
        self._compiled: list[Any] = []
        asked = asked_of(recipe)
        if (asked.get("offload") or {}).get("kind") in {"model", "sequential"} and machine.device == "cpu":
            self.notes.append("Offloading is left out: this machine has no device to offload from.")
        if asked.get("channels_last", True):
            _set_channels_last(pipe)
        self._set_vae(getattr(pipe, "vae", None), asked)
        self._set_casting(asked.get("layerwise_casting"), machine)
        self._try("attention backend", self._set_attention, asked.get("attention_backend"))
        self._try("step cache", self._set_cache, asked.get("cache"), pipe)
        self._try("compilation", self._compile, asked.get("compile"), is_hooked=bool(asked.get("cache")))

    def forget(self) -> None:
        """Nothing of this run is left for the next one. A run that was stopped in its midst leaves half of a state."""
        for model in self._cached:
            model._reset_stateful_cache()

    def recover(self, error: Exception) -> bool:
        """Whether `error` came of compiling, and the pipeline is now the plain one, which can be called again."""
        if not self._compiled or not _is_of_compiling(error):
            return False
        _log.warning("compilation failed; the model runs uncompiled", exc_info=error)
        for module in self._compiled:
            module._compiled_call_impl = None
        self._compiled = []
        self.notes.append(f"Compilation failed ({type(error).__name__}); the model runs uncompiled.")
        return True

    def _try(self, what: str, act: Callable[..., None], wanted: Any, *more: Any, **named: Any) -> None:
        """What only costs speed where it cannot be had."""
        if not wanted:
            return
        try:
            act(wanted, *more, **named)
        except Exception as error:
            if machines.is_out_of_memory(error):
                raise
            _log.warning("no %s on this machine", what, exc_info=error)
            self.notes.append(f"Runs without the {what} of its recipe: {str(error)[:200]}")

    def _set_vae(self, vae: Any, asked: Asked) -> None:
        for name in ("tiling", "slicing"):
            if not asked.get(f"vae_{name}"):
                continue
            act = getattr(vae, f"enable_{name}", None)
            if act is None:
                self.notes.append(f"Runs without VAE {name}: {type(vae).__name__} has none.")
            else:
                act()

    def _set_casting(self, wanted: Asked | None, machine: Machine) -> None:
        if not wanted:
            return
        storage = _as_dtype(wanted.get("storage_dtype", "float8_e4m3fn"))
        compute = _as_dtype(wanted.get("compute_dtype", "")) or machine.dtype("auto")
        for model in self._denoisers:
            model.enable_layerwise_casting(storage_dtype=storage, compute_dtype=compute)

    def _set_attention(self, backend: str) -> None:
        if "_hub" in backend:
            raise ValueError(f"{backend} would download its kernels, and an engine asks no hub")
        for model in self._denoisers:
            try:
                model.set_attention_backend(backend)
            except BaseException:
                model.reset_attention_backend()
                raise

    def _set_cache(self, wanted: Asked, pipe: Any) -> None:
        options = dict(wanted)
        name = str(options.pop("config", ""))
        options = {
            key: tuple(v) if key.endswith("_range") and isinstance(v, list) else v
            for key, v in options.items()
        }
        if name in _AFTER_TIMESTEP:
            options["current_timestep_callback"] = lambda: pipe.current_timestep
        config = getattr(_diffusers, name)(**options)
        for model in self._denoisers:
            if not hasattr(model, "enable_cache"):
                raise TypeError(f"{type(model).__name__} has no step cache")
        for model in self._denoisers:
            model.enable_cache(config)
            self._cached.append(model)

    def _compile(self, wanted: Any, *, is_hooked: bool) -> None:
        options = dict(wanted) if isinstance(wanted, Mapping) else {}
        is_regional = options.pop("regional", True)
        options.setdefault("fullgraph", not is_hooked)
        for model in self._denoisers:
            blocks = set(getattr(model, "_repeated_blocks", None) or ()) if is_regional else set()
            parts = [part for part in model.modules() if type(part).__name__ in blocks]
            if is_regional and not parts:
                self.notes.append(f"{type(model).__name__} has no repeated blocks; it is compiled whole.")
                options["fullgraph"] = False
            if parts:
                model.compile_repeated_blocks(**options)
            else:
                model.compile(**options)
            self._compiled += parts or [model]


def _set_channels_last(pipe: Any) -> None:
    for name in ("unet", "vae"):
        model: Any = getattr(pipe, name, None)
        if model is not None and all(p.ndim <= 4 for p in model.parameters()):
            # Convolutions are 16 % faster so in a batch of eight on a CPU, and no slower alone.
            model.to(memory_format=torch.channels_last)


def _is_of_compiling(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "torch.fx.experimental")):
            return True
        error = error.__cause__
    return False


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of what it lies in
        return False


def _as_dtype(value: Any) -> Any:
    """A precision by its name of torch; everything else as it is."""
    found = getattr(torch, value, None) if isinstance(value, str) and value else None
    return found if isinstance(found, torch.dtype) else value
