"""Any standard diffusers pipeline that makes pictures from text, opened by configuration from a folder.

Hides the library: loading without trust, its three kinds of step hook, per-picture generators, previews,
what its errors mean. The result is the same bytes for the same seed, alone on the same machine.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from workers.engine import machine as machines
from workers.engine import pictures, weights
from workers.engine.contract import (
    EngineError,
    Job,
    MediaOutput,
    Metrics,
    OnStep,
    Outcome,
    Recipe,
)
from workers.engine.latents import LatentView, to_bytes
from workers.engine.machine import Machine
from workers.engine.progress import Costs, Progress

needs_weights = True

# Both libraries are half typed; what is taken from them is checked where it is taken.
_diffusers: Any = diffusers
_transformers: Any = transformers

_log = logging.getLogger(__name__)
_OWN_FIELDS = {"prompt", "negative_prompt", "seed", "num_images", "output_format", "output_quality"}
_RESERVED = {
    "self", "generator", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end",
    "callback_on_step_end_tensor_inputs", "num_images_per_prompt", "num_videos_per_prompt", "latents", "prompt_embeds",
    "negative_prompt_embeds", "kwargs", "joint_attention_kwargs", "cross_attention_kwargs", "attention_kwargs",
}  # fmt: skip
_UNUSABLE = "The picture came out {what}, so it was not kept. Another seed or a higher precision may help."


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> Pipeline:  # noqa: A001 - the verb of every family
    """The pipeline in `folder` on `machine`. Raises EngineError: damaged, missing or unsafe weights, no memory."""
    declared = weights.check(recipe, folder)
    _check_classes(declared, folder)
    for library in (_diffusers, _transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    dtype = machine.dtype(recipe.get("dtype", "auto"))
    try:
        pipe = _diffusers.DiffusionPipeline.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        _check_complete(pipe, folder)
        _set_scheduler(pipe, recipe.get("scheduler") or {})
        pipe.to(machine.device)
    except EngineError:
        raise
    except Exception as error:
        if machines.is_out_of_memory(error):
            raise
        _log.exception("opening %s failed", folder.name)
        sentence = (
            f"The weights of this model could not be opened ({type(error).__name__}); publish them again."
        )
        raise EngineError(sentence, code="bad_weights") from error
    pipe.set_progress_bar_config(disable=True)
    for name in ("unet", "vae"):
        model: Any = getattr(pipe, name, None)
        if model is not None and all(p.ndim <= 4 for p in model.parameters()):
            # Convolutions are 16 % faster so in a batch of eight on a CPU, and no slower alone.
            model.to(memory_format=torch.channels_last)
    return Pipeline(pipe, recipe=recipe, machine=machine, dtype=str(dtype).removeprefix("torch."))


def _check_classes(declared: str, folder: Path) -> None:
    kind = getattr(diffusers, declared, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise EngineError(
            f"diffusers {diffusers.__version__} has no pipeline “{declared}”.", code="bad_weights"
        )
    for component, pair in json.loads((folder / "model_index.json").read_bytes()).items():
        if component.startswith("_") or not isinstance(pair, list) or None in pair[:2]:
            continue
        library, name = pair[:2]
        source = {"diffusers": diffusers, "transformers": transformers}.get(library)
        source = source or getattr(diffusers.pipelines, library, None)
        if source is None or not isinstance(getattr(source, name, None), type):
            raise EngineError(
                f"The component “{component}” is of no known class ({name}).", code="bad_weights"
            )


def _check_complete(pipe: Any, folder: Path) -> None:
    """The libraries fill missing tensors with noise and a warning; here they are an error."""
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            present = len(weights.tensors(folder / name))
            if present < sum(1 for _ in component.parameters()):
                raise EngineError(
                    f"Tensors are missing from the weights of “{name}”; publish them again.",
                    code="bad_weights",
                )


def _set_scheduler(pipe: Any, wanted: Mapping[str, object]) -> None:
    if not wanted:
        return
    options = dict(wanted)
    name = str(options.pop("class", type(pipe.scheduler).__name__))
    kind = getattr(_diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise EngineError(f"diffusers {diffusers.__version__} has no scheduler “{name}”.", code="bad_weights")
    pipe.scheduler = getattr(_diffusers, name).from_config(pipe.scheduler.config, **options)


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
        modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        self.bytes = sum(
            t.numel() * t.element_size() for m in modules for t in [*m.parameters(), *m.buffers()]
        )

    def close(self) -> None:
        """Drops the pipeline."""
        self._pipe = self._view = None

    def pictures(self, input: Mapping[str, object]) -> int:
        """How many pictures one job makes."""
        return _whole(input.get("num_images", 1), "num_images", least=1)

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Everything that one call of the pipeline can have only once. Raises EngineError for an unusable input."""
        self._check_names(input)
        if not isinstance(input.get("prompt"), str):
            raise EngineError("The prompt must be text.", code="invalid_input")
        _seed(input)
        pictures.settings(*_file_settings(input))
        shared = _shared(input) | {"negative": "negative_prompt" in input}
        return json.dumps(shared, sort_keys=True, default=str)

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One call of the pipeline for all `jobs`, which must agree in `batch_key`.

        A job's pictures have the seeds `seed`, `seed + 1` and so on; each has a generator of its own.
        """
        started_at = time.perf_counter()
        self._machine.reset_peak()
        batch = [
            _Picture(job, (_seed(job.input) + number) % 2**63)
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
                outcomes.append(Outcome(job.id, "succeeded", made, metrics, _seed(job.input)))
        return outcomes

    def _check_names(self, asked: Mapping[str, object]) -> None:
        for name in asked:
            if name in _RESERVED or (name not in _OWN_FIELDS and name not in self._parameters):
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
        arguments = _shared(batch[0].job.input) | progress.arguments(self._parameters)
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
            using = pictures.settings(*_file_settings(picture.job.input))
            return pictures.encode(to_bytes(image), using=using, seed=picture.seed)

        wanted = [
            (picture, image)
            for picture, image in zip(batch, images, strict=True)
            if picture.job.id not in unwanted
        ]
        faults = {picture.job.id: fault for picture, image in wanted if (fault := _fault(image))}
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


def _shared(asked: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in asked.items() if name not in _OWN_FIELDS}


def _fault(image: torch.Tensor) -> EngineError | None:
    if not bool(image.isfinite().all()):
        return EngineError(_UNUSABLE.format(what="as numbers that are no colours"), code="unusable_output")
    if float(image.max()) <= 1 / 255:
        return EngineError(_UNUSABLE.format(what="black"), code="unusable_output")
    return None


def _file_settings(asked: Mapping[str, object]) -> tuple[str, int]:
    quality = _whole(asked.get("output_quality", 92), "output_quality", least=1)
    return str(asked.get("output_format", "png")), min(quality, 100)


def _seed(asked: Mapping[str, object]) -> int:
    return _whole(asked.get("seed"), "seed", least=0) % 2**63


def _whole(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise EngineError(f"“{name}” must be a whole number of at least {least}.", code="invalid_input")
    return value
