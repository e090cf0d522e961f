"""Two engines on one machine: both take work, share the cores while they do, and each has all of them when alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.conftest import Stack, run_stack
from tests.stack.api import Api

LONG = 30  # steps
CORES = os.cpu_count() or 1


def both_at_once(api: Api) -> list[dict[str, Any]] | None:
    """Two runs that no batch can have together, as they ended; None where one engine did both."""
    first, second = (api.submit(num_inference_steps=steps)["id"] for steps in (LONG, LONG + 1))
    overlapped = False
    while not overlapped:
        seen = [api.get(one) for one in (first, second)]
        overlapped = all(one["status"] == "running" and one["step"] >= 2 for one in seen)
        if any(one["status"] not in {"queued", "running"} for one in seen):
            break
        time.sleep(0.02)
    done = [api.wait(one) for one in (first, second)]
    assert [one["status"] for one in done] == ["succeeded", "succeeded"]
    return done if overlapped else None


def test_two_engines_share_the_work_and_the_cores(tmp_path: Path) -> None:
    with run_stack(tmp_path / "data", VITRINE_LANES="cpu:2") as stack:
        api = Api(stack.url, stack.key)
        deadline = time.monotonic() + 120
        while (
            done := both_at_once(api)
        ) is None:  # the second one starts when all else is up, and loads the model
            assert time.monotonic() < deadline
        assert {one["metrics"]["threads"] for one in done} <= {max(1, CORES // 2), CORES}
        # Who ends last is alone by then; who ends first never was.
        first = min(done, key=lambda one: one["finished_at"])
        assert first["metrics"]["threads"] == max(1, CORES // 2)
        while api.wait(api.submit(num_inference_steps=4)["id"])["metrics"]["threads"] != CORES:
            assert time.monotonic() < deadline  # the other one counts for a moment more
        _assert_children(stack)


def _assert_children(stack: Stack) -> None:
    assert stack.pid_of("engine") != stack.pid_of("engine.2")
    stack.manage("ledger", "verify")
