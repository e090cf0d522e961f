"""What happens to a run as Replicate's event streams tell it: `output`, `logs`, `error` and `done`.

Each event is sent once, from whatever moment the viewer is shown next: moments may be passed over, the lines and files
of them are not. Every event has an id, without which version 1 of the Python client passes it over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from playground.facades.dialect import Moment
from playground.facades.replicate import show
from playground.models import Prediction

_ENDS: dict[str, dict[str, str]] = {
    Prediction.Status.FAILED.value: {"reason": "error"},
    Prediction.Status.CANCELED.value: {"reason": "canceled"},
}


class Events:
    """What one viewer is sent. `before` are the lines above the log, `base` is the address that the viewer used."""

    def __init__(self, before: Sequence[str], base: str) -> None:
        self._before = list(before)
        self._base = base
        self._steps = 0  # lines of progress that were told
        self._files = 0
        self._count = 0

    def frame(self, moment: Moment) -> bytes:
        """The events of this moment; empty where nothing is new."""
        state, out = moment.state, b""
        steps = show.progress(state["step"], state["steps"])
        if news := [*self._before, *moment.logs, *steps[self._steps :]]:
            out += self._event("logs", "\n".join(news))
        self._before, self._steps = [], max(self._steps, len(steps))
        files = [
            show.rebased(one["url"], self._base) for one in show.media_of(state["output"]) if one is not None
        ]
        for address in files[self._files :]:
            out += self._event("output", address)
        self._files = max(self._files, len(files))
        if not moment.is_end:
            return out
        status = state["status"]
        if status == Prediction.Status.FAILED:
            detail = state["error"]["message"] if state["error"] else "The run failed."
            out += self._event("error", json.dumps({"detail": detail}, ensure_ascii=False))
        return out + self._event("done", json.dumps(_ENDS.get(status, {})))

    def _event(self, name: str, data: str) -> bytes:
        """One event. Whatever breaks a line for some reader begins another line of data, so none ends the event."""
        number, self._count = self._count, self._count + 1
        body = "".join(f"data: {line}\n" for line in data.splitlines() or [""])
        return f"event: {name}\nid: {int(time.time())}:{number}\n{body}\n".encode()
