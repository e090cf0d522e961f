"""`python -m tests.bench.adapters`: two adapters of the shipped model in turn, by the engine and by plain diffusers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parent.parent.parent
TURNS = 20


def swaps_ms() -> dict[str, float]:
    """Milliseconds until an adapter is on, in a process of its own: `first`, `swap` and `plain`."""
    command = [sys.executable, "-m", "tests.bench.adapters"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(folder: Path) -> dict[str, float]:
    from workers.engine import machine

    machine.set_environment()
    from tests.engine import loras
    from workers.engine import weights
    from workers.engine.families.diffusers.adapters import Adapters
    from workers.engine.families.diffusers.opening import load

    here = machine.start("cpu", os.cpu_count() or 1)
    pipe = load(
        {"family": "diffusers", "weights": "daylight"}, folder=weights.SHIPPED / "daylight", machine=here
    )
    made = [loras.tensors(pipe.unet, seed=seed, targets=loras.EVERYWHERE) for seed in range(2)]
    pair = [loras.save(folder / f"{n}.safetensors", one) for n, one in enumerate(made)]
    worn = Adapters(pipe, room_bytes=2**30)

    def ours(turn: int) -> None:
        worn.take_off()
        worn.put_on([pair[turn % 2]])

    def plain(turn: int) -> None:
        pipe.unload_lora_weights()
        pipe.load_lora_weights(pair[turn % 2].path, adapter_name="bench")
        pipe.set_adapters(["bench"], adapter_weights=[1.0])

    first = [_timed(ours, turn) for turn in range(2)]
    swap = [_timed(ours, turn) for turn in range(TURNS)]
    return {
        "first": 1000 * median(first),
        "swap": 1000 * median(swap),
        "plain": 1000 * median(_timed(plain, turn) for turn in range(TURNS)),
    }


def _timed(act: Callable[[int], None], turn: int) -> float:
    begun = time.perf_counter()
    act(turn)
    return time.perf_counter() - begun


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="vitrine-bench-") as temporary:
        print(json.dumps(_measure(Path(temporary))))
