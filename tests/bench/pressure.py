"""Mixed traffic of three models that do not fit into the engine's memory together: turns, and nobody who starves."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from marketplace.host.places import Places
from tests.bench.floors import PROJECT
from tests.bench.rows import PROMPT, Row
from tests.bench.wire import Wire
from tests.conftest import Stack, run_stack

MODELS = {"often": 6, "sometimes": 3, "seldom": 1}  # and how often each is asked for
CLIENTS = 12  # of three workspaces
STEPS = 4
BUDGET_MB = 72  # each has 32 MB of weights: two of three, before what a run needs
SHIPPED = PROJECT / "workers" / "weights" / "daylight"


def mixed(folder: Path, seconds: float) -> Iterator[Row]:
    """So many seconds of traffic, through the whole product."""
    weights = folder.parent / "weights"
    for name in ["daylight", *MODELS]:
        shutil.copytree(SHIPPED, weights / name)
    settings = {
        "WEIGHTS_DIR": str(weights),
        "ENGINE_MEMORY_MB": str(BUDGET_MB),  # of each engine
        "VITRINE_LANES": "",  # as many engines as this machine gets by itself
        "API_REQUESTS_PER_MINUTE": "0",
    }
    with run_stack(folder, **settings) as stack:
        for name in MODELS:
            stack.manage("publish", str(_manifest(folder.parent, name)), "--publisher", "vitrine")
        keys = [
            stack.manage("create_key", f"mixed-{n}", "--credit", "1000").strip().splitlines()[-1]
            for n in range(3)
        ]
        ends = asyncio.run(_traffic(stack, keys, seconds))
        found = _measured(stack)
    evictions = (folder.parent / f"{folder.name}.out").read_text(errors="replace").count("evicting ")
    done = ends["succeeded"]
    yield Row(
        f"three models, room for two, {seconds:.0f} s: runs",
        f"{done} = {done / seconds:.2f}/s",
        f"{sum(ends.values()) - done} not succeeded, {found['out_of_memory']} for memory",
        "0, 0",
    )
    yield Row(
        "… oldest wait (of the seldom one)",
        f"{found['oldest']:.1f} s ({found['oldest_seldom']:.1f} s)",
        f"median {found['median']:.1f} s",
        "60 s",
    )
    yield Row(
        "… evictions / loads",
        f"{evictions} / {found['loads']}",
        f"{done / max(found['loads'], 1):.1f} runs a load",
        "",
    )


def _manifest(folder: Path, name: str) -> Path:
    """The shipped model's manifest under another name, with weights of its own."""
    text = (PROJECT / "marketplace" / "catalog" / "manifests" / "daylight.toml").read_text()
    text = "\n\n".join(block for block in text.split("\n\n") if "[[examples]]" not in block)
    for old, new in [
        ('name = "daylight"', f'name = "{name}"'),
        ('weights = "daylight"', f'weights = "{name}"'),
        ("preload = true\n", ""),
        ('cover = "covers/daylight.webp"\n', ""),
        ("featured = 100\n", ""),
    ]:
        assert old in text, old
        text = text.replace(old, new)
    tomllib.loads(text)
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


async def _traffic(stack: Stack, keys: list[str], seconds: float) -> Counter[str]:
    """Clients that ask, wait, think for a moment and ask again, until the time is over; how their runs ended."""
    dice = random.Random(0)
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        wire = Wire(stack.url, keys[number % len(keys)])
        while time.monotonic() < until:
            model = dice.choices(list(MODELS), list(MODELS.values()))[0]
            asked: dict[str, Any] = {
                "model": f"vitrine/{model}",
                "input": {"prompt": PROMPT, "num_inference_steps": STEPS, "seed": dice.randrange(2**31)},
            }
            _, run = await wire.call("POST", "/api/v1/predictions", asked, extra="Prefer: wait=60\r\n")
            while run["status"] in {"queued", "running"}:
                await asyncio.sleep(0.5)
                _, run = await wire.call("GET", f"/api/v1/predictions/{run['id']}")
            ends[run["status"]] += 1
            await asyncio.sleep(dice.expovariate(2.0))

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return ends


_WAITS = """
SELECT coalesce(max(started_at - created_at), '0'), coalesce(max(started_at - created_at) FILTER (
       WHERE model = 'vitrine/seldom'), '0'),
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY started_at - created_at), '0'),
       count(*) FILTER (WHERE error_code = 'out_of_memory'),
       count(DISTINCT (worker, started_at, version_id)) FILTER (WHERE (metrics ->> 'load_s')::float > 0)
  FROM playground_prediction
"""


def _measured(stack: Stack) -> dict[str, Any]:
    with psycopg.connect(Places.at(stack.data).postgres_url()) as connection:
        row = connection.execute(_WAITS).fetchone()
    assert row is not None
    oldest, seldom, median, memory, loads = row
    return {
        "oldest": oldest.total_seconds(),
        "oldest_seldom": seldom.total_seconds(),
        "median": median.total_seconds(),
        "out_of_memory": memory,
        "loads": loads,
    }
