"""One opened pipeline: a batch of jobs as one call of it, with every picture's own seed and its own fate."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from workers.engine import machine as machines
from workers.engine import pictures
from workers.engine.contract import (
    EngineError,
    Job,
    MediaOutput,
    Metrics,
    OnStep,
    Outcome,
    Recipe,
)
from workers.engine.families.diffusers import inputs, outputs
from workers.engine.families.diffusers.encodings import Encodings
from workers.engine.latents import LatentView, to_bytes
from workers.engine.machine import Machine
from workers.engine.progress import Costs, Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Picture:
    """One place in a batch: whose it is, and its own seed."""

    job: Job
    seed: int


class Pipeline:
    """One opened pipeline: `batch_key`, `pictures`, `run`, `close`."""

    def __init__(self, pipe: Any, *, recipe: Recipe, machine: Machine, dtype: str) -> None:
        self._pipe = pipe
        self._parameters = inspect.signature(type(pipe).__call__).parameters
        self._machine = machine
        self._dtype = dtype
        self._view: LatentView | None = LatentView(pipe) if recipe.get("previews", True) else None
        self._costs = Costs()
        self.encodings = Encodings.install(pipe)
        modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        self.bytes = sum(
            t.numel() * t.element_size() for m in modules for t in [*m.parameters(), *m.buffers()]
        )

    def close(self) -> None:
        """Drops the pipeline."""
        self._pipe = self._view = self.encodings = None

    def park(self) -> bool:
        """Moves the weights to the machine's own memory; False where the library holds them where they are."""
        try:
            self._pipe.to("cpu")
            if self.encodings is not None:
                self.encodings.clear()
        except (ValueError, RuntimeError, NotImplementedError) as error:
            _log.info("this pipeline cannot wait in the machine's memory: %s", error)
            return False
        return True

    def resume(self) -> None:
        """Moves the weights back to the device."""
        self._pipe.to(self._machine.device)

    def pictures(self, input: Mapping[str, object]) -> int:
        """How many pictures one job makes."""
        return inputs.whole(input.get("num_images", 1), "num_images", least=1)

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Everything that one call of the pipeline can have only once. Raises EngineError for an unusable input."""
        self._check_names(input)
        if not isinstance(input.get("prompt"), str):
            raise EngineError("The prompt must be text.", code="invalid_input")
        inputs.seed(input)
        pictures.settings(*inputs.file_settings(input))
        shared = inputs.shared(input) | {"negative": "negative_prompt" in input}
        return json.dumps(shared, sort_keys=True, default=str)

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One call of the pipeline for all `jobs`, which must agree in `batch_key`.

        A job's pictures have the seeds `seed`, `seed + 1` and so on; each has a generator of its own.
        """
        started_at = time.perf_counter()
        self._machine.reset_peak()
        batch = [
            _Picture(job, (inputs.seed(job.input) + number) % 2**63)
            for job in jobs
            for number in range(self.pictures(job.input))
        ]
        logs = {job.id: self._remarks(job.input) for job in jobs}
        progress = self._progress(jobs, batch, on_step, logs)
        images = self._call(batch, progress)
        self._machine.synchronize()
        decoded_at = time.perf_counter()
        files = self._finish(batch, images, unwanted=progress.unwanted)
        self._teach(progress, images)
        metrics = self._measure(progress, started_at, decoded_at, batch=len(batch))
        outcomes = []
        for job in jobs:
            made = files[job.id]
            if isinstance(made, EngineError):
                outcomes.append(Outcome(job.id, "failed", error=made))
            else:
                outcomes.append(Outcome(job.id, "succeeded", made, metrics, inputs.seed(job.input)))
        return outcomes

    def _check_names(self, asked: Mapping[str, object]) -> None:
        for name in asked:
            if name in inputs.RESERVED or (name not in inputs.OWN_FIELDS and name not in self._parameters):
                raise EngineError(f"This pipeline takes no “{name}”.", code="invalid_input")
        if "negative_prompt" in asked and "negative_prompt" not in self._parameters:
            raise EngineError("This pipeline takes no negative prompt.", code="invalid_input")

    def _progress(
        self,
        jobs: Sequence[Job],
        batch: Sequence[_Picture],
        on_step: OnStep,
        logs: Mapping[str, tuple[str, ...]],
    ) -> Progress:
        first_places: dict[str, int] = {}
        for place, picture in enumerate(batch):
            first_places.setdefault(picture.job.id, place)
        side = (getattr(self._pipe, "default_sample_size", None) or 64) * 8
        return Progress(
            self._pipe,
            jobs,
            on_step,
            first_places=first_places,
            logs=logs,
            steps=self._number(batch[0].job.input, "num_inference_steps", 50),
            size=(
                self._number(batch[0].job.input, "height", side),
                self._number(batch[0].job.input, "width", side),
            ),
            view=self._view,
            costs=self._costs,
            machine=self._machine,
        )

    def _number(self, asked: Mapping[str, object], name: str, otherwise: int) -> int:
        value = asked.get(name, getattr(self._parameters.get(name), "default", None))
        return value if isinstance(value, int) else otherwise

    def _call(self, batch: Sequence[_Picture], progress: Progress) -> torch.Tensor:
        arguments = inputs.shared(batch[0].job.input) | progress.arguments(self._parameters)
        arguments["prompt"] = [str(picture.job.input["prompt"]) for picture in batch]
        if "negative_prompt" in batch[0].job.input:
            arguments["negative_prompt"] = [str(picture.job.input["negative_prompt"]) for picture in batch]
        # On the CPU whatever the device: the noise of a seed is then the same everywhere, and its own in any batch.
        arguments["generator"] = [torch.Generator("cpu").manual_seed(picture.seed) for picture in batch]
        try:
            with progress.tap:
                images = self._pipe(**arguments, output_type="pt").images
        except ValueError as error:
            if progress.done > 0:
                raise
            sentence = f"The pipeline refuses this input: {str(error)[:300]}"
            raise EngineError(sentence, code="invalid_input") from error
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            raise EngineError(
                "This pipeline makes no pictures; another family must run it.", code="bad_weights"
            )
        return images

    def _finish(
        self, batch: Sequence[_Picture], images: torch.Tensor, *, unwanted: set[str]
    ) -> dict[str, tuple[MediaOutput, ...] | EngineError]:
        results: dict[str, tuple[MediaOutput, ...] | EngineError] = {picture.job.id: () for picture in batch}

        def write(picture: _Picture, image: torch.Tensor) -> MediaOutput:
            using = pictures.settings(*inputs.file_settings(picture.job.input))
            return pictures.encode(to_bytes(image), using=using, seed=picture.seed)

        wanted = [
            (picture, image)
            for picture, image in zip(batch, images, strict=True)
            if picture.job.id not in unwanted
        ]
        faults = {picture.job.id: fault for picture, image in wanted if (fault := outputs.fault(image))}
        good = [pair for pair in wanted if pair[0].job.id not in faults]
        with ThreadPoolExecutor(max_workers=self._machine.threads) as writers:
            for (picture, _), file in zip(good, writers.map(lambda pair: write(*pair), good), strict=True):
                made = results[picture.job.id]
                if isinstance(made, tuple):
                    results[picture.job.id] = (*made, file)
        return results | faults

    def _teach(self, progress: Progress, images: torch.Tensor) -> None:
        if self._view is None or progress.latents is None:
            return
        try:
            self._view.learn(progress.latents, images)
        except Exception:
            _log.exception("learning to sketch previews failed; this pipeline goes on without previews")
            self._view = None

    def _remarks(self, asked: Mapping[str, object]) -> tuple[str, ...]:
        """Says so when every tokenizer cuts the prompt short."""
        prompt = str(asked["prompt"])
        longest = asked.get(
            "max_sequence_length", getattr(self._parameters.get("max_sequence_length"), "default", None)
        )
        cut: list[tuple[int, int]] = []
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
            tokenizer = getattr(self._pipe, name, None)
            if tokenizer is None:
                continue
            is_clip = "CLIP" in type(tokenizer).__name__
            limit = longest if isinstance(longest, int) and not is_clip else int(tokenizer.model_max_length)
            # No token is shorter than a byte, so most prompts need not be split to know that they fit.
            tokens = len(prompt.encode()) + 2
            if tokens > limit:
                tokens = len(tokenizer(prompt).input_ids)
            if tokens <= limit:
                return ()
            cut.append((limit, tokens))
        if not cut:
            return ()
        limit, tokens = max(cut)
        return (f"The prompt is {tokens} tokens long; this model reads the first {limit}.",)

    def _measure(self, progress: Progress, started_at: float, decoded_at: float, *, batch: int) -> Metrics:
        done_at = time.perf_counter()
        began_at = progress.tap.steps_began_at or started_at
        last_at = progress.last_step_at or decoded_at
        steps_s = max(last_at - began_at, 0.0)
        self._costs.note("step", max(steps_s - progress.preview_s, 0.0) / max(progress.done * batch, 1))
        return Metrics(
            encode_s=max(began_at - started_at, 0.0),
            steps_s=steps_s,
            preview_s=progress.preview_s,
            decode_s=decoded_at - last_at,
            file_s=done_at - decoded_at,
            total_s=done_at - started_at,
            steps=progress.done,
            steps_per_second=progress.done / steps_s if steps_s > 0 else 0.0,
            peak_memory_bytes=self._machine.peak_bytes(),
            batch=batch,
            threads=self._machine.threads,
            device=self._machine.device,
            dtype=self._dtype,
            versions=machines.versions(),
        )
