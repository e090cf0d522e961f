"""The figures, each from the whole product running in processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import psutil

from tests.bench.floors import SIDE
from tests.bench.wire import Wire
from tests.conftest import Stack

NULL = {"model": "vitrine/null", "input": {}}
PROMPT = "a glossy teal vase on a white plinth, light from the left, ivory wall"
WAIT = "Prefer: wait=60\r\n"
CLIENTS = 16


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    figure: str
    value: str
    beside: str  # the floor of the same run
    must: str


def picture(steps: int, seed: int = 0) -> dict[str, object]:
    return {
        "model": "vitrine/daylight",
        "input": {
            "prompt": PROMPT,
            "num_inference_steps": steps,
            "seed": seed,
            "width": SIDE,
            "height": SIDE,
        },
    }


async def run_once(wire: Wire, body: dict[str, object]) -> float:
    """Seconds from submit to the end of one prediction, waiting in the request."""
    begun = time.perf_counter()
    status, found = await wire.call("POST", "/api/v1/predictions", body, extra=WAIT)
    assert status == 201, found
    assert found["status"] == "succeeded", found
    return time.perf_counter() - begun


async def sequential_ms(url: str, key: str, count: int = 100) -> float:
    """Median of one null prediction after the other."""
    wire = Wire(url, key)
    for _ in range(10):
        await run_once(wire, NULL)
    return median([await run_once(wire, NULL) for _ in range(count)]) * 1000


async def per_second(url: str, keys: Sequence[str], body: dict[str, object], each: int) -> float:
    """Predictions per second of one client per key."""

    async def client(key: str) -> None:
        wire = Wire(url, key)
        for _ in range(each):
            await run_once(wire, body)

    begun = time.perf_counter()
    await asyncio.gather(*(client(key) for key in keys))
    return len(keys) * each / (time.perf_counter() - begun)


async def lone_ms(url: str, key: str, steps: int, count: int = 12) -> float:
    """Median of one picture after the other, the only caller."""
    wire = Wire(url, key)
    await run_once(wire, picture(steps))
    return median([await run_once(wire, picture(steps, n)) for n in range(count)]) * 1000


async def first_progress_ms(url: str, key: str, count: int = 15) -> float:
    """Median from submit to the first event that shows a step, eight steps of the shipped model."""
    taken = []
    for n in range(count):
        begun = time.perf_counter()
        _, made = await Wire(url, key).call("POST", "/api/v1/predictions", picture(8, n))
        stream = Wire(url, key)
        await stream.open("GET", f"/api/v1/predictions/{made['id']}/events")
        shown = None
        async for line in stream.lines():
            if line.startswith(b"data: ") and (state := json.loads(line[6:]))["type"] == "state":
                if state["step"] >= 1 and shown is None:
                    shown = time.perf_counter() - begun
                    taken.append(shown)
                if state["status"] in {"succeeded", "failed", "canceled"}:
                    break
        stream.close()
    return median(taken) * 1000


async def through_django(stack: Stack, key: str, seconds: float = 4) -> float:
    """Requests per second of the web process's CPU time that Django and DRF answer: key, one query, JSON."""
    web, count = psutil.Process(stack.pid_of("web")), 0

    async def ask() -> None:
        nonlocal count
        wire, end = Wire(stack.url, key), time.perf_counter() + seconds
        while time.perf_counter() < end:
            status, _ = await wire.raw("GET", "/api/v1/balance")
            assert status == 200
            count += 1

    before = web.cpu_times()
    await asyncio.gather(*(ask() for _ in range(4)))
    after = web.cpu_times()
    return count / (after.user + after.system - before.user - before.system)


async def viewers_ms(url: str, key: str, viewers: int = 1000) -> float:
    """One prediction, many viewers, one event: until the last one has read it."""
    _, made = await Wire(url, key).call("POST", "/api/v1/predictions", {**picture(40), "start_within": 3600})
    streams = [Wire(url, key) for _ in range(viewers)]
    seen: list[float] = []
    ready = asyncio.Semaphore(0)

    async def watch(stream: Wire) -> None:
        await stream.open("GET", f"/api/v1/predictions/{made['id']}/events")
        is_first = True
        async for line in stream.lines():
            if line.startswith(b"data: "):
                if is_first:
                    is_first = False
                    ready.release()
                if b'"canceled"' in line:
                    seen.append(time.perf_counter())
                    break
        stream.close()

    tasks = []
    for start in range(0, viewers, 50):
        tasks += [asyncio.create_task(watch(stream)) for stream in streams[start : start + 50]]
        for _ in range(50):
            await ready.acquire()
    begun = time.perf_counter()
    await Wire(url, key).call("POST", f"/api/v1/predictions/{made['id']}/cancel")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert len(seen) == viewers, f"{len(seen)} of {viewers} viewers saw the end"
    return (max(seen) - begun) * 1000


async def page_ms(url: str, path: str, key: str, count: int = 40, *, extra: str = "") -> float:
    """95th percentile of a page's time, one visitor; of the API's, with a key. `extra` are lines of the head."""
    wire, taken = Wire(url, key), []
    for _ in range(5):
        await wire.raw("GET", path, extra=extra)
    for _ in range(count):
        begun = time.perf_counter()
        status, answer = await wire.raw("GET", path, extra=extra)
        assert status == 200, f"{path} answered {status}: {answer[:500]!r}"
        taken.append(time.perf_counter() - begun)
    return quantiles(taken, n=20)[18] * 1000


def memory_mb(pid: int) -> float:
    """Proportional share of memory of a process."""
    return float(psutil.Process(pid).memory_full_info().pss) / 2**20
