"""Many who ask and many who wait: what a status poll costs in each protocol, and calls that are held open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, cast

import psutil
import redis

from marketplace.host.places import Places
from marketplace.ids import encode, parse
from tests.bench.rows import CLIENTS, Row, memory_mb, picture, through_django
from tests.bench.wire import Wire
from tests.conftest import Stack

PREDICTIONS = "/api/v1/predictions"
IN_FLIGHT, WAITING = 1008, 500
SECONDS = 5.0
HELD_SECONDS = 8.0  # after which all of them are
# How each protocol's clients ask how a run stands.
ADDRESSES = {
    "": PREDICTIONS + "/{uid}",
    ", Replicate": "/v1/predictions/{bare}",
    ", fal": "/fal/queue/vitrine/daylight/requests/{uuid}/status",
}


@dataclass(frozen=True)
class Polled:
    """Polls a second of the web process's own CPU time, their 99th percentile, and trips to Redis for each."""

    per_second: float
    p99_ms: float
    trips: float


def figures(stack: Stack, keys: Sequence[str]) -> Iterator[Row]:
    """The rows of the report."""
    beside = asyncio.run(through_django(stack, keys[1]))
    ids = asyncio.run(_fill(stack, keys[0]))
    for name, address in ADDRESSES.items():
        paths = [_path(address, uid) for uid in ids]
        found = asyncio.run(_polled(stack, keys[0], paths))
        if found is None:  # the protocol is not spoken here
            continue
        value = f"{found.per_second:.0f}/s, p99 {found.p99_ms:.0f} ms, {found.trips:.2f} trips"
        yield Row(
            f"polls/s per core, 1,000 in flight{name}",
            value,
            f"Django and DRF {beside:.0f}/s",
            "500/s, 1 trip",
        )
    yield asyncio.run(_waited(stack, keys[0], ids))


def _path(address: str, uid: str) -> str:
    public_id = parse(uid, "p")
    assert public_id is not None
    return address.format(uid=uid, bare=encode(public_id), uuid=public_id)


async def _fill(stack: Stack, key: str) -> list[str]:
    """So many runs that wait their turn."""
    body = {**picture(40), "start_within": 3600}

    async def submit(count: int) -> list[str]:
        wire = Wire(stack.url, key)
        made = [(await wire.call("POST", PREDICTIONS, body))[1]["id"] for _ in range(count)]
        wire.close()
        return made

    parts = await asyncio.gather(*(submit(IN_FLIGHT // CLIENTS) for _ in range(CLIENTS)))
    return [uid for part in parts for uid in part]


async def _empty(stack: Stack, key: str, ids: Sequence[str]) -> None:
    async def cancel(some: Sequence[str]) -> None:
        wire = Wire(stack.url, key)
        for uid in some:
            await wire.call("POST", f"{PREDICTIONS}/{uid}/cancel")
        wire.close()

    await asyncio.gather(*(cancel(ids[n::CLIENTS]) for n in range(CLIENTS)))


async def _polled(stack: Stack, key: str, paths: Sequence[str]) -> Polled | None:
    if (await Wire(stack.url, key).raw("GET", paths[0]))[0] not in {200, 202}:
        return None
    web, taken = psutil.Process(stack.pid_of("web")), []

    async def poll(n: int) -> None:
        mine, end = Wire(stack.url, key), time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            n += 7
            begun = time.perf_counter()
            status, _ = await mine.raw("GET", paths[n % len(paths)])
            assert status in {200, 202}
            taken.append(time.perf_counter() - begun)

    await poll(0)  # each run is known by then
    taken.clear()
    idle = await _reads_in(stack, asyncio.sleep(SECONDS))
    before = web.cpu_times()
    reads = await _reads_in(stack, asyncio.gather(*(poll(n) for n in range(4))))
    after = web.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return Polled(len(taken) / spent, quantiles(taken, n=100)[98] * 1000, max(0, reads - idle) / len(taken))


async def _reads_in(stack: Stack, work: Any) -> int:
    """How often anybody spoke to Redis meanwhile: one read from a connection is one trip, whatever it asks for."""
    client = redis.Redis.from_url(Places.at(stack.data).redis_url())

    def reads() -> int:
        return int(cast("dict[str, Any]", client.info("stats"))["total_reads_processed"])

    before = reads()
    await work
    found = reads() - before
    client.close()
    return found


async def _waited(stack: Stack, key: str, ids: Sequence[str]) -> Row:
    """So many calls that are held until their runs end, as a client's that asks for the result at once."""
    web = psutil.Process(stack.pid_of("web"))
    threads, memory = web.num_threads(), memory_mb(web.pid)
    waiting = [asyncio.ensure_future(_wait(stack, key, uid)) for uid in ids[-WAITING:]]
    await asyncio.sleep(HELD_SECONDS)
    more, held = web.num_threads() - threads, memory_mb(web.pid) - memory
    open_calls = sum(not one.done() for one in waiting)
    await _empty(stack, key, ids)
    begun = time.perf_counter()
    answers = await asyncio.gather(*waiting)
    last = (time.perf_counter() - begun) * 1000
    ended = sum(one["status"] not in {"queued", "running"} for one in answers)
    value = f"{threads + more} threads, +{held:.0f} MB"
    beside = f"{threads} threads before; {ended} told the end, the last {last:.0f} ms after it"
    return Row(f"{open_calls} calls that wait, one web process", value, beside, "")


async def _wait(stack: Stack, key: str, uid: str) -> dict[str, Any]:
    wire = Wire(stack.url, key)
    status, found = await wire.call("GET", f"{PREDICTIONS}/{uid}?wait=60")
    assert status == 200, found
    wire.close()
    return found
