"""Texts that were encoded before are not encoded again: a cache in front of a pipeline's own `encode_prompt`.

Hides which arguments decide an encoding and how a batch falls into texts. An encoding is kept by everything that it
depends on, the adapters on the text encoders among it. What was encoded in a batch may differ in its last bit from
what is encoded alone, so it serves batches only: a picture made alone has the same bytes with the cache as without.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

BUDGET_BYTES = 64 * 2**20
_PLAIN = (str, int, float, bool, type(None), torch.device, torch.dtype)

Key = tuple[object, ...]


class Encodings:
    """The cache of one opened pipeline, least recently used texts going first beyond `budget_bytes`."""

    def __init__(self, pipe: Any, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._pipe = pipe
        self._encode: Callable[..., Any] = pipe.encode_prompt
        self._signature = inspect.signature(self._encode)
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[Key, tuple[torch.Tensor | None, ...]] = OrderedDict()
        self.bytes = self.hits = self.misses = 0

    @classmethod
    def install(cls, pipe: Any) -> Encodings | None:
        """Put a cache in front of `pipe`'s encoder; None for a pipeline that cannot be given encodings."""
        encode = getattr(pipe, "encode_prompt", None)
        if encode is None or not {"prompt", "prompt_embeds"} <= set(inspect.signature(encode).parameters):
            return None
        made = cls(pipe)
        pipe.encode_prompt = made
        return made

    def clear(self) -> None:
        """Forgets everything, as is right when weights of an encoder change."""
        self._kept.clear()
        self.bytes = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the pipeline's own `encode_prompt` gives for these arguments."""
        bound = self._signature.bind(*args, **kwargs).arguments
        prompts = bound.get("prompt")
        texts = len(prompts) if isinstance(prompts, list) else 0
        keys = _keys(bound, texts, self._adapters()) if texts else None
        if keys is None:
            return self._encode(*args, **kwargs)
        found = self._found(keys)
        missing = [place for place, one in enumerate(found) if one is None]
        self.hits, self.misses = self.hits + texts - len(missing), self.misses + len(missing)
        if missing:
            given = {name: _only(value, missing, texts) for name, value in bound.items()}
            result = self._encode(**given)
            parts = _parts(result, len(missing))
            if parts is None:
                return result if len(missing) == texts else self._encode(*args, **kwargs)
            for place, part in zip(missing, parts, strict=True):
                found[place] = part
                self._keep(keys[place], part, alone=texts == 1)
        whole = _joined([one for one in found if one is not None])
        return self._encode(*args, **kwargs) if whole is None else whole

    def _found(self, keys: Sequence[Key]) -> list[tuple[torch.Tensor | None, ...] | None]:
        found: list[tuple[torch.Tensor | None, ...] | None] = []
        for key in keys:
            # What was encoded alone serves everybody; what was encoded in a batch serves batches.
            kinds = [(True, *key)] if len(keys) == 1 else [(True, *key), (False, *key)]
            known = next((kind for kind in kinds if kind in self._kept), None)
            if known is not None:
                self._kept.move_to_end(known)
            found.append(self._kept[known] if known is not None else None)
        return found

    def _keep(self, key: Key, part: tuple[torch.Tensor | None, ...], *, alone: bool) -> None:
        self._drop((alone, *key))
        self._kept[(alone, *key)] = part
        self.bytes += _bytes(part)
        while self.bytes > self._budget_bytes and self._kept:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        part = self._kept.pop(key, None)
        if part is not None:
            self.bytes -= _bytes(part)

    def _adapters(self) -> str:
        """The adapters that act on the text encoders, and how strongly."""
        state: list[object] = []
        for name, part in self._pipe.components.items():
            if name.startswith("text_encoder") and getattr(part, "peft_config", None):
                for layer, module in part.named_modules():
                    if hasattr(module, "active_adapters") and hasattr(module, "scaling"):
                        merged, off = (
                            getattr(module, "merged", False),
                            getattr(module, "disable_adapters", False),
                        )
                        state.append((name, layer, list(module.active_adapters), module.scaling, merged, off))
        return repr(state)


def _keys(bound: Mapping[str, Any], texts: int, adapters: str) -> list[Key] | None:
    """For each text all that its encoding depends on; None where something is no plain value."""
    shared: list[object] = [adapters]
    own: list[list[object]] = [[] for _ in range(texts)]
    for name, value in bound.items():
        if isinstance(value, list) and len(value) == texts and all(isinstance(one, _PLAIN) for one in value):
            for place, one in enumerate(value):
                own[place].append((name, one))
        elif isinstance(value, _PLAIN):
            shared.append((name, type(value).__name__, value))
        else:
            return None
    return [(*shared, *one) for one in own]


def _only(value: Any, places: Sequence[int], texts: int) -> Any:
    return [value[place] for place in places] if isinstance(value, list) and len(value) == texts else value


def _parts(result: Any, texts: int) -> list[tuple[torch.Tensor | None, ...]] | None:
    """The encoder's answer by text; None where it is of a form that cannot be taken apart."""
    if not isinstance(result, tuple) or not all(
        one is None or isinstance(one, torch.Tensor) for one in result
    ):
        return None
    parts: list[list[torch.Tensor | None]] = [[] for _ in range(texts)]
    for tensor in result:
        # Positions (rows x axes) are the same for every text and have no place for it.
        is_shared = tensor is None or (tensor.ndim == 2 and len(tensor) != texts)
        if not is_shared and len(tensor) != texts:
            return None
        for place, part in enumerate(parts):
            part.append(tensor if is_shared else tensor[place : place + 1].clone())
    return [tuple(part) for part in parts]


def _joined(found: Sequence[tuple[torch.Tensor | None, ...]]) -> tuple[torch.Tensor | None, ...] | None:
    """What the encoder would have answered; None where texts were padded to different lengths."""
    whole: list[torch.Tensor | None] = []
    for tensors in zip(*found, strict=True):
        real = [one for one in tensors if one is not None]
        if not real:
            whole.append(None)
        elif len(real) != len(tensors) or len({one.shape for one in real}) > 1:
            return None
        elif real[0].ndim == 2 and len(real[0]) != 1:
            whole.append(real[0].clone())
        else:
            whole.append(torch.cat(real) if len(real) > 1 else real[0].clone())
    return tuple(whole)


def _bytes(part: tuple[torch.Tensor | None, ...]) -> int:
    return sum(one.numel() * one.element_size() for one in part if one is not None)
