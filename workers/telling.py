"""Progress told beside the steps: a step does not wait for the database and Redis to hear of the one before.

Where steps are quicker than telling, the newest stands for those between; no line of a log is lost by that. Whom nobody
wants any more is learnt a step later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from django.db import close_old_connections

from workers.engine import StepReport

log = logging.getLogger(__name__)

Tell = Callable[[Sequence[StepReport]], Sequence[str]]

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teller")


class Telling:
    """The reports of one batch, handed to `tell` in a thread of its own, one call after the other."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._guard = threading.Lock()
        self._waiting: dict[str, StepReport] = {}
        self._last: Future[None] | None = None
        self._unwanted: set[str] = set()
        self._error: Exception | None = None

    def __call__(self, reports: Sequence[StepReport]) -> Sequence[str]:
        """Hands the reports over; the ids that are known to be unwanted. Raises what telling the ones before raised."""
        with self._guard:
            if self._error is not None:
                raise self._error
            is_new = not self._waiting
            for report in reports:
                self._waiting[report.id] = _after(self._waiting.get(report.id), report)
            if is_new and reports:
                self._last = _thread.submit(self._pass_on)
            return list(self._unwanted)

    def finish(self) -> None:
        """Waits until all is told."""
        if self._last is not None:
            self._last.result()

    @staticmethod
    def start() -> None:
        """Starts the thread, with the priority of who calls."""
        _thread.submit(int).result()

    @staticmethod
    def rest() -> None:
        """The connection to the database goes back to the pool, when all is told."""
        _thread.submit(close_old_connections).result()

    def _pass_on(self) -> None:
        with self._guard:
            reports, self._waiting = list(self._waiting.values()), {}
        try:
            unwanted = self._tell(reports)
        except Exception as error:  # belongs to the batch: raised in its next step, if there is one
            log.exception("progress was not told")
            with self._guard:
                self._error = error
        else:
            with self._guard:
                self._unwanted |= set(unwanted)


def _after(before: StepReport | None, report: StepReport) -> StepReport:
    """`report` with what `before`, which nobody heard of yet, had to say."""
    if before is None:
        return report
    return replace(report, preview=report.preview or before.preview, logs=(*before.logs, *report.logs))
