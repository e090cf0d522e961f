"""The engine: opens recipes, runs batches of jobs, reports every step. Knows no Django, no queue and no money.

Importing it costs no torch; torch arrives when the first recipe that needs it is opened, in that process.
"""

from __future__ import annotations

from workers.engine.contract import (
    Adapter,
    EngineError,
    Job,
    Loading,
    MediaOutput,
    Metrics,
    OnStep,
    Outcome,
    Recipe,
    Resident,
    StepReport,
    recipe_key,
)
from workers.engine.runtime import Engine

__all__ = [
    "Adapter",
    "Engine",
    "EngineError",
    "Job",
    "Loading",
    "MediaOutput",
    "Metrics",
    "OnStep",
    "Outcome",
    "Recipe",
    "Resident",
    "StepReport",
    "recipe_key",
]
