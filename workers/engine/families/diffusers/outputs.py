"""What a pipeline made, judged before it is kept."""

from __future__ import annotations

import torch

from workers.engine.contract import EngineError

_UNUSABLE = "The picture came out {what}, so it was not kept. Another seed or a higher precision may help."


def fault(image: torch.Tensor) -> EngineError | None:
    if not bool(image.isfinite().all()):
        return EngineError(_UNUSABLE.format(what="as numbers that are no colours"), code="unusable_output")
    if float(image.max()) <= 1 / 255:
        return EngineError(_UNUSABLE.format(what="black"), code="unusable_output")
    return None
