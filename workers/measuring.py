"""A version measured on this machine: plain and with each of its accelerations, on the same inputs and seeds.

Every row is a process of its own. What an acceleration changes is told beside what it saves.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from django.conf import settings
from django.utils import timezone
from PIL import Image, UnidentifiedImageError

from marketplace import catalog, schema
from workers.engine.measuring import ASKED, FOUND, Asked, Found

PLAIN, TOGETHER = "plain", "together"
SECONDS = 3600.0  # for one row
LEVELS = 255
_SPEAKING = {"config", "kind", "quant_backend"}  # whose values say what they are


class CannotMeasure(Exception):
    """The plain version does not run here, so there is nothing to compare with; the message says why."""


def measure(
    called: catalog.Callable,
    *,
    given: Mapping[str, Any] | None = None,
    seeds: int = 3,
    runs: int = 3,
    device: str = "auto",
    threads: int | None = None,
    tell: Callable[[catalog.Row], None] = lambda row: None,
    run: Callable[[Asked, Path], Found] | None = None,
) -> catalog.Measurement:
    """Measure each row and `tell` of it. `run` is for who wants no process for each. Raises CannotMeasure,
    schema.InvalidInput."""
    recipe = called.version.recipe
    asked = recipe.get("accelerations") or {}
    inputs = _inputs(called, given, seeds)
    variants: list[tuple[str, dict[str, Any]]] = [(PLAIN, {})]
    variants += [(name, {name: value}) for name, value in asked.items()]
    if len(asked) > 1:
        variants.append((TOGETHER, dict(asked)))
    rows: list[catalog.Row] = []
    with tempfile.TemporaryDirectory(prefix="vitrine-measure-") as root:
        plain: Found | None = None
        for name, accelerations in variants:
            folder = Path(root) / name
            folder.mkdir()
            found = (run or _in_process)(
                {
                    "recipe": cast("Any", {**recipe, "accelerations": accelerations}),
                    "inputs": inputs,
                    "runs": runs,
                    "device": device,
                    "threads": threads or settings.ENGINE_THREADS,
                    "weights_folder": str(settings.WEIGHTS_DIR),
                },
                folder,
            )
            if plain is None:
                if found["error"]:
                    raise CannotMeasure(found["error"])
                plain = found
            row = _row(name, accelerations, found, plain, folder, Path(root) / PLAIN)
            rows.append(row)
            tell(row)
    assert plain is not None
    return {
        "taken_at": timezone.now().isoformat(),
        "machine": cast("catalog.Machine", plain["machine"]),
        "versions": plain["versions"],
        "input": {name: value for name, value in inputs[0].items() if name != "seed"},
        "seeds": [int(one.get("seed", 0)) for one in inputs],
        "runs": runs,
        "rows": rows,
    }


def _inputs(called: catalog.Callable, given: Mapping[str, Any] | None, seeds: int) -> list[dict[str, Any]]:
    """The example of the endpoint, or what is given, with the seeds 0, 1 and so on. Raises schema.InvalidInput."""
    described = called.endpoint.input_schema
    values = {**schema.example(described), **(given or {})}
    cleaned = schema.clean(described, values)
    cleaned.pop(schema.adapter_field(described) or "", None)
    if "output_format" in cleaned and "png" in described["properties"]["output_format"].get("enum", ()):
        cleaned["output_format"] = "png"  # what is written with a loss would be compared with that loss
    return [{**cleaned, "seed": seed} for seed in range(seeds)]


def _in_process(asked: Asked, folder: Path) -> Found:
    (folder / ASKED).write_text(json.dumps(asked))
    command = [sys.executable, "-m", "workers.engine.measuring", str(folder)]
    env = {"TORCHINDUCTOR_CACHE_DIR": str(settings.COMPILED_DIR), **os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return cast("Found", {"error": f"It took longer than {SECONDS / 60:.0f} minutes."})
    if done.returncode != 0:
        # For whoever runs the command: the page is public, and a traceback names paths.
        sys.stderr.write(done.stderr)
        return cast("Found", {"error": f"Its process ended with {done.returncode}."})
    return cast("Found", json.loads((folder / FOUND).read_text()))


def _row(
    name: str, accelerations: Mapping[str, Any], found: Found, plain: Found, folder: Path, beside: Path
) -> catalog.Row:
    row: catalog.Row = {
        "name": name,
        "settings": "" if name == TOGETHER else ", ".join(_said(value) for value in accelerations.values()),
        "seconds_per_step": None,
        "speedup": None,
        "load_s": None,
        "first_run_s": None,
        "peak_memory_bytes": None,
        "difference": None,
        "notes": [],
        "error": found["error"],
    }
    if found["error"]:
        return row
    row["seconds_per_step"] = found["seconds_per_step"]
    row["speedup"] = plain["seconds_per_step"] / found["seconds_per_step"]
    row["load_s"], row["first_run_s"] = found["load_s"], found["first_run_s"]
    row["peak_memory_bytes"], row["notes"] = found["peak_memory_bytes"], found["notes"]
    if name != PLAIN:
        names = [f"{number}.media" for number in range(len(found["media_types"]))]
        row["difference"] = difference(
            [((beside / n).read_bytes(), (folder / n).read_bytes()) for n in names]
        )
    return row


def _said(value: Any, *, is_inner: bool = False) -> str:
    """The settings of an acceleration in a line; what is only switched on has none."""
    if isinstance(value, Mapping):
        named = ((name, _said(one, is_inner=True)) for name, one in value.items())
        return ", ".join(said if name in _SPEAKING else f"{name} {said}" for name, said in named)
    if isinstance(value, bool):
        return str(value).lower() if is_inner or not value else ""
    return str(value)


def difference(pairs: Sequence[tuple[bytes, bytes]]) -> catalog.Difference:
    """How far the second of each pair is from the first, over all pairs; of pictures by their pixels."""
    try:
        pixels = [[_pixels(data) for data in pair] for pair in pairs]
        gaps = np.concatenate([(other - one).ravel() for one, other in pixels])
    except (UnidentifiedImageError, ValueError):  # no pictures, or of other sizes
        is_same = all(one == other for one, other in pairs)
        return {"is_identical": is_same, "max_level": None, "mean_level": None, "psnr_db": None}
    squared = float(np.mean(gaps.astype(np.float64) ** 2))
    return {
        "is_identical": squared == 0,
        "max_level": int(np.abs(gaps).max()),
        "mean_level": float(np.abs(gaps).mean()),
        "psnr_db": float(10 * np.log10(LEVELS**2 / squared)) if squared else None,
    }


def _pixels(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)
