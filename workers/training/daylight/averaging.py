"""An exponential moving average of weights: what is saved is steadier than what is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_LONGEST = 0.998


class MovingAverage:
    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = list(weights)
        self.values = [weight.detach().clone() for weight in self._weights]

    def update(self, step: int) -> None:
        """Takes in the weights after `step` steps; early on the memory is short."""
        keep = min(_LONGEST, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.values, [weight.detach() for weight in self._weights], 1 - keep)

    def settle(self) -> None:
        """The weights become the average, for good."""
        self._set(self.values)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside this block the weights hold the average."""
        current = [weight.detach().clone() for weight in self._weights]
        self._set(self.values)
        try:
            yield
        finally:
            self._set(current)

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for weight, value in zip(self._weights, values, strict=True):
                weight.copy_(value)
