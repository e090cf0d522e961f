"""Why a prediction waits, said in words. Computed from the queue and from what engines report; stored nowhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

from playground.live import Engine
from playground.predictions.files import FETCH_LANE
from playground.predictions.find import Place

UNKNOWN_LOAD_SECONDS = 20.0


def waiting(place: Place, engines: Sequence[Engine], *, note: str = "") -> str:
    """One or two sentences: what is in the way of a run at `place` in its lane's queue, and how long that may take.

    The time is that of runs like this one, each on its own; a batch or a shorter run ahead only makes it less.
    """
    return f"{note} {_reason(place, engines)}".strip()


def _reason(place: Place, engines: Sequence[Engine]) -> str:
    if place.lane == FETCH_LANE:
        return "Fetching its input files."
    if place.paused_s:
        left = _span(place.paused_s)
        return f"This model ended several workers, so it is paused. The run goes on within {left}."
    if place.again_s:
        return f"Next try within {_span(place.again_s)}."
    working = [engine for engine in engines if not engine["draining"]]
    if not working:
        return f"No worker is running on lane {place.lane}. The run starts when one is there."
    loading = [engine for engine in working if engine["loading"]]
    if loading and len(loading) == len(working):
        return f"Loading weights, about {max(1, round(min(_left(e) for e in loading)))} s."
    if place.ahead:
        expected = place.ahead * place.typical_ms / 1000 / len(working)
        within = f", usually within {_span(expected)}" if expected >= 1 else ""
        return f"{place.ahead} ahead of you{within}."
    return "Next in line."


def _left(engine: Engine) -> float:
    expected = engine["loading_expected_s"] or UNKNOWN_LOAD_SECONDS
    return expected - (engine["loading_elapsed_s"] or 0)


def _span(seconds: float) -> str:
    """A rough time, rounded up, as nobody can know it better."""
    if seconds <= 50:
        return f"{max(5, math.ceil(seconds / 5) * 5)} s"
    if seconds <= 3300:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 3600)} h"
