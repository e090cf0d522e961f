"""A process that dies where a test wants it to."""

from __future__ import annotations

from typing import Any

import pytest


class Killed(BaseException):
    """As by `kill -9`, as far as the database and Stripe can see: it is no Exception, so nothing tidies up after it."""


def dies_after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """The process is killed when `name` has been done."""
    act = getattr(module, name)

    def act_and_die(*args: Any, **kwargs: Any) -> None:
        act(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(module, name, act_and_die)
