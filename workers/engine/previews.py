"""When a preview may be made, and for whom: a budget of time, shared fairly among the jobs of a batch.

Hides the pacing. It knows seconds and steps, no tensors.
"""

from __future__ import annotations

import math

LAST_SHARE = 0.8
"""No preview after this share of the steps: what can be seen for nothing is never the finished picture."""

_SHARE_ALONE = 0.20
_SHARE_BATCH = 0.04
_FRAMES_ALONE = 6


class PreviewPlan:
    """Keeps preview work under a share of the time that the steps take: 20 % for one job, 4 % for a batch.

    One job alone gets at least six frames (fewer if it has fewer steps), even where they cost more than that.
    """

    def __init__(self, *, jobs: int, steps: int, expected_cost_s: float) -> None:
        self._jobs = jobs
        self._last = min(math.floor(steps * LAST_SHARE), steps - 1)
        self._share = _SHARE_ALONE if jobs == 1 else _SHARE_BATCH
        self._cost_s = expected_cost_s
        self._frames = 0
        self._next = 0
        self.spent_s = 0.0

    def allows(self, *, step: int, elapsed_s: float, expected_cost_s: float | None = None) -> bool:
        """Whether one more frame may be made after `step`, `elapsed_s` of stepping so far, previews not counted."""
        if step < 1 or step > self._last:
            return False
        if self._jobs == 1 and self._frames < math.ceil(_FRAMES_ALONE * step / self._last):
            return True
        cost_s = self._cost_s if expected_cost_s is None else expected_cost_s
        return self.spent_s + cost_s <= self._share * elapsed_s

    def turn(self, live: list[int]) -> int | None:
        """Which of the jobs `live` (their places in the batch) is next in turn; None when there is none."""
        if not live:
            return None
        chosen = min(live, key=lambda place: (place - self._next) % max(self._jobs, 1))
        self._next = chosen + 1
        return chosen

    def spent(self, seconds: float) -> None:
        """Books the time that one frame took."""
        self._frames += 1
        self.spent_s += seconds
        self._cost_s = seconds if self._cost_s <= 0 else 0.7 * self._cost_s + 0.3 * seconds

    @property
    def cost_s(self) -> float:
        """What a frame costs at present: the start of the next plan."""
        return self._cost_s
