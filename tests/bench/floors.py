"""What the same machine does without Vitrine, in the same run: the floors that its figures are held against.

`python -m tests.bench.floors pipe STEPS BATCH` times a bare diffusers loop of the shipped model and prints JSON.
"""

from __future__ import annotations

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

PROJECT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5

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


if __name__ == "__main__":
    print(json.dumps(_pipe(int(sys.argv[2]), int(sys.argv[3]))))
