"""An exponential moving average of weights: what is saved is steadier than what is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_MEMORY = 25  # the average remembers this fraction of the training, and no fewer steps than
_SHORTEST = 500


class MovingAverage:
    """The average of `weights` over a training of `steps` steps."""

    def __init__(self, weights: Iterable[Tensor], steps: int) -> None:
        self._weights = [weight.detach() for weight in weights]  # the same memory, without a gradient
        self._longest = 1 - 1 / max(_SHORTEST, steps // _MEMORY)
        self.values = [weight.clone() for weight in self._weights]

    def update(self, step: int) -> None:
        """Takes in the weights after `step` steps; early on the memory is short."""
        keep = min(self._longest, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, self._weights, 1 - keep)

    def settle(self) -> None:
        """The weights become the average, for good."""
        self._set(self.values)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside this block the weights hold the average."""
        current = [weight.clone() for weight in self._weights]
        self._set(self.values)
        try:
            yield
        finally:
            self._set(current)

    def _set(self, values: list[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)
