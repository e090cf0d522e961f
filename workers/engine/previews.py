"""When a preview may be made, and for whom: a budget of time, shared fairly among the jobs of a batch.

Hides the pacing. It knows seconds and steps, no tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LAST_SHARE = 0.8
"""No preview after this share of the steps: what can be seen for nothing is never the finished picture."""

_SHARE_ALONE = 0.20
_SHARE_BATCH = 0.03
FRAMES_ALONE = 8


def share_of_time(jobs: int) -> float:
    """Which share of the stepping time previews may take: 20 % for one job, 3 % for a batch."""
    return _SHARE_ALONE if jobs == 1 else _SHARE_BATCH


class PreviewPlan:
    """Keeps preview work under `share_of_time`.

    One job alone gets at least eight frames (fewer if it has fewer steps), even where they cost more than that.
    """

    def __init__(self, *, jobs: int, steps: int, expected_cost_s: float) -> None:
        self._jobs = jobs
        self._last = min(math.floor(steps * LAST_SHARE), steps - 1)
        self._share = share_of_time(jobs)
        self._cost_s = expected_cost_s
        self._frames = 0
        self._next = 0
        self.spent_s = 0.0

    def allows(self, *, step: int, elapsed_s: float) -> bool:
        """Whether one more frame may be made after `step`, `elapsed_s` of stepping so far, previews not counted."""
        if step < 1 or step > self._last:
            return False
        if self._jobs == 1 and self._frames < math.ceil(FRAMES_ALONE * step / self._last):
            return True
        return self.spent_s + self._cost_s <= self._share * elapsed_s

    def turn(self, live: Sequence[int]) -> int:
        """Which of the jobs `live` (their places in the batch, at least one) is next in turn."""
        chosen = min(live, key=lambda place: (place - self._next) % self._jobs)
        self._next = chosen + 1
        return chosen

    def spent(self, seconds: float) -> None:
        """Books the time that one frame took."""
        self._frames += 1
        self.spent_s += seconds
        self._cost_s = seconds if self._cost_s <= 0 else 0.7 * self._cost_s + 0.3 * seconds
