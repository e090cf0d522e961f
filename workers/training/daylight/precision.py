"""The arithmetic of training: half precision where the processor has instructions for it, full precision elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed_precision() -> AbstractContextManager[object]:
    """Inside, convolutions and products run in bfloat16 if that is native here; weights stay in full precision.

    Worth half as much again to twice the pictures per second on processors with AVX-512 BF16 or AMX.
    """
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()
