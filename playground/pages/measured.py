"""What was measured of a version, in the words of a table: what an acceleration saves beside what it changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from marketplace.catalog import Difference, Measurement, Row

NAMES = {
    "plain": "Plain",
    "together": "All together",
    "compile": "Compiled",
    "cache": "Step cache",
    "attention_backend": "Attention backend",
    "quantization": "Quantized",
    "layerwise_casting": "Stored in 8 bits",
    "offload": "Offloaded",
    "channels_last": "Channels last",
    "vae_tiling": "Decoded in tiles",
    "vae_slicing": "Decoded one by one",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table; `trouble` takes the place of the figures."""

    name: str
    settings: str
    step: str
    speedup: str
    memory: str
    apart: str
    notes: tuple[str, ...]
    trouble: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One machine."""

    machine: str
    taken_at: datetime
    how: str
    lines: tuple[Line, ...]


def visits(found: Iterable[Measurement]) -> list[Visit]:
    """The newest first."""
    return [
        Visit(
            machine=_machine(one),
            taken_at=datetime.fromisoformat(one["taken_at"]),
            how=_how(one),
            lines=tuple(_line(row) for row in one["rows"]),
        )
        for one in found
    ]


def _machine(one: Measurement) -> str:
    machine = one["machine"]
    if machine["device"] != "cpu":
        return machine["name"]
    return f"{machine['name']}, {machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"


def _how(one: Measurement) -> str:
    seeds, runs = len(one["seeds"]), one["runs"]
    said = (
        f"{seeds} seed{'' if seeds == 1 else 's'}, {runs} run{'' if runs == 1 else 's'} of each, the median"
    )
    return f"{said}; torch {one['versions'].get('torch', '?')}, diffusers {one['versions'].get('diffusers', '?')}"


def _line(row: Row) -> Line:
    memory, speedup, step = row["peak_memory_bytes"], row["speedup"], row["seconds_per_step"]
    return Line(
        name=NAMES.get(row["name"], row["name"]),
        settings=row["settings"],
        step=f"{step * 1000:,.0f} ms"
        if step is not None and step >= 0.01
        else f"{(step or 0) * 1000:.2f} ms",
        speedup=f"{speedup:.2f} ×" if speedup is not None else "–",
        memory=f"{memory / 2**30:.2f} GiB" if memory is not None else "–",
        apart=_apart(row["difference"]) if row["name"] != "plain" else "–",
        notes=tuple(row["notes"]),
        trouble=row["error"],
    )


def _apart(found: Difference | None) -> str:
    if found is None:
        return "–"
    if found["is_identical"]:
        return "identical"
    if found["psnr_db"] is None:
        return "not the same; no pictures to compare"
    return f"up to {found['max_level']} of 255 levels, {found['mean_level']:.2f} on average ({found['psnr_db']:.1f} dB)"
