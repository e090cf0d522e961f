"""Small weights on the base of one opened pipeline: put on for a run, taken off after it, kept for the next one.

Hides peft, and what its loaders do in silence: tensors that fit nowhere are dropped with a warning, some layouts
rewrite the base. Here each of them is a refusal, and after every run the base is the base, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch

from workers.engine import machine as machines
from workers.engine.contract import Adapter, EngineError

_log = logging.getLogger(__name__)

MAX_TENSORS = 16_384
LEAST_ROOM_BYTES = 256 * 2**20  # for adapters beside their base, however small that is
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_COUNTS = (torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)  # of an alpha alone
# Everything else that loaders know (LoKr, control LoRA, norms, embeddings) rewrites the base or is dropped by them.
_PARTS = (
    ".lora_A.weight", ".lora_B.weight", ".lora_B.bias", ".lora_down.weight", ".lora_up.weight", ".lora.down.weight",
    ".lora.up.weight", "_lora.down.weight", "_lora.up.weight", ".lora_linear_layer.down.weight",
    ".lora_linear_layer.up.weight", ".alpha",
)  # fmt: skip
_METADATA = "lora_adapter_metadata"
_MOST_ALPHA = 1e9  # JSON has whole numbers that no float holds

Tensors = dict[str, torch.Tensor]


class Adapters:
    """The adapters of one pipeline: `put_on`, `take_off`. Those put on least recently make room for others."""

    def __init__(self, pipe: Any, *, room_bytes: int) -> None:
        self._pipe = pipe
        self._room_bytes = max(room_bytes, LEAST_ROOM_BYTES)
        self._kept: OrderedDict[str, int] = OrderedDict()
        self._parts = [
            name
            for name in getattr(pipe, "_lora_loadable_modules", ())
            if isinstance(getattr(pipe, name, None), torch.nn.Module)
        ]

    @property
    def kept(self) -> list[str]:
        """The sha256 of what is loaded, least recently used first."""
        return list(self._kept)

    @property
    def bytes(self) -> int:
        """What they hold beside the base."""
        return sum(self._kept.values())

    def put_on(self, wanted: Sequence[Adapter]) -> list[str]:
        """The pipeline with these on it, stacked by their weights; the order that they come in changes nothing.

        Returns a line for the log of each that had to be loaded. Raises EngineError for a file that is damaged,
        hostile or made for another model; the base is then as it was.
        """
        if not wanted:
            return []
        if not self._parts:
            raise _refused("This model takes no adapters.")
        stacked: dict[str, float] = {}
        for one in sorted(wanted, key=lambda adapter: adapter.sha256):
            stacked[one.sha256] = stacked.get(one.sha256, 0.0) + one.weight
        for one in wanted:
            if one.sha256 in self._kept:
                self._kept.move_to_end(one.sha256)
        lines = []
        try:
            for one in wanted:
                if one.sha256 not in self._kept:
                    started_at = time.perf_counter()
                    self._load(one, keeping=stacked)
                    lines.append(
                        f"Adapter {_called(one)} loaded in {time.perf_counter() - started_at:.1f} s."
                    )
            self._pipe.enable_lora()
            self._pipe.set_adapters(
                [_name(sha256) for sha256 in stacked], adapter_weights=list(stacked.values())
            )
        except BaseException:
            self.take_off()  # what is loaded acts at once, also where the next one is refused
            raise
        return lines

    def take_off(self) -> None:
        """The base alone again; what was put on stays near."""
        if self._kept:
            self._pipe.disable_lora()

    def shed(self, size: int) -> int:
        """Forgets those put on least recently until `size` bytes are free, between two runs; how many that freed."""
        freed = 0
        for sha256 in self.kept:
            if freed >= size:
                break
            freed += self._kept.pop(sha256)
            self._drop(_name(sha256))
        return freed

    def _load(self, one: Adapter, *, keeping: Mapping[str, float]) -> None:
        tensors = _with_strength(*_read(one))
        size = sum(tensor.numel() for tensor in tensors.values()) * self._item_bytes()
        self._make_room(size, keeping)
        tensors = self._placed(one, tensors)
        name = _name(one.sha256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # "inconsistency": tensors would be dropped
                self._pipe.load_lora_weights(tensors, adapter_name=name)
            self._check_taken(one, tensors, name)
        except Exception as error:
            self._drop(name)
            if machines.is_out_of_memory(error) or isinstance(error, EngineError):
                raise
            _log.info("an adapter was refused", exc_info=error)
            raise _mismatch(one, f"it could not be put on ({type(error).__name__})") from None
        self._kept[one.sha256] = size

    def _make_room(self, size: int, keeping: Mapping[str, float]) -> None:
        for sha256 in [kept for kept in self._kept if kept not in keeping]:
            if self.bytes + size <= self._room_bytes:
                return
            del self._kept[sha256]
            self._drop(_name(sha256))

    def _drop(self, name: str) -> None:
        """Forget an adapter, and with the last one every trace of them all."""
        if not self._kept:
            self._pipe.unload_lora_weights()
        elif any(name in names for names in self._pipe.get_list_adapters().values()):
            self._pipe.delete_adapters([name])

    def _item_bytes(self) -> int:
        return int(next(getattr(self._pipe, self._parts[0]).parameters()).element_size())

    def _placed(self, one: Adapter, tensors: Tensors) -> Tensors:
        """The tensors by the names that the pipeline's loader knows, each checked against the layer that it is for."""
        named = self._converted(one, tensors)
        if not any(name.split(".", 1)[0] in self._parts for name in named):
            # Saved from the model alone: its names begin inside of it.
            prefix = self._parts[0]
            tensors = {f"{prefix}.{name.removeprefix('base_model.model.')}": t for name, t in tensors.items()}
            named = self._converted(one, tensors)
        layers = {
            f"{part}.{path}": layer
            for part in self._parts
            for path, layer in getattr(self._pipe, part).named_modules()
        }
        for name, tensor in named.items():
            if name.split(".", 1)[0] not in self._parts:
                raise _mismatch(one, f"“{name[:120]}” is for none of {', '.join(self._parts)}")
            self._check_fits(one, name, tensor, layers)
        return tensors

    def _converted(self, one: Adapter, tensors: Tensors) -> Tensors:
        unet = getattr(self._pipe, "unet", None)
        options = {"unet_config": unet.config} if unet is not None else {}
        try:
            found = self._pipe.lora_state_dict(dict(tensors), **options)
        except Exception as error:
            _log.info("an adapter was refused", exc_info=error)
            raise _mismatch(one, "its tensors are named in no way that this model knows") from None
        named: Tensors = found[0] if isinstance(found, tuple) else found
        return named

    def _check_fits(
        self, one: Adapter, name: str, tensor: torch.Tensor, layers: Mapping[str, torch.nn.Module]
    ) -> None:
        path, _, end = name.rpartition(".lora_A.weight")
        is_input = not end and bool(path)
        if not is_input:
            path, _, end = name.rpartition(".lora_B.weight")
            if end or not path:
                return  # an older spelling, which the loader turns into this one
        layer = layers.get(path)
        if layer is None:
            raise _mismatch(one, f"there is no layer “{path[:120]}”")
        layer = getattr(layer, "base_layer", layer)
        weight = getattr(layer, "weight", None)
        has = weight.shape[1 if is_input else 0] if weight is not None and weight.ndim > 1 else None
        asks = tensor.shape[1 if is_input else 0] if tensor.ndim > 1 else None
        side = "inputs" if is_input else "outputs"
        if has is None or asks is None:
            raise _mismatch(one, f"“{path[:120]}” is no layer that an adapter changes")
        if int(has) != int(asks):
            raise _mismatch(one, f"“{path[:120]}” has {has} {side}, and the file is for {asks}")

    def _check_taken(self, one: Adapter, tensors: Tensors, name: str) -> None:
        """Every number of the file is in the model now. Loaders drop what fits nowhere, and only warn."""
        sent = sum(
            t.numel() for key, t in self._converted(one, tensors).items() if not key.endswith(".alpha")
        )
        taken = sum(
            parameter.numel()
            for part in self._parts
            for key, parameter in getattr(self._pipe, part).named_parameters()
            if f".{name}." in key
        )
        if taken != sent:
            raise _mismatch(one, f"of its {sent:,} numbers {taken:,} have a place")


def _read(one: Adapter) -> tuple[Tensors, dict[str, str]]:
    """The tensors of a file and its metadata, once they were found to be numbers and nothing else."""
    path = Path(one.path)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != one.sha256:
                raise _refused(f"The adapter {_called(one)} is not the file that it was; upload it again.")
        with safetensors.safe_open(path, framework="pt") as opened:
            names = list(opened.keys())
            if not 0 < len(names) <= MAX_TENSORS:
                raise _refused(
                    f"The adapter {_called(one)} has {len(names):,} tensors; 1 to {MAX_TENSORS:,} are taken."
                )
            strange = next((name for name in names if not name.endswith(_PARTS)), None)
            if strange is not None:
                raise _refused(f"The adapter {_called(one)} is no LoRA: it holds “{strange[:120]}”.")
            tensors = {name: opened.get_tensor(name) for name in names}
            metadata = dict(opened.metadata() or {})
    except OSError as error:
        _log.warning("an adapter could not be read", exc_info=error)
        sentence = f"The file of the adapter {_called(one)} could not be read."
        raise EngineError(sentence, code="engine_failed", retryable=True) from None
    except safetensors.SafetensorError as error:
        _log.info("an adapter could not be read", exc_info=error)
        raise _refused(f"The adapter {_called(one)} cannot be read as safetensors.") from None
    for name, tensor in tensors.items():
        is_count = name.endswith(".alpha") and tensor.numel() == 1 and tensor.dtype in _COUNTS
        if tensor.dtype not in _DTYPES and not is_count:
            raise _refused(
                f"The adapter {_called(one)} holds {tensor.dtype} in “{name[:120]}”; floats are taken."
            )
        if not bool(tensor.isfinite().all()):
            raise _refused(f"The adapter {_called(one)} holds values in “{name[:120]}” that are no numbers.")
    return tensors, metadata


def _with_strength(tensors: Tensors, metadata: Mapping[str, str]) -> Tensors:
    """The strength that the metadata tells, alpha by rank, multiplied into the tensors.

    Of the metadata nothing reaches the library: it would be the arguments of a configuration, with patterns and names
    of layers of whoever made the file.
    """
    try:
        told = json.loads(metadata.get(_METADATA, "{}"))
    except (ValueError, RecursionError):
        return tensors
    if not isinstance(told, Mapping) or not told:
        return tensors
    changed = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith(".lora_B.weight") and tensor.ndim > 1:
            scale = _scale(told, name.removesuffix(".lora_B.weight"), rank=int(tensor.shape[1]))
            if scale != 1.0:
                changed[name] = (tensor.float() * scale).to(tensor.dtype)
    return changed


def _scale(told: Mapping[str, Any], path: str, *, rank: int) -> float:
    part, _, inner = path.partition(".")
    if f"{part}.lora_alpha" not in told:
        part, inner = "", path
    prefix = f"{part}." if part else ""
    patterns = told.get(f"{prefix}alpha_pattern")
    alpha = told.get(f"{prefix}lora_alpha", rank)
    if isinstance(patterns, Mapping):
        # They are regular expressions there; here they are the names that they nearly always are.
        fitting = (value for key, value in patterns.items() if _ends_in(inner, str(key)))
        alpha = next(fitting, alpha)
    if (
        isinstance(alpha, bool)
        or not isinstance(alpha, int | float)
        or not abs(alpha) < _MOST_ALPHA
        or rank < 1
    ):
        return 1.0
    return alpha / math.sqrt(rank) if told.get(f"{prefix}use_rslora") is True else alpha / rank


def _ends_in(path: str, key: str) -> bool:
    exact = key.removeprefix("^")
    return path == exact or (exact == key and path.endswith(f".{key}"))


def _name(sha256: str) -> str:
    return f"a{sha256[:24]}"


def _called(one: Adapter) -> str:
    return f"“{one.name}”" if one.name else one.sha256[:12]


def _mismatch(one: Adapter, why: str) -> EngineError:
    return _refused(f"The adapter {_called(one)} does not fit this model: {why}.")


def _refused(sentence: str) -> EngineError:
    return EngineError(sentence, code="invalid_input")
