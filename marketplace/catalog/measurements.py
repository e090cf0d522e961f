"""How fast a version runs, plain and accelerated: measured by its own machines, kept beside the immutable build."""

from __future__ import annotations

from typing import TypedDict

from django.db import transaction

from marketplace.catalog.find import forget
from marketplace.models import Version

MAX_MACHINES = 5


class Difference(TypedDict):
    """How far outputs are from the plain ones, over all seeds, in levels of 255. `psnr_db` is None when identical;
    all but `is_identical` are None for media that are no pictures."""

    is_identical: bool
    max_level: int | None
    mean_level: float | None
    psnr_db: float | None


class Row(TypedDict):
    """One way to run it. `name` is plain, that of an acceleration, or together; `error` says why it could not run."""

    name: str
    settings: str
    seconds_per_step: float | None
    speedup: float | None
    load_s: float | None
    first_run_s: float | None
    peak_memory_bytes: int | None
    difference: Difference | None
    notes: list[str]
    error: str


class Machine(TypedDict):
    """Where it was measured."""

    device: str
    name: str
    threads: int
    memory_bytes: int


class Measurement(TypedDict):
    """One visit to one machine: the same inputs and seeds in every row."""

    taken_at: str
    machine: Machine
    versions: dict[str, str]
    input: dict[str, object]
    seeds: list[int]
    runs: int
    rows: list[Row]


@transaction.atomic
def record_measurement(version: Version, found: Measurement) -> None:
    """Keep what was measured: the newest first, one of each machine."""
    locked = Version.objects.select_for_update().get(pk=version.pk)
    others = [one for one in locked.measurements if one["machine"] != found["machine"]]
    locked.measurements = [found, *others][:MAX_MACHINES]
    locked.save(update_fields=["measurements"])
    transaction.on_commit(forget)
