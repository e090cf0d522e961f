"""What a waiting run is told."""

from __future__ import annotations

import pytest

from playground import predictions


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
    assert predictions.waiting(ahead, "cpu", engines) == reason
    noted = predictions.waiting(
        ahead, "cpu", engines, note="The worker stopped during attempt 1; trying again."
    )
    assert noted == f"The worker stopped during attempt 1; trying again. {reason}"


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
    assert predictions.waiting(ahead, "cpu", working, typical_ms=typical_ms) == said
