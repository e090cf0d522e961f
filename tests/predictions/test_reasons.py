"""What a waiting run is told."""

from __future__ import annotations

import pytest

from playground import predictions
from playground.predictions.find import Place


def engine(**changes):
    said = {
        "worker": "w",
        "lane": "cpu",
        "loaded": [],
        "loading": None,
        "loading_expected_s": None,
        "loading_elapsed_s": None,
        "busy": False,
        "draining": False,
    }
    return {**said, **changes}


LOADING = {"loading": "daylight", "loading_elapsed_s": 60.0}


@pytest.mark.parametrize(
    ("ahead", "engines", "reason"),
    [
        (0, [], "No worker is running on lane cpu. The run starts when one is there."),
        (3, [engine(draining=True)], "No worker is running on lane cpu. The run starts when one is there."),
        (0, [engine()], "Next in line."),
        (1, [engine()], "1 ahead of you."),
        (5, [engine(), engine(**LOADING)], "5 ahead of you."),
        (5, [engine(**LOADING)], "Loading weights, about 1 s."),
        (0, [engine(loading="daylight")], "Loading weights, about 20 s."),
        (0, [engine(loading="daylight", loading_expected_s=7.0)], "Loading weights, about 7 s."),
    ],
)
def test_reasons(ahead, engines, reason):
    assert predictions.waiting(Place(ahead, "cpu", 0), engines) == reason
    note = "The worker stopped during attempt 1; trying again."
    assert predictions.waiting(Place(ahead, "cpu", 0), engines, note=note) == f"{note} {reason}"


@pytest.mark.parametrize(
    ("ahead", "typical_ms", "engines", "said"),
    [
        (1, 400, 1, "1 ahead of you."),
        (3, 4000, 1, "3 ahead of you, usually within 15 s."),
        (3, 4000, 2, "3 ahead of you, usually within 10 s."),
        (30, 4000, 1, "30 ahead of you, usually within 2 min."),
        (3000, 4000, 1, "3000 ahead of you, usually within 4 h."),
    ],
)
def test_a_long_queue_has_an_estimate(ahead, typical_ms, engines, said):
    working = [engine() for _ in range(engines)]
    assert predictions.waiting(Place(ahead, "cpu", typical_ms), working) == said


def test_what_may_not_run_yet_says_when_it_may():
    assert predictions.waiting(Place(0, "cpu", 0, again_s=7.2), [engine()]) == "Next try within 10 s."
    paused = Place(3, "cpu", 0, again_s=7.2, paused_s=240)
    said = "This model ended several workers, so it is paused. The run goes on within 4 min."
    assert predictions.waiting(paused, [engine()]) == said
