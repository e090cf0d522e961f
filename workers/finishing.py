"""What comes after a batch (storing, charging, telling) done beside the next one.

One thread and one batch behind: whoever has the next result waits until the one before is told. What is done here is
guarded by its fences, so it matters to nobody when it happens, only that its leases are kept until then.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import close_old_connections

log = logging.getLogger(__name__)


class Finisher:
    """Does one thing at a time, in the order handed in, in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finisher")
        self._last: Future[None] | None = None

    def start(self) -> None:
        """Starts the thread, with the priority of who calls."""
        self._thread.submit(int).result()

    def hand(self, finish: Callable[[], None]) -> None:
        """Have `finish` done soon; waits for what was handed in before. What it raises is logged."""
        self.wait()
        try:
            self._last = self._thread.submit(_do, finish)
        except RuntimeError:  # the process ends, or has no threads left: then here and now
            _do(finish)

    def wait(self, seconds: float | None = None) -> None:
        """Until all is done, or for so long."""
        if self._last is not None:
            with contextlib.suppress(TimeoutError):
                self._last.result(seconds)

    def rest(self) -> None:
        """Until all is done, and its connection to the database goes back to the pool."""
        self.hand(close_old_connections)
        self.wait()


def _do(finish: Callable[[], None]) -> None:
    try:
        finish()
    except Exception:
        log.exception("a batch was not finished; what is missing comes back by its lease")
        close_old_connections()
