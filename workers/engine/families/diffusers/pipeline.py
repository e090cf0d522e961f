"""One opened pipeline: a batch of jobs as one call of it, with every picture's own seed and its own fate."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import torch

from workers.engine import machine as machines
from workers.engine.contract import (
    Adapter,
    EngineError,
    Job,
    MediaOutput,
    Metrics,
    OnStep,
    Outcome,
    Recipe,
)
from workers.engine.families.diffusers import inputs, outputs, traits
from workers.engine.families.diffusers.accelerations import Accelerations
from workers.engine.families.diffusers.adapters import Adapters
from workers.engine.families.diffusers.encodings import Encodings
from workers.engine.ffmpeg import BEAT_SECONDS
from workers.engine.latents import LatentView
from workers.engine.machine import Machine
from workers.engine.progress import Costs, Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Place:
    """One place in a batch: whose it is, and its own seed."""

    job: Job
    seed: int


class _Unwanted(Exception):
    """Nobody wants what is being read or written any more; the steps have no part in it."""


def _ask(jobs: Sequence[Job], on_step: OnStep) -> None:
    """Raises _Unwanted where none of `jobs` is wanted any more, and what `on_step` raises."""
    if {job.id for job in jobs} <= set(on_step([])):
        raise _Unwanted


def _named_alike(jobs: Sequence[Job]) -> list[Adapter]:
    """The adapters of a batch, which are the same files for all jobs. What one workspace calls its file, and the others
    do not, is told to none: lines and errors are those of the whole batch."""
    names: dict[str, set[str]] = {}
    for one in (one for job in jobs for one in job.adapters):
        names.setdefault(one.sha256, set()).add(one.name)
    return [one if len(names[one.sha256]) == 1 else replace(one, name="") for one in jobs[0].adapters]


class Pipeline:
    """One opened pipeline: `batch_key`, `pictures`, `run`, `close`."""

    def __init__(
        self, pipe: Any, *, recipe: Recipe, machine: Machine, dtype: str, accelerations: Accelerations
    ) -> None:
        self._pipe = pipe
        self._parameters = inspect.signature(type(pipe).__call__).parameters
        self._traits = traits.of(type(pipe).__name__, self._parameters)
        self._inputs = inputs.Inputs(self._parameters, self._traits)
        self._machine = machine
        self._dtype = dtype
        is_seen = self._traits.makes == "image" or bool(self._traits.latents)
        wants_previews = is_seen and recipe.get("previews", True)
        self._view: LatentView | None = LatentView(pipe, self._traits.latents) if wants_previews else None
        self._costs = Costs()
        self.encodings = Encodings.install(pipe)
        modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        self._base_bytes = sum(
            t.numel() * t.element_size() for m in modules for t in [*m.parameters(), *m.buffers()]
        )
        self._adapters = Adapters(pipe, room_bytes=self._base_bytes // 2)
        self._accelerations = accelerations

    @property
    def bytes(self) -> int:
        """The weights, and the adapters that stay on them between runs."""
        return self._base_bytes + self._adapters.bytes

    def shed(self, bytes: int) -> int:
        """Lets go of adapters, those put on least recently first; how many bytes that freed."""
        return self._adapters.shed(bytes)

    def close(self) -> None:
        """Drops the pipeline."""
        self._pipe = self._view = self.encodings = None
        del self._adapters, self._accelerations

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
        """How many media one job makes."""
        return self._inputs.count(input)

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Everything that one call of the pipeline can have only once. Raises EngineError for an unusable input."""
        self._inputs.check(input)
        return self._inputs.key(input)

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One call of the pipeline for all `jobs`, which must agree in `batch_key` and in their adapters; one after the
        other where its class takes no several prompts.

        What a job makes has the seeds `seed`, `seed + 1` and so on; each has a generator of its own.
        """
        if self._traits.batches:
            return self._run_together(jobs, on_step)[0]
        outcomes: list[Outcome] = []
        unwanted: set[str] = set()
        for job in jobs:
            if job.id in unwanted:
                outcomes.append(Outcome(job.id, "stopped"))
                continue
            try:
                found, stopped = self._run_together([job], on_step)
            except _Unwanted:
                found, stopped = [Outcome(job.id, "stopped")], {job.id}
            outcomes += found
            unwanted |= stopped
        return outcomes

    def _run_together(self, jobs: Sequence[Job], on_step: OnStep) -> tuple[list[Outcome], set[str]]:
        """The outcomes of one call, and whose results nobody wants any more."""
        started_at = time.perf_counter()
        self._machine.reset_peak()
        batch = [
            _Place(job, (inputs.seed(job.input) + number) % 2**63)
            for job in jobs
            for number in range(self.pictures(job.input))
        ]
        rate = outputs.sampling_rate(self._pipe)
        files = self._inputs.files(jobs[0].input, rate=rate, beat=lambda: _ask(jobs, on_step))
        logs = {job.id: self._remarks(job.input) for job in jobs}
        try:  # the first of two adapters is on when the second is refused
            loaded = self._adapters.put_on(_named_alike(jobs))
            ready_at = time.perf_counter() if loaded else started_at
            logs = {job.id: (*logs[job.id], *loaded) for job in jobs}
            result, progress = self._made(jobs, batch, files, on_step, logs)
        finally:
            self._adapters.take_off()
            self._accelerations.forget()
        self._machine.synchronize()
        decoded_at = time.perf_counter()
        made = outputs.take_apart(result, traits=self._traits, pipe=self._pipe, count=len(batch))
        finished = self._finish(batch, made, on_step, unwanted=progress.unwanted)
        self._teach(progress, made)
        metrics = self._measure(progress, (started_at, ready_at), decoded_at, batch=len(batch))
        outcomes = []
        for job in jobs:
            found = finished[job.id]
            if isinstance(found, EngineError):
                outcomes.append(Outcome(job.id, "failed", error=found))
            else:
                worn = [{"name": a.name, "sha256": a.sha256, "weight": a.weight} for a in job.adapters]
                told = replace(metrics, adapters=tuple(worn))
                outcomes.append(Outcome(job.id, "succeeded", found, told, inputs.seed(job.input)))
        return outcomes, progress.unwanted

    def _made(
        self,
        jobs: Sequence[Job],
        batch: Sequence[_Place],
        files: inputs.Files,
        on_step: OnStep,
        logs: Mapping[str, tuple[str, ...]],
    ) -> tuple[Any, Progress]:
        """The call; where compiling fails, which shows before the first step, a second one without."""
        while True:
            told = {name: (*lines, *self._accelerations.notes) for name, lines in logs.items()}
            progress = self._progress(jobs, batch, on_step, told, size=files.size)
            try:
                return self._call(batch, files, progress), progress
            except Exception as error:
                if progress.done or not self._accelerations.recover(error):
                    raise

    def _progress(
        self,
        jobs: Sequence[Job],
        batch: Sequence[_Place],
        on_step: OnStep,
        logs: Mapping[str, tuple[str, ...]],
        *,
        size: tuple[int, int] | None,
    ) -> Progress:
        first_places: dict[str, int] = {}
        for number, place in enumerate(batch):
            first_places.setdefault(place.job.id, number)
        side = (getattr(self._pipe, "default_sample_size", None) or 64) * 8
        asked = batch[0].job.input
        width, height = size or (self._number(asked, "width", side), self._number(asked, "height", side))
        return Progress(
            self._pipe,
            jobs,
            on_step,
            first_places=first_places,
            logs=logs,
            steps=self._number(asked, "num_inference_steps", 50),
            size=(height, width),
            view=self._view,
            costs=self._costs,
            machine=self._machine,
        )

    def _number(self, asked: Mapping[str, object], name: str, otherwise: int) -> int:
        value = asked.get(name, getattr(self._parameters.get(name), "default", None))
        return value if isinstance(value, int) else otherwise

    def _call(self, batch: Sequence[_Place], files: inputs.Files, progress: Progress) -> Any:
        arguments = self._arguments(batch, files) | progress.arguments(self._parameters)
        try:
            with progress.tap:
                return self._pipe(**arguments, output_type=self._traits.output_type)
        except ValueError as error:
            if progress.done >= progress.steps and self._traits.makes == "mesh":
                raise outputs.nothing_made(
                    self._traits
                ) from error  # a surface that is nowhere is an error to it
            if progress.done > 0:
                raise
            sentence = f"The pipeline refuses this input: {str(error)[:300]}"
            raise EngineError(sentence, code="invalid_input") from error

    def _arguments(self, batch: Sequence[_Place], files: inputs.Files) -> dict[str, Any]:
        """Those of one call, but for the step hook."""
        asked, takes = batch[0].job.input, self._traits
        arguments: dict[str, Any] = {n: v for n, v in takes.given.items() if n in self._parameters}
        arguments |= self._inputs.shared(asked)
        for name in takes.takes:
            arguments.pop(name, None)
        arguments |= files.arguments
        for name, samples in files.sounds.items():
            arguments[name] = torch.from_numpy(samples)
        if files.size is not None:
            sides = zip(("width", "height"), files.size, strict=True)
            arguments |= {name: side for name, side in sides if name in self._parameters}
            if "max_area" in self._parameters:
                arguments["max_area"] = files.size[0] * files.size[1]
        # On the CPU whatever the device: the noise of a seed is then the same everywhere, and its own in any batch.
        generators = [torch.Generator("cpu").manual_seed(place.seed) for place in batch]
        for name in ("prompt", "negative_prompt"):
            if name in asked:
                texts = [str(place.job.input[name]) for place in batch]
                arguments[name] = texts if takes.batches else texts[0]
        if takes.batches or len(batch) > 1:
            arguments["generator"] = generators
        else:
            arguments["generator"] = generators[0]
        if len(batch) > 1 and not takes.batches:
            arguments["num_images_per_prompt"] = len(batch)
        return arguments

    def _finish(
        self, batch: Sequence[_Place], made: Sequence[outputs.Made], on_step: OnStep, *, unwanted: set[str]
    ) -> dict[str, tuple[MediaOutput, ...] | EngineError]:
        """The files, or what is wrong, by job. Who becomes unwanted meanwhile is added to `unwanted`, and has none."""
        results: dict[str, tuple[MediaOutput, ...] | EngineError] = {place.job.id: () for place in batch}
        wanted = [
            (place, one) for place, one in zip(batch, made, strict=True) if place.job.id not in unwanted
        ]
        faults = {place.job.id: fault for place, one in wanted if (fault := outputs.fault(one))}
        good = [pair for pair in wanted if pair[0].job.id not in faults]
        for (place, _), file in zip(good, self._written(good, on_step, unwanted), strict=True):
            written = results[place.job.id]
            if isinstance(written, tuple) and file is not None:
                results[place.job.id] = (*written, file)
        return results | faults

    def _written(
        self, good: Sequence[tuple[_Place, outputs.Made]], on_step: OnStep, unwanted: set[str]
    ) -> list[MediaOutput | None]:
        """The file of each; None where it was given up because nobody wants it any more."""
        is_over = threading.Event()

        def write(place: _Place, one: outputs.Made) -> MediaOutput | None:
            def beat() -> None:
                if is_over.is_set() or place.job.id in unwanted:
                    raise _Unwanted

            asked, fps = place.job.input, self._inputs.fps(place.job.input)
            try:
                return outputs.write(one, asked, seed=place.seed, fps=fps, traits=self._traits, beat=beat)
            except _Unwanted:
                return None

        with ThreadPoolExecutor(max_workers=self._machine.threads) as writers:
            try:
                files = [writers.submit(write, *pair) for pair in good]
                while wait(files, timeout=BEAT_SECONDS).not_done:
                    unwanted |= set(on_step([]))
            except BaseException:
                is_over.set()  # else what comes through here would wait until the last of them is written
                writers.shutdown(wait=False, cancel_futures=True)
                raise
        return [file.result() for file in files]

    def _teach(self, progress: Progress, made: Sequence[outputs.Made]) -> None:
        if self._view is None or progress.latents is None or self._traits.makes != "image":
            return
        try:
            images = torch.stack([one.body for one in made if one.body is not None])
            self._view.learn(progress.latents, images)
        except Exception:
            _log.exception("learning to sketch previews failed; this pipeline goes on without previews")
            self._view = None

    def _remarks(self, asked: Mapping[str, object]) -> tuple[str, ...]:
        """Says so when every tokenizer cuts the prompt short."""
        if "prompt" not in asked:
            return ()
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

    def _measure(
        self, progress: Progress, started: tuple[float, float], decoded_at: float, *, batch: int
    ) -> Metrics:
        """`started` are the moments at which the batch began, and at which its adapters were loaded."""
        (started_at, ready_at), done_at = started, time.perf_counter()
        began_at = progress.tap.steps_began_at or ready_at
        last_at = progress.last_step_at or decoded_at
        steps_s = max(last_at - began_at, 0.0)
        self._costs.note("step", max(steps_s - progress.preview_s, 0.0) / max(progress.done * batch, 1))
        return Metrics(
            load_s=ready_at - started_at,
            encode_s=max(began_at - ready_at, 0.0),
            steps_s=steps_s,
            preview_s=progress.preview_s,
            decode_s=decoded_at - last_at,
            file_s=done_at - decoded_at,
            total_s=done_at - ready_at,  # loading an adapter is no more the model's work than loading weights
            steps=progress.done,
            steps_per_second=progress.done / steps_s if steps_s > 0 else 0.0,
            peak_memory_bytes=self._machine.peak_bytes(),
            batch=batch,
            threads=self._machine.threads_now,
            device=self._machine.device,
            dtype=self._dtype,
            versions=machines.versions(),
        )
