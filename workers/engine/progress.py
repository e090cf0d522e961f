"""One batch while it runs: counts its steps, makes its previews, tells the caller, keeps the last latents.

Hides the three kinds of step hook that diffusers has, and that a preview may fail without harm to the picture.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workers.engine import machine as machines
from workers.engine import pictures
from workers.engine.contract import Job, OnStep, StepReport
from workers.engine.latents import LatentView, SchedulerTap
from workers.engine.machine import Machine
from workers.engine.previews import FRAMES_ALONE, PreviewPlan, share_of_time

_log = logging.getLogger(__name__)
_FRAMES_TOGETHER = 6  # for each job of a batch


@dataclass(slots=True)
class Costs:
    """Seconds that things took lately on one opened pipeline; 0.0 means never done yet."""

    decode: float = 0.0
    sketch: float = 0.0
    step: float = 0.0

    def note(self, name: str, seconds: float) -> None:
        """Takes `seconds` into the moving average called `name`."""
        before = getattr(self, name)
        setattr(self, name, seconds if before <= 0 else 0.7 * before + 0.3 * seconds)


class Progress:
    """Follows one call of a pipeline. Hand `arguments` to the call and use it as a context around the call."""

    def __init__(
        self,
        pipe: Any,
        jobs: Sequence[Job],
        on_step: OnStep,
        *,
        first_places: Mapping[str, int],
        logs: Mapping[str, tuple[str, ...]],
        steps: int,
        size: tuple[int, int],
        view: LatentView | None,
        costs: Costs,
        machine: Machine,
    ) -> None:
        self._pipe = pipe
        self._jobs = jobs
        self._on_step = on_step
        self._first_places = first_places
        self._logs = logs
        self._size = size
        self._view = view if view is not None and view.can_decode else None
        self._costs = costs
        self._machine = machine
        self._kind = self._choose_kind(steps)
        self._plan = PreviewPlan(jobs=len(jobs), steps=steps, expected_cost_s=getattr(costs, self._kind))
        self._hooked = False
        self.steps = steps
        self.done = 0
        self.last_step_at: float | None = None
        self.latents: torch.Tensor | None = None
        self.unwanted: set[str] = set()
        self.tap = SchedulerTap(pipe.scheduler, on_step=self._on_scheduler_step)

    def arguments(self, parameters: Mapping[str, object]) -> dict[str, object]:
        """The call's arguments for the hook that a pipeline with `parameters` has; without one the scheduler tells."""
        self._hooked = True
        if "callback_on_step_end" in parameters:
            return {"callback_on_step_end": self._on_step_end}
        if "callback" in parameters and "callback_steps" in parameters:
            return {"callback": self._on_old_callback, "callback_steps": 1}
        self._hooked = False
        return {}

    @property
    def preview_s(self) -> float:
        return self._plan.spent_s

    def _choose_kind(self, steps: int) -> str:
        """One kind for all frames of a run, so that none is coarser than the one before: the sketch only where the
        budget does not pay for enough decoded frames."""
        if self._view is None or not self._view.can_sketch:
            return "decode"
        count = len(self._jobs)
        payable_s = share_of_time(count) * self._costs.step * steps * len(self._first_places)
        wanted = FRAMES_ALONE if count == 1 else _FRAMES_TOGETHER * count
        return "decode" if self._costs.decode * wanted <= payable_s else "sketch"

    def _on_step_end(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self._after_step(tensors.get("latents"))
        return {}

    def _on_old_callback(self, step: int, timestep: Any, latents: Any) -> None:
        self._after_step(latents)

    def _on_scheduler_step(self) -> None:
        if not self._hooked:
            self._after_step(None)

    def _after_step(self, latents: torch.Tensor | None) -> None:
        self.done += 1
        self.latents = latents
        self.steps = max(self.done, self._planned())
        if self.done == 1:  # told before its picture is drawn: who waits sees at once that it began
            self._report({}, logs=self._logs)
            previews = self._previews()
            if previews:
                self._report(previews)
        else:
            self._report(self._previews())
        self._machine.look_around()
        self.last_step_at = time.perf_counter()

    def _planned(self) -> int:
        """How many steps there will be, as the pipeline or its scheduler knows by now."""
        told = getattr(self._pipe, "_num_timesteps", None)
        timesteps = getattr(self._pipe.scheduler, "timesteps", None)
        if not told and not self._hooked and timesteps is not None:
            told = len(timesteps)
        return int(told or self.steps)

    def _report(
        self, previews: Mapping[str, bytes], *, logs: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        reports = [
            StepReport(
                id=job.id,
                step=self.done,
                steps=self.steps,
                preview=previews.get(job.id),
                logs=logs[job.id] if logs else (),
            )
            for job in self._jobs
            if job.id not in self.unwanted
        ]
        self.unwanted |= set(self._on_step(reports))

    def _previews(self) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        began_at = self.tap.steps_began_at or time.perf_counter()
        waiting = [place for place, job in enumerate(self._jobs) if job.id not in self.unwanted]
        clean: torch.Tensor | None = None
        while self._view is not None and waiting:
            elapsed_s = time.perf_counter() - began_at - self._plan.spent_s
            if not self._plan.allows(step=self.done, elapsed_s=elapsed_s):
                break
            self._machine.synchronize()
            started_at = time.perf_counter()
            place = self._plan.turn(waiting)
            waiting.remove(place)
            try:
                clean = self._estimate() if clean is None else clean
                if clean is None:
                    self._view = None
                    break
                made[self._jobs[place].id] = self._frame(clean, place)
            except Exception as error:
                if machines.is_out_of_memory(error):
                    raise
                _log.exception("a preview failed; this run goes on without")
                self._view = None
                break
            seconds = time.perf_counter() - started_at
            self._plan.spent(seconds)
            self._costs.note(self._kind, seconds)
        return made

    @torch.no_grad()
    def _estimate(self) -> torch.Tensor | None:
        found = self.tap.estimate(self.latents)
        height, width = self._size
        return (
            None
            if found is None or self._view is None
            else self._view.unpack(found, height=height, width=width)
        )

    @torch.no_grad()
    def _frame(self, clean: torch.Tensor, place: int) -> bytes:
        assert self._view is not None
        first = self._first_places[self._jobs[place].id]
        draw = self._view.sketch if self._kind == "sketch" else self._view.decode
        return pictures.encode_preview(draw(clean[first : first + 1]))
