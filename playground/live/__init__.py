"""The present state of open predictions, for everybody who watches.

A publisher writes the whole present state to Redis and announces it; a viewer always reads the newest one. So arriving
late, missing an announcement and coalescing many of them are one mechanism. Two rules are kept by a script inside
Redis: an older attempt never overwrites a newer one, and nothing follows the end.
"""

from __future__ import annotations

from playground.live.state import (
    CHANNEL,
    EVENT_TYPE,
    KEEP_SECONDS,
    MAX_LOG_LINES,
    Engine,
    State,
    UnfitNote,
    ask_to_rest,
    ask_to_try,
    bring_back,
    engines,
    engines_async,
    key_of,
    lanes,
    machine_of,
    publish,
    read,
    report_engine,
    shall_rest,
    unpack,
    was_stopping,
    wishes_to_try,
    withdraw,
)

__all__ = [
    "CHANNEL",
    "EVENT_TYPE",
    "KEEP_SECONDS",
    "MAX_LOG_LINES",
    "Engine",
    "State",
    "UnfitNote",
    "ask_to_rest",
    "ask_to_try",
    "bring_back",
    "engines",
    "engines_async",
    "key_of",
    "lanes",
    "machine_of",
    "publish",
    "read",
    "report_engine",
    "shall_rest",
    "unpack",
    "was_stopping",
    "wishes_to_try",
    "withdraw",
]
