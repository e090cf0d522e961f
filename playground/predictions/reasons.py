"""Why a prediction waits, said in words. Computed from the queue and from what engines report; stored nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from playground.live import Engine
from playground.predictions.files import FETCH_LANE

UNKNOWN_LOAD_SECONDS = 20.0


def waiting(ahead: int, lane: str, engines: Sequence[Engine], *, note: str = "") -> str:
    """One or two sentences: what is in the way of a run with `ahead` others before it."""
    return f"{note} {_reason(ahead, lane, engines)}".strip()


def _reason(ahead: int, lane: str, engines: Sequence[Engine]) -> str:
    if lane == FETCH_LANE:
        return "Fetching its input files."
    working = [engine for engine in engines if not engine["draining"]]
    if not working:
        return f"No worker is running on lane {lane}. The run starts when one is there."
    loading = [engine for engine in working if engine["loading"]]
    if loading and len(loading) == len(working):
        return f"Loading weights, about {max(1, round(min(_left(e) for e in loading)))} s."
    if ahead:
        return f"{ahead} ahead of you."
    return "Next in line."


def _left(engine: Engine) -> float:
    expected = engine["loading_expected_s"] or UNKNOWN_LOAD_SECONDS
    return expected - (engine["loading_elapsed_s"] or 0)
