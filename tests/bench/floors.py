"""What the same machine does without Vitrine, in the same run: the floors that its figures are held against.

`python -m tests.bench.floors pipe STEPS BATCH` times a bare diffusers loop of the shipped model and prints JSON,
`python -m tests.bench.floors load` its loading and the change to another, bare and by our engine;
`python -m tests.bench.floors fan REDIS` serves what is published there to whoever connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from celery import Celery
from redis.asyncio import Redis

PROJECT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5
FAN = "floor"
SIDE = 192  # px of the pictures that are measured, here and there

floor = Celery(
    "floor", broker=os.environ.get("FLOOR_BROKER", ""), backend=os.environ.get("FLOOR_BACKEND", "")
)
floor.conf.worker_prefetch_multiplier = 1


@floor.task(name="floor.null")
def null() -> str:
    return "x" * 1024


def commit_ms(dsn: str, count: int = 100) -> float:
    """Median of one durable commit, milliseconds."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS nothing (n int)")
        connection.execute("CREATE TABLE IF NOT EXISTS bench_commit (n int)")
        taken = []
        for n in range(count):
            begun = time.perf_counter()
            connection.execute("INSERT INTO bench_commit VALUES (%s)", [n])
            taken.append(time.perf_counter() - begun)
        connection.execute("DROP TABLE bench_commit")
    return median(taken) * 1000


@contextlib.contextmanager
def celery_worker(redis: str) -> Iterator[Celery]:
    """Bare Celery on the same Redis with results: a queue, no money, no progress, no truth."""
    os.environ["FLOOR_BROKER"] = os.environ["FLOOR_BACKEND"] = redis
    floor.conf.update(broker_url=redis, result_backend=redis, task_default_queue="floor")
    command = "celery -A tests.bench.floors:floor worker -P prefork -c 1 -Q floor -n floor@%h -l critical"
    process = subprocess.Popen([sys.executable, "-m", *command.split()], cwd=PROJECT, env=os.environ)
    try:
        null.delay().get(timeout=60)
        yield floor
    finally:
        process.terminate()
        process.wait(20)


def celery_round_trip_ms(count: int = 200) -> float:
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        null.delay().get(timeout=30)
        taken.append(time.perf_counter() - begun)
    return median(taken) * 1000


def celery_per_second(clients: int = 16, each: int = 40) -> float:
    def work() -> None:
        for _ in range(each):
            null.delay().get(timeout=60)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return clients * each / (time.perf_counter() - begun)


def bare_pipe(steps: int, batch: int) -> dict[str, float]:
    """The shipped model in a bare loop, in a process of its own: pictures per second and the time to its first step."""
    command = [sys.executable, "-m", "tests.bench.floors", "pipe", str(steps), str(batch)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _pipe(steps: int, batch: int) -> dict[str, Any]:
    import torch
    from diffusers import DiffusionPipeline

    torch.set_num_threads(os.cpu_count() or 1)
    weights = Path(os.environ.get("WEIGHTS_DIR", PROJECT / "workers" / "weights")) / "daylight"
    pipe = DiffusionPipeline.from_pretrained(str(weights), local_files_only=True, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    prompts = ["a glossy teal vase on a white plinth, light from the left, ivory wall"] * batch
    first: list[float] = []

    def on_step(_pipe: Any, step: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            first.append(time.perf_counter())
        return kept

    def run() -> tuple[float, float]:
        begun = time.perf_counter()
        generators = [torch.Generator().manual_seed(n) for n in range(batch)]
        pipe(
            prompts,
            num_inference_steps=steps,
            guidance_scale=3.0,
            width=SIDE,
            height=SIDE,
            generator=generators,
            callback_on_step_end=on_step,
        )
        return time.perf_counter() - begun, first[-1] - begun

    run()
    timed = [run() for _ in range(ROUNDS)]
    return {
        "per_second": batch / median(t for t, _ in timed),
        "first_step_ms": median(f for _, f in timed) * 1000,
        "seconds": median(t for t, _ in timed),
    }


def loading() -> dict[str, float]:
    """Seconds to load the shipped model and to change between it and another, bare and by the engine."""
    command = [sys.executable, "-m", "tests.bench.floors", "load"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _load() -> dict[str, float]:
    """Each in turn, so that what disturbs one disturbs the other; the first loads, which import, are not counted."""
    import gc
    import shutil
    import tempfile

    import torch
    from diffusers import DiffusionPipeline

    from workers.engine import Engine, Recipe

    shipped = Path(os.environ.get("WEIGHTS_DIR", PROJECT / "workers" / "weights")) / "daylight"
    with tempfile.TemporaryDirectory() as temporary:
        folders = [shipped, Path(shutil.copytree(shipped, Path(temporary) / "other"))]
        recipes: list[Recipe] = [
            {"family": "diffusers", "weights": str(folder), "dtype": "float32"} for folder in folders
        ]
        held = Engine(threads=os.cpu_count()).open(recipes[0]).bytes
        taken: dict[str, list[float]] = {"bare": [], "ours": [], "bare_swap": [], "ours_swap": []}

        def timed(name: str, act: Any) -> Any:
            begun = time.perf_counter()
            made = act()
            taken[name].append(time.perf_counter() - begun)
            return made

        def bare(folder: Path) -> Any:
            return DiffusionPipeline.from_pretrained(
                str(folder), local_files_only=True, torch_dtype=torch.float32
            )

        bare(folders[0])
        for _ in range(ROUNDS):
            pipe = timed("bare", lambda: bare(folders[0]))

            def swap_bare() -> Any:
                nonlocal pipe
                pipe = None
                gc.collect()
                return bare(folders[1])

            pipe = timed("bare_swap", swap_bare)
            engine = Engine(threads=os.cpu_count(), memory_budget_bytes=int(held * 1.5))
            timed("ours", lambda engine=engine: engine.open(recipes[0]))
            timed("ours_swap", lambda engine=engine: engine.open(recipes[1]))
            engine.close()
    return {name: median(times) for name, times in taken.items()}


def fan_out_ms(redis: str, viewers: int) -> float:
    """One message in Redis to so many connections of a bare asyncio server: until the last one has read it."""
    command = [sys.executable, "-m", "tests.bench.floors", "fan", redis]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return asyncio.run(_read_all(redis, int(server.stdout.readline()), viewers))
        finally:
            server.kill()


async def _read_all(redis: str, port: int, viewers: int) -> float:
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(viewers)]
    publisher = Redis.from_url(redis)
    await asyncio.sleep(0.5)
    begun = time.perf_counter()
    await publisher.publish(FAN, "x" * 500)
    await asyncio.gather(*(reader.readexactly(500) for reader, _ in streams))
    taken = time.perf_counter() - begun
    for _, writer in streams:
        writer.close()
    await publisher.aclose()
    return taken * 1000


async def _fan(redis: str) -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        lambda _, writer: writers.append(writer), "127.0.0.1", 0, backlog=2048
    )
    async with Redis.from_url(redis).pubsub() as channel:
        await channel.subscribe(FAN)
        print(server.sockets[0].getsockname()[1], flush=True)
        async for message in channel.listen():
            if message["type"] == "message":
                for writer in writers:
                    writer.write(message["data"])


if __name__ == "__main__":
    if sys.argv[1] == "fan":
        asyncio.run(_fan(sys.argv[2]))
    elif sys.argv[1] == "load":
        print(json.dumps(_load()))
    else:
        print(json.dumps(_pipe(int(sys.argv[2]), int(sys.argv[3]))))
