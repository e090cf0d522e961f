"""How a list of jobs becomes batches: what shares an opened recipe, and what of that shares one call of it.

Hides defaults that belong to a job, the limits of a batch, and that an unusable input costs only its own job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from workers.engine.contract import EngineError, Job, Outcome, Recipe, adapters_key, recipe_key
from workers.engine.families import Opened


def with_defaults(job: Job) -> Job:
    """`job` with its recipe's defaults filled in: two recipes may share what they open and differ in these."""
    given = {name: value for name, value in job.input.items() if value is not None}
    return replace(job, input={**(job.recipe.get("defaults") or {}), **given})


def by_recipe(jobs: Sequence[Job]) -> Iterator[tuple[Recipe, list[Job]]]:
    """The jobs of each recipe that opens the same thing, in the order in which the first of each came."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(recipe_key(job.recipe), []).append(job)
    for group in groups.values():
        yield group[0].recipe, group


def split(opened: Opened, jobs: Sequence[Job], *, most: int) -> tuple[list[list[Job]], list[Outcome]]:
    """Batches of jobs that agree, of at most `most` pictures each, and the outcomes of those that cannot be run."""
    batches: list[list[Job]] = []
    refused: list[Outcome] = []
    open_batches: dict[str, tuple[list[Job], int]] = {}
    for job in jobs:
        try:
            key, count = opened.batch_key(job.input), opened.pictures(job.input)
            key += adapters_key(job.adapters)
        except EngineError as error:
            refused.append(Outcome(job.id, "failed", error=error))
            continue
        batch, taken = open_batches.get(key, ([], most))
        if job.exact or taken + count > most:
            batch, taken = [], 0
            batches.append(batch)
        batch.append(job)
        if not job.exact:
            open_batches[key] = (batch, taken + count)
    return batches, refused
