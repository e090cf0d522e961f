"""Gradients of a loss. On a GPU the work of one step is recorded once per shape and replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_WARM_UPS = 3  # steps before recording, in which libraries choose their kernels


class Gradients:
    """Leaves the gradients of `loss` in its weights.

    A step of models this small is thousands of kernels of microseconds each: launched one by one, the GPU would
    wait for Python most of the time. So `loss` must be a function of its tensors alone: what changes from
    step to step comes in as an argument, random numbers included.
    """

    def __init__(self, loss: Callable[..., Tensor], weights: Iterable[Tensor], device: torch.device) -> None:
        self._loss = loss
        self._graphs: dict[tuple[torch.Size, ...], tuple[list[Tensor], torch.cuda.CUDAGraph, Tensor]] = {}
        self._graphed = device.type == "cuda"
        self._values: list[Tensor] = []
        for weight in weights:
            weight.grad = torch.zeros_like(weight)  # for good: recorded graphs write to this very memory
            self._values.append(weight.grad)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The loss, still on its device; it is overwritten by the next call with the same shapes."""
        if not self._graphed:
            return self._plain(*inputs)
        shapes = tuple(value.shape for value in inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._record(inputs)
        places, graph, loss = self._graphs[shapes]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        return loss

    def _plain(self, *inputs: Tensor) -> Tensor:
        torch._foreach_zero_(self._values)
        loss = self._loss(*inputs)
        torch.autograd.backward(loss)
        return loss.detach()

    def _record(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], torch.cuda.CUDAGraph, Tensor]:
        places = [value.clone() for value in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._plain(*places)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._plain(*places)
        return places, graph, loss
