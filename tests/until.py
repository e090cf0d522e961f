"""Waiting for what will be so, however long a busy machine takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(wanted: Callable[[], T], what: str = "what was waited for", *, seconds: float = 60) -> T:
    """What `wanted` finds, once it finds something. Raises AssertionError when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
    return found
