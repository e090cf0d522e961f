"""What happens to a run as Replicate's event streams tell it: `output`, `logs`, `error` and `done`.

Each event is sent once, from whatever moment the viewer is shown next: moments may be passed over, the lines and files
of them are not. Every event has an id, without which version 1 of the Python client passes it over; it says how far the
viewer has been told, so that one who comes back with it as `Last-Event-ID` is told what follows.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from playground.facades.dialect import Moment
from playground.facades.replicate import show
from playground.models import Prediction

_ENDS: dict[str, dict[str, str]] = {
    Prediction.Status.FAILED.value: {"reason": "error"},
    Prediction.Status.CANCELED.value: {"reason": "canceled"},
}
TAIL_LINES = 5  # of a log, by which its place is found again where its beginning is not kept
NOTHING, ERROR, DONE = 0, 1, 2  # what was told of the end
_ID = re.compile(
    r"[0-9]{1,12}:([0-9]{1,9})-([0-9]{1,6})-([0-9a-f]{8})-([0-9]{1,9})-([0-9]{1,4})-([012])", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Told:
    """How far a viewer has been told, after `count` events.

    `lines` of the log as it was then, which ended as `tail` says; `steps` of progress, `files` of the output, and of
    the end what `end` says.
    """

    count: int = 0
    lines: int = 0
    tail: str = "0" * 8
    steps: int = 0
    files: int = 0
    end: int = NOTHING

    @classmethod
    def read(cls, event_id: str) -> Self:
        """From the id of the last event that a viewer has had. What is none of ours says that it has had nothing."""
        found = _ID.fullmatch(event_id)
        if found is None:
            return cls()
        count, lines, tail, steps, files, end = found.groups()
        return cls(int(count) + 1, int(lines), tail, int(steps), int(files), int(end))

    def written(self) -> str:
        """The id of an event after which this is told. It begins with the time and its number, as Replicate's do."""
        place = f"{self.lines}-{self.tail}-{self.steps}-{self.files}-{self.end}"
        return f"{int(time.time())}:{self.count}-{place}"

    def news(self, logs: Sequence[str]) -> Sequence[str]:
        """The lines of the log that were not told. One that has lost its beginning since goes on where the last lines
        that were told stand last; one in which they are not is another attempt's, and all of it is news."""
        if not self.lines:
            return logs
        places = [self.lines] if self.lines <= len(logs) else []
        places += range(len(logs), 0, -1)
        return logs[next((at for at in places if _tail(logs[:at]) == self.tail), 0) :]

    def after(self, logs: Sequence[str]) -> Told:
        """The same, with the whole of `logs` told."""
        return replace(self, lines=len(logs), tail=_tail(logs))


class Events:
    """What one viewer is sent. `before` are the lines above the log, `base` is the address that the viewer used, `told`
    is how far it came before."""

    def __init__(self, before: Sequence[str], base: str, told: Told | None = None) -> None:
        self._told = told or Told()
        self._before = [] if self._told.count else list(before)
        self._base = base
        self._is_first = True

    def frame(self, moment: Moment) -> bytes:
        """The events of this moment; empty where nothing is new."""
        state, told = moment.state, self._told
        lines = told.news(state["logs"]) if self._is_first and told.count else moment.logs
        self._is_first = False
        steps = show.progress(state["step"], state["steps"])
        out = b""
        if news := [*self._before, *lines, *steps[told.steps :]]:
            told = replace(told.after(state["logs"]), steps=max(told.steps, len(steps)))
            out += self._event("logs", "\n".join(news), told)
        self._before = []
        files = [
            show.rebased(one["url"], self._base) for one in show.media_of(state["output"]) if one is not None
        ]
        for place, address in enumerate(files[told.files :], start=told.files + 1):
            out += self._event("output", address, replace(self._told, files=place))
        return out + self._end(moment) if moment.is_end else out

    def _end(self, moment: Moment) -> bytes:
        state, out = moment.state, b""
        if state["status"] == Prediction.Status.FAILED and self._told.end < ERROR:
            detail = state["error"]["message"] if state["error"] else "The run failed."
            data = json.dumps({"detail": detail}, ensure_ascii=False)
            out += self._event("error", data, replace(self._told, end=ERROR))
        if self._told.end < DONE:
            data = json.dumps(_ENDS.get(state["status"], {}))
            out += self._event("done", data, replace(self._told, end=DONE))
        return out

    def _event(self, name: str, data: str, told: Told) -> bytes:
        """One event, after which this is told. Whatever breaks a line for some reader begins another line of data, so
        none ends the event."""
        self._told = replace(told, count=told.count + 1)
        body = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
        return f"event: {name}\nid: {told.written()}\n{body}\n".encode()


def _tail(logs: Sequence[str]) -> str:
    last = "\n".join(logs[-TAIL_LINES:])
    return hashlib.blake2b(last.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
