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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    StepReport,
)
from workers.engine.latents import LatentView, SchedulerTap, to_bytes
from workers.engine.machine import Machine
from workers.engine.previews import PreviewPlan

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

needs_weights = True

_log = logging.getLogger(__name__)
_OWN_FIELDS = {"prompt", "negative_prompt", "seed", "num_images", "output_format", "output_quality"}
_RESERVED = {
    "self", "generator", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end",
    "callback_on_step_end_tensor_inputs", "num_images_per_prompt", "num_videos_per_prompt", "latents", "prompt_embeds",
    "negative_prompt_embeds", "kwargs", "joint_attention_kwargs", "cross_attention_kwargs", "attention_kwargs",
}  # fmt: skip
_UNUSABLE = "The picture came out {what}, so it was not kept. Another seed or a higher precision may help."


def open(recipe: Recipe, *, folder: Path, machine: Machine) -> Pipeline:
    """The pipeline in `folder` on `machine`. Raises EngineError: damaged, missing or unsafe weights, no memory."""
    declared = weights.check(recipe, folder)
    _check_classes(declared, folder)
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    dtype = machine.dtype(recipe.get("dtype", "auto"))
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(
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
    vae = getattr(pipe, "vae", None)
    if vae is not None and all(p.ndim <= 4 for p in vae.parameters()):
        vae.to(memory_format=torch.channels_last)
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
    kind = getattr(diffusers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise EngineError(f"diffusers {diffusers.__version__} has no scheduler “{name}”.", code="bad_weights")
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)


class Pipeline:
    """One opened pipeline: `batch_key`, `pictures`, `run`, `close`."""

    def __init__(self, pipe: Any, *, recipe: Recipe, machine: Machine, dtype: str) -> None:
        self._pipe = pipe
        self._parameters = inspect.signature(type(pipe).__call__).parameters
        self._defaults = dict(recipe.get("defaults") or {})
        self._with_previews = recipe.get("previews", True)
        self._machine = machine
        self._dtype = dtype
        self._view = LatentView(pipe)
        self._costs_s = {"decode": 0.0, "sketch": 0.0}
        modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
        self.bytes = sum(
            t.numel() * t.element_size() for m in modules for t in [*m.parameters(), *m.buffers()]
        )

    def close(self) -> None:
        """Drops the pipeline."""
        self._pipe = None
        self._view = LatentView(None)

    def pictures(self, input: Mapping[str, object]) -> int:
        """How many pictures one job makes."""
        return _whole(input.get("num_images", self._defaults.get("num_images", 1)), "num_images", least=1)

    def batch_key(self, input: Mapping[str, object]) -> str:
        """Everything that one call of the pipeline can have only once. Raises EngineError for an unusable input."""
        merged = self._merge(input)
        if not isinstance(merged.get("prompt"), str):
            raise EngineError("The prompt must be text.", code="invalid_input")
        _whole(merged.get("seed"), "seed", least=0)
        pictures.settings(*_file_settings(merged))
        shared = self._shared(merged)
        shared["negative"] = merged.get("negative_prompt") is not None
        return json.dumps(shared, sort_keys=True, default=str)

    def run(self, jobs: Sequence[Job], on_step: OnStep) -> list[Outcome]:
        """One call of the pipeline for all `jobs`, which must agree in `batch_key`."""
        started_at = time.perf_counter()
        self._machine.reset_peak()
        places = [(job, number) for job in jobs for number in range(self.pictures(job.input))]
        merged = {job.id: self._merge(job.input) for job in jobs}
        going = _Run(
            self, jobs, on_step, first_places=_first_places(places), **self._geometry(merged[jobs[0].id])
        )
        going.logs = {job.id: self._remarks(merged[job.id]) for job in jobs}
        images = self._call(going, [merged[job.id] for job, _ in places], [number for _, number in places])
        self._machine.synchronize()
        decoded_at = time.perf_counter()
        if going.latents is not None:
            self._teach(going, images)
        results = self._finish(places, merged, images, unwanted=going.unwanted)
        done_at = time.perf_counter()
        metrics = self._measure(going, started_at, decoded_at, done_at, batch=len(places))
        return [
            Outcome(job.id, "failed", error=result, logs=going.logs[job.id])
            if isinstance(result, EngineError)
            else Outcome(job.id, "succeeded", result, metrics, _seed(merged[job.id]), logs=going.logs[job.id])
            for job, result in zip(jobs, results, strict=True)
        ]

    def _merge(self, input: Mapping[str, object]) -> dict[str, object]:
        merged = {**self._defaults, **{name: value for name, value in input.items() if value is not None}}
        for name in merged:
            if name in _RESERVED or (name not in _OWN_FIELDS and name not in self._parameters):
                raise EngineError(f"This pipeline takes no “{name}”.", code="invalid_input")
        if "negative_prompt" in merged and "negative_prompt" not in self._parameters:
            raise EngineError("This pipeline takes no negative prompt.", code="invalid_input")
        return merged

    def _shared(self, merged: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in merged.items() if name not in _OWN_FIELDS}

    def _geometry(self, merged: Mapping[str, object]) -> dict[str, int]:
        def default(name: str, otherwise: int) -> int:
            value = merged.get(name, getattr(self._parameters.get(name), "default", None))
            return value if isinstance(value, int) else otherwise

        side = int(getattr(self._pipe, "default_sample_size", None) or 64) * 8
        steps = default("num_inference_steps", 50)
        return {"steps": steps, "height": default("height", side), "width": default("width", side)}

    def _call(
        self, going: _Run, inputs: Sequence[Mapping[str, object]], numbers: Sequence[int]
    ) -> torch.Tensor:
        arguments = self._shared(inputs[0])
        arguments["prompt"] = [str(merged["prompt"]) for merged in inputs]
        if "negative_prompt" in inputs[0]:
            arguments["negative_prompt"] = [str(merged["negative_prompt"]) for merged in inputs]
        # On the CPU whatever the device: the noise of a seed is then the same everywhere, and its own in any batch.
        arguments["generator"] = [
            torch.Generator("cpu").manual_seed((_seed(merged) + number) % 2**63)
            for merged, number in zip(inputs, numbers, strict=True)
        ]
        by_tap = False
        if "callback_on_step_end" in self._parameters:
            arguments["callback_on_step_end"] = going.on_step_end
        elif "callback" in self._parameters and "callback_steps" in self._parameters:
            arguments |= {"callback": going.on_old_callback, "callback_steps": 1}
        else:
            by_tap = True
        going.tap = SchedulerTap(self._pipe.scheduler, on_step=going.on_scheduler_step if by_tap else None)
        try:
            with going.tap:
                images = self._pipe(**arguments, output_type="pt").images
        except ValueError as error:
            if going.done > 0:
                raise
            raise EngineError(
                f"The pipeline refuses this input: {str(error)[:300]}", code="invalid_input"
            ) from error
        if not isinstance(images, torch.Tensor) or images.ndim != 4:
            raise EngineError(
                "This pipeline does not make pictures; another family must run it.", code="bad_weights"
            )
        return images

    def _teach(self, going: _Run, images: torch.Tensor) -> None:
        try:
            with torch.no_grad():
                latents = self._view.unpack(going.latents, height=going.height, width=going.width)  # type: ignore[arg-type]
                if latents is not None and len(latents) == len(images) and bool(images.isfinite().all()):
                    self._view.learn(latents, images)
        except Exception:
            _log.exception("learning to sketch previews failed; this pipeline goes on without")
            self._view.learn = lambda latents, pictures: None  # type: ignore[method-assign]

    def _finish(
        self,
        places: Sequence[tuple[Job, int]],
        merged: Mapping[str, Mapping[str, object]],
        images: torch.Tensor,
        *,
        unwanted: set[str],
    ) -> list[tuple[MediaOutput, ...] | EngineError]:
        faults: dict[str, EngineError] = {}
        todo: list[tuple[str, NDArray[uint8], dict[str, object], int]] = []
        for (job, number), image in zip(places, images, strict=True):
            what = None if job.id in unwanted else _fault(image)
            if what:
                faults[job.id] = EngineError(_UNUSABLE.format(what=what), code="unusable_output")
            elif job.id not in unwanted:
                using = pictures.settings(*_file_settings(merged[job.id]))
                todo.append((job.id, to_bytes(image), using, (_seed(merged[job.id]) + number) % 2**63))
        with ThreadPoolExecutor(max_workers=self._machine.threads) as writers:
            files = list(
                writers.map(lambda one: (one[0], pictures.encode(one[1], using=one[2], seed=one[3])), todo)
            )
        jobs = list(dict.fromkeys(job.id for job, _ in places))
        return [faults.get(id) or tuple(file for owner, file in files if owner == id) for id in jobs]

    def _remarks(self, merged: Mapping[str, object]) -> tuple[str, ...]:
        prompt = str(merged["prompt"])
        longest = merged.get(
            "max_sequence_length", getattr(self._parameters.get("max_sequence_length"), "default", None)
        )
        over: list[tuple[int, int]] = []
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
            tokenizer = getattr(self._pipe, name, None)
            if tokenizer is None:
                continue
            is_clip = "CLIP" in type(tokenizer).__name__
            limit = longest if isinstance(longest, int) and not is_clip else int(tokenizer.model_max_length)
            if len(prompt.encode()) + 2 <= limit:
                return ()
            tokens = len(tokenizer(prompt).input_ids)
            if tokens <= limit:
                return ()
            over.append((limit, tokens))
        if not over:
            return ()
        limit, tokens = max(over)
        return (f"The prompt is {tokens} tokens long; this model reads the first {limit}.",)

    def _measure(self, going: _Run, started: float, decoded: float, done: float, *, batch: int) -> Metrics:
        began = going.tap.steps_began_at or started
        last = going.last_step_at or decoded
        steps_s = max(last - began, 0.0)
        return Metrics(
            encode_s=max(began - started, 0.0),
            steps_s=steps_s,
            preview_s=going.plan.spent_s,
            decode_s=decoded - last,
            file_s=done - decoded,
            total_s=done - started,
            steps=going.done,
            steps_per_second=going.done / steps_s if steps_s > 0 else 0.0,
            peak_memory_bytes=self._machine.peak_bytes(),
            batch=batch,
            threads=self._machine.threads,
            device=self._machine.device,
            dtype=self._dtype,
            versions=machines.versions(),
        )


@dataclass
class _Run:
    """One batch while it runs: counts its steps, makes its previews, tells the caller, keeps the last latents."""

    owner: Pipeline
    jobs: Sequence[Job]
    caller: OnStep
    first_places: Mapping[str, int]
    steps: int
    height: int
    width: int
    done: int = 0
    last_step_at: float | None = None
    latents: torch.Tensor | None = None
    unwanted: set[str] = field(default_factory=set)
    logs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        view, costs_s = self.owner._view, self.owner._costs_s
        self.tap = SchedulerTap(None)
        self.with_previews = self.owner._with_previews and view.can_decode
        self.kind = "sketch" if view.can_sketch else "decode"
        self.plan = PreviewPlan(jobs=len(self.jobs), steps=self.steps, expected_cost_s=costs_s[self.kind])

    def on_step_end(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """The hook of modern pipelines."""
        self._after_step(tensors.get("latents"))
        return {}

    def on_old_callback(self, step: int, timestep: Any, latents: Any) -> None:
        """The hook of older ones."""
        self._after_step(latents)

    def on_scheduler_step(self) -> None:
        """For pipelines that have no hook at all."""
        self._after_step(None)

    def _after_step(self, latents: torch.Tensor | None) -> None:
        self.done += 1
        self.latents = latents
        self.steps = max(self.done, int(getattr(self.owner._pipe, "_num_timesteps", None) or self.steps))
        previews = self._previews() if self.with_previews else {}
        first = self.done == 1
        reports = [
            StepReport(
                job.id, self.done, self.steps, previews.get(job.id), self.logs[job.id] if first else ()
            )
            for job in self.jobs
            if job.id not in self.unwanted
        ]
        self.unwanted |= set(self.caller(reports))
        self.last_step_at = time.perf_counter()

    def _previews(self) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        view = self.owner._view
        began_at = self.tap.steps_began_at or time.perf_counter()
        waiting = [place for place, job in enumerate(self.jobs) if job.id not in self.unwanted]
        estimate: torch.Tensor | None = None
        while waiting:
            elapsed_s = time.perf_counter() - began_at - self.plan.spent_s
            if not self.plan.allows(step=self.done, elapsed_s=elapsed_s):
                break
            place = self.plan.turn(waiting)
            assert place is not None
            waiting.remove(place)
            self.owner._machine.synchronize()
            started_at = time.perf_counter()
            try:
                with torch.no_grad():
                    if estimate is None:
                        found = self.tap.estimate(self.latents)
                        estimate = (
                            None
                            if found is None
                            else view.unpack(found, height=self.height, width=self.width)
                        )
                    if estimate is None:
                        self.with_previews = False
                        break
                    first = self.first_places[self.jobs[place].id]
                    draw = view.sketch if self.kind == "sketch" else view.decode
                    made[self.jobs[place].id] = pictures.encode_preview(draw(estimate[first : first + 1]))
            except Exception as error:
                if machines.is_out_of_memory(error):
                    raise
                _log.exception("previews failed; this run goes on without")
                self.with_previews = False
                break
            self.plan.spent(time.perf_counter() - started_at)
        self.owner._costs_s[self.kind] = self.plan.cost_s
        return made


def _first_places(places: Sequence[tuple[Job, int]]) -> dict[str, int]:
    return {job.id: place for place, (job, number) in reversed(list(enumerate(places))) if number == 0}


def _fault(image: torch.Tensor) -> str | None:
    if not bool(image.isfinite().all()):
        return "as numbers that are no colours"
    if float(image.max()) <= 1 / 255:
        return "black"
    return None


def _file_settings(merged: Mapping[str, object]) -> tuple[str, int]:
    quality = _whole(merged.get("output_quality", 92), "output_quality", least=1)
    return str(merged.get("output_format", "png")), min(quality, 100)


def _seed(merged: Mapping[str, object]) -> int:
    return _whole(merged.get("seed"), "seed", least=0) % 2**63


def _whole(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise EngineError(f"“{name}” must be a whole number of at least {least}.", code="invalid_input")
    return value
