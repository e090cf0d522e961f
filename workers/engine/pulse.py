"""Whether the steps of a batch still come. Read by a thread beside the one that makes them, which none can interrupt.

Watched is only the time between two steps: whatever comes before the first (weights, adapters, compiling, text) and
after the last (decoding, files) may take as long as the endpoint allows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

LEAST_SECONDS = 60.0
COMPILED_SECONDS = 900.0  # for models that are compiled, which may happen anew in the midst of a run
TIMES = 10  # as long as a step takes
LOOK_SECONDS = 5.0  # that one look counts for at most: a process that was frozen meanwhile did not hang


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """The last step that was told, and for how long the next one may be waited for."""

    step: int
    steps: int
    allowed_s: float


class Pulse:
    """`batch`, `step` and `pause` belong to the engine's thread, `hangs` to the one that watches it."""

    def __init__(self) -> None:
        self._mark: _Mark | None = None
        self._least_s = LEAST_SECONDS
        self._took: list[float] = []
        self._step = 0
        self._at = 0.0
        self._seen: _Mark | None = None
        self._quiet_s = 0.0
        self._looked_at = time.monotonic()

    @contextmanager
    def batch(self, *, is_compiled: bool) -> Iterator[None]:
        """Around the making of a batch."""
        self._least_s = COMPILED_SECONDS if is_compiled else LEAST_SECONDS
        self.step(0, 0)
        try:
            yield
        finally:
            self.pause()

    def step(self, step: int, steps: int) -> None:
        """Notes that `step` of `steps` is done."""
        now = time.monotonic()
        if step <= 0 or step < self._step:  # the same once more, or another one
            self._took.clear()
        if step > 0 and step != self._step:
            self._took.append(now - self._at)
        if step != self._step or step <= 0:
            self._at, self._step = now, step
        is_between = 0 < step < steps
        self._mark = (
            _Mark(step, steps, max(self._least_s, TIMES * median(self._took))) if is_between else None
        )

    def pause(self) -> None:
        """Nothing is expected until the next step."""
        self._mark = None

    def hangs(self) -> str:
        """What there is to say of a step that does not come; empty while all is well. Asked about every second."""
        mark, now = self._mark, time.monotonic()
        passed_s, self._looked_at = min(now - self._looked_at, LOOK_SECONDS), now
        if mark is None or mark is not self._seen:
            self._seen, self._quiet_s = mark, 0.0
            return ""
        self._quiet_s += passed_s
        if self._quiet_s <= mark.allowed_s:
            return ""
        return f"It hung after step {mark.step} of {mark.steps}: nothing came for {self._quiet_s:.0f} s."
