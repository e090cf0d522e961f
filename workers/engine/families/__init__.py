"""Families of pipelines, one file each: the file's name is the family's name, adding a file adds a family.

A family file has `check` and `open`, both of a recipe with its folder and machine; the second gives an `Opened`. Its
module is imported when it is first needed, so it may import torch at its top.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from workers.engine.contract import EngineError, Job, OnStep, Outcome, Recipe
from workers.engine.machine import Machine


class Opened(Protocol):
    """An opened recipe."""

    @property
    def bytes(self) -> int:
        """What it holds in the device's memory now."""
        ...

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Jobs whose inputs give the same string may share a batch. Raises EngineError for an unusable input."""
        ...

    def pictures(self, input: Mapping[str, object]) -> int:
        """How many places of a batch one job takes."""
        ...

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One batch. `on_step` names the jobs whose results nobody wants; what it raises must come through."""
        ...

    def close(self) -> None:
        """Lets go of everything."""
        ...


@runtime_checkable
class Parkable(Protocol):
    """An opened recipe whose weights can wait in the machine's own memory. Others are closed and loaded again."""

    def park(self) -> bool:
        """Moves the weights off the device. False: they cannot be moved, and it is to be closed."""
        ...

    def resume(self) -> None:
        """Moves them back. Raises what the library raises when there is no memory."""
        ...


@runtime_checkable
class Shedding(Protocol):
    """An opened recipe that keeps things beside its weights which a later run may want again."""

    def shed(self, bytes: int) -> int:
        """Lets go of about so many bytes of them, what was used least recently first; how many that freed."""
        ...


class Family(Protocol):
    """What a family's file offers."""

    needs_weights: bool

    def check(self, recipe: Recipe, *, folder: Path, machine: Machine) -> None:
        """Finds what would keep `recipe` from being opened, as far as that can be known before anything else has made
        room for it. Raises EngineError."""
        ...

    def open(self, recipe: Recipe, *, folder: Path, machine: Machine) -> Opened:
        """Opens `recipe` from `folder`, in which `check` found nothing wrong. Raises EngineError."""
        ...


def add_folder(folder: Path) -> None:
    """Look for families in `folder` too, after our own. Its files are code that this process runs."""
    if str(folder) not in __path__:
        __path__.append(str(folder))


def find(name: str) -> Family:
    """The family called `name`. Raises EngineError when there is no such file."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise EngineError(
            f"There is no engine family “{name}”; there are {', '.join(known)}.", code="bad_weights"
        )
    return cast("Family", importlib.import_module(f"{__name__}.{name}"))
