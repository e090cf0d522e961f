"""Who may have a PDF drawn now: one in several scripts takes the interpreter for seconds, and everybody else waits."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FOR_ONE: Final = 2  # of a workspace: one is drawn, and who clicked twice waits for the other
FOR_ALL: Final = 4  # in this process, so that those who wait leave its threads to others

_guard, _drawing = threading.Lock(), threading.Lock()
_asked: Counter[int] = Counter()


class Busy(Exception):
    """Others are being drawn; the message says what to do."""


@contextmanager
def turn(workspace_id: int) -> Iterator[None]:
    """One at a time is drawn inside. Raises Busy at once where too many wait."""
    with _guard:
        if _asked.total() >= FOR_ALL or _asked[workspace_id] >= FOR_ONE:
            raise Busy("Other invoices are being drawn. Try again in some seconds.")
        _asked[workspace_id] += 1
    try:
        with _drawing:
            yield
    finally:
        with _guard:
            _asked[workspace_id] -= 1
            if not _asked[workspace_id]:
                del _asked[workspace_id]
