"""Ten faults at random moments; `make chaos` has a hundred. The seed of a failure is in its message."""

from __future__ import annotations

import os
from pathlib import Path

from tests.stack.chaos import Chaos, running

SEED = int(os.environ.get("CHAOS_SEED", "11"))


def test_ten_faults_cost_nobody_anything(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        report = Chaos(stack, seed=SEED).run(10)
    assert report.faults.total() == 10
    assert report.ended["succeeded"] > report.ended.total() / 2, str(report)
