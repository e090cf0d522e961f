from __future__ import annotations

import threading

import pytest

from workers.engine import StepReport
from workers.telling import Telling


class Slow:
    """Hears a report only when it is let."""

    def __init__(self, *unwanted: str) -> None:
        self.heard: list[list[StepReport]] = []
        self.unwanted = unwanted
        self.hears, self.may = threading.Event(), threading.Event()

    def __call__(self, reports):
        self.hears.set()
        assert self.may.wait(60)
        self.heard.append(list(reports))
        return self.unwanted


def step(number: int, *logs: str, id: str = "a", preview: bytes | None = None) -> StepReport:
    return StepReport(id, number, 9, preview=preview, logs=logs)


def test_a_step_does_not_wait_and_the_newest_stands_for_those_between():
    slow = Slow()
    telling = Telling(slow)
    telling([step(1, "one")])
    assert slow.hears.wait(60)
    telling([step(2, "two", preview=b"2"), step(2, id="b")])
    telling([step(3, "three")])
    assert slow.heard == []
    slow.may.set()
    telling.finish()
    assert slow.heard == [
        [step(1, "one")],
        [step(3, "two", "three", preview=b"2"), step(2, id="b")],
    ]


def test_who_is_unwanted_is_known_a_step_later():
    slow = Slow("b")
    telling = Telling(slow)
    assert list(telling([step(1)])) == []
    slow.may.set()
    telling.finish()
    assert list(telling([step(2)])) == ["b"]
    telling.finish()


def test_what_telling_raises_is_the_batchs_own():
    def broken(reports):
        raise ConnectionError("the queue is gone")

    telling = Telling(broken)
    telling([step(1)])
    telling.finish()
    with pytest.raises(ConnectionError, match="queue is gone"):
        telling([step(2)])
    slow = Slow()
    slow.may.set()
    another = Telling(slow)
    another([step(1)])
    another.finish()
    assert slow.heard == [[step(1)]]
