"""The present state of one prediction as it is shown: drawn once per change, however many look at it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, TypedDict
from uuid import UUID

from marketplace.ids import encode
from playground.edge.answers import dump
from playground.edge.threads import in_thread
from playground.live import EVENT_TYPE, State
from playground.models import Prediction
from playground.pages import card


class Event(TypedDict):
    """What a stream sends: the whole present state; `logs` are the lines that this viewer has not had."""

    type: str
    seq: int
    id: str
    status: str
    attempt: int
    step: int
    steps: int
    queue_position: int | None
    reason: str | None
    preview: str | None
    elapsed_ms: int | None
    logs: list[str]
    output: Any
    error: dict[str, str] | None
    cost_micros: int | None


@dataclass(slots=True, eq=False)
class Present:
    """One state and, while it waits, its place and the reason. Never changed: the next one is another object."""

    state: State
    seq: int
    position: int | None = None
    reason: str | None = None
    _events: dict[int, bytes] = field(default_factory=dict)
    _news: dict[int, int] = field(default_factory=dict)
    _card: asyncio.Task[str] | None = None

    @property
    def is_end(self) -> bool:
        return self.state["status"] in Prediction.TERMINAL

    @property
    def is_queued(self) -> bool:
        return self.state["status"] == Prediction.Status.QUEUED

    def event(self, after: Present | None) -> bytes:
        """The event in JSON for a viewer whose last one was `after`."""
        logs = self.new_logs(after)
        if len(logs) not in self._events:
            self._events[len(logs)] = dump(self._event(logs))
        return self._events[len(logs)]

    def new_logs(self, after: Present | None) -> list[str]:
        """The lines that a viewer has not had whose last state was `after`."""
        logs = self.state["logs"]
        if after is None:
            new = len(logs)
        elif (known := self._news.get(after.seq)) is not None:
            new = known
        else:
            new = self._news[after.seq] = _new_lines(after.state["logs"], logs)
        return logs[len(logs) - new :]

    def _event(self, logs: list[str]) -> Event:
        state = self.state
        elapsed = state["elapsed_ms"]
        if elapsed is None and state["started_at"] is not None:
            elapsed = max(0, round((time.time() - state["started_at"]) * 1000))
        return {
            "type": EVENT_TYPE,
            "seq": self.seq,
            "id": encode(UUID(state["id"]), "p"),
            "status": state["status"],
            "attempt": state["attempt"],
            "step": state["step"],
            "steps": state["steps"],
            "queue_position": self.position,
            "reason": self.reason,
            "preview": state["preview"],
            "elapsed_ms": elapsed,
            "logs": logs,
            "output": state["output"],
            "error": state["error"],
            "cost_micros": state["cost_micros"],
        }

    async def card(self) -> str:
        """The card as HTML."""
        if self._card is None:
            self._card = asyncio.ensure_future(
                in_thread(card.render, self.state, position=self.position, reason=self.reason or "")
            )
        return await asyncio.shield(self._card)


def _new_lines(old: list[str], new: list[str]) -> int:
    """How many lines at the end of `new` are not in `old`; either may have lost its beginning."""
    if new[: len(old)] == old:
        return len(new) - len(old)
    for kept in range(min(len(old), len(new)), 0, -1):
        if old[-kept:] == new[:kept]:
            return len(new) - kept
    return len(new)
