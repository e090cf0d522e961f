"""Which lanes this machine serves, and with how many engines each.

Two engines of a thread each make more pictures on two cores than one of two threads, and one that computes alone has
all of them; but each has the weights in memory for itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from marketplace.host.places import HostProblem

MOST_ENGINES = 16
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
_ROOMY_BYTES = 8 * 10**9  # of memory, in which a second engine with its own weights does not crowd the rest
_SHARE = 0.8  # of the memory for all engines together, where there are several
_LANE = re.compile(r"([a-z0-9][a-z0-9-]{0,30})(?::([1-9][0-9]?))?")


@dataclass(frozen=True)
class Lane:
    """A lane and how many engines it gets; `env` is what they are told beyond what every child is."""

    name: str
    engines: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


def lanes(environ: Mapping[str, str]) -> list[Lane]:
    """By VITRINE_LANES, like `cpu:2,gpu`; by default as many engines for `cpu` as fit here. Raises HostProblem."""
    asked = environ.get("VITRINE_LANES", "").strip() or f"cpu:{_engines_that_fit()}"
    found: dict[str, int] = {}
    for part in asked.split(","):
        named = _LANE.fullmatch(part.strip())
        if named is None or int(named[2] or 1) > MOST_ENGINES:
            raise HostProblem(
                "VITRINE_LANES must be names of lanes with commas between them, each with how many engines where it is "
                f"not one, up to {MOST_ENGINES}, like cpu:2,gpu"
            )
        found.setdefault(named[1], int(named[2] or 1))
    several = sum(found.values()) if sum(found.values()) > 1 else 0
    # Of a GPU's memory nobody knows here how it is to be divided: it is the operator's to say.
    is_said = bool(environ.get("ENGINE_MEMORY_MB", "").strip()) or _has_gpu()
    env = {"ENGINE_MEMORY_MB": str(_part_mb(several))} if several and not is_said else {}
    return [Lane(name, engines, env) for name, engines in found.items()]


def _has_gpu() -> bool:
    return any(path.exists() for path in _GPUS)


def _engines_that_fit() -> int:
    if _has_gpu():  # one engine has it
        return 1
    return 2 if len(os.sched_getaffinity(0)) > 1 and _memory_bytes() >= _ROOMY_BYTES else 1


def _part_mb(engines: int) -> int:
    return int(_memory_bytes() * _SHARE / engines) // 2**20


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
