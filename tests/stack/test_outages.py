"""The servers under everything die and come back: what runs goes on, what waits runs, each is charged once."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import httpx

from tests.conftest import Stack
from tests.stack.api import TERMINAL, Api
from tests.stack.test_crashes import assert_books_are_exact, make_key

PATIENCE_SECONDS = 120
SLOW = """
from marketplace import catalog
from marketplace.models import Publisher
from tests.predictions import cast
card = {"family": "testcard", "weights": "", "defaults": {"step_seconds": 0.2, "num_inference_steps": 40}}
made = cast.manifest(name="slow", lane="cpu", endpoint__max_batch=1, recipe=card)
catalog.publish(Publisher.objects.get(name="vitrine"), made)
"""


def now(api: Api, id: str) -> dict[str, Any]:
    """The prediction, or nothing while a server is away."""
    try:
        answer = api.http.get(f"/predictions/{id}")
    except httpx.TransportError:
        return {"status": "unknown"}
    return answer.json() if answer.status_code == 200 else {"status": "unknown"}


def test_servers_that_die_in_mid_run(stack: Stack) -> None:
    stack.manage("shell", "--no-imports", "-c", SLOW)
    api = make_key(stack, "outage", "1.00")
    body = {"model": "vitrine/slow", "input": {"prompt": "a card"}}
    runs = [api.http.post("/predictions", json=body).json()["id"] for _ in range(2)]
    api.until(runs[0], lambda found: found["status"] == "running" and found["step"] >= 2)
    for name in ("postgres", "redis"):
        os.kill(stack.pid_of(name), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while [one for one in runs if now(api, one)["status"] not in TERMINAL]:
        assert time.monotonic() < deadline, [now(api, one) for one in runs]
        time.sleep(0.3)
    done = [api.get(one) for one in runs]
    assert [(one["status"], one["attempt"]) for one in done] == [("succeeded", 1)] * 2
    balance = api.balance()
    assert balance["available_micros"] == 1_000_000 - sum(one["cost_micros"] for one in done)
    assert balance["held_micros"] == 0
    assert_books_are_exact(stack)
