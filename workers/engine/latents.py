"""Looking into a run while it goes: the scheduler's estimate of the finished latent, and that latent as pixels.

Hides the differences between schedulers, latent layouts and decoders. Two ways to pixels: the model's own decoder,
and a sketch, a linear 3 x 3 map from latent to pixels that is learnt from finished pictures and costs next to nothing.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from workers.engine.pictures import PREVIEW_SIDE

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

_PICTURES_LEARNT = 48
_GOOD_PSNR = 20.0
_CLEAN_PREDICTION = {"dpmsolver++", "sde-dpmsolver++"}


class _Tapped:
    """A method with something done around it. A copy of its object gets its own method back: some pipelines copy their
    scheduler for a second medium, and what the copy does is not for the original to count, or to do."""

    def __init__(self, method: Callable[..., Any], around: Callable[..., Any]) -> None:
        functools.update_wrapper(self, method)
        self._method = method
        self._around = around

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._around(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(getattr(self._method, "__self__", None)))
        return self if copied is None else getattr(type(copied), self._method.__name__).__get__(copied)


class SchedulerTap:
    """Listens to a pipeline's scheduler for the length of one run; changes nothing that it computes."""

    def __init__(self, scheduler: Any, *, on_step: Callable[[], None] | None = None) -> None:
        self._scheduler = scheduler
        self._on_step = on_step
        self._seen: tuple[Any, Any, Any] | None = None
        self.steps_began_at: float | None = None

    def __enter__(self) -> SchedulerTap:
        step, set_timesteps = self._scheduler.step, self._scheduler.set_timesteps

        def tapped_step(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            result = step(model_output, timestep, sample, *args, **kwargs)
            self._seen = (model_output, sample, result)
            if self._on_step is not None:
                self._on_step()
            return result

        def tapped_set_timesteps(*args: Any, **kwargs: Any) -> Any:
            result = set_timesteps(*args, **kwargs)
            self.steps_began_at = time.perf_counter()
            return result

        self._scheduler.step = _Tapped(step, tapped_step)
        self._scheduler.set_timesteps = _Tapped(set_timesteps, tapped_set_timesteps)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for name in ("step", "set_timesteps"):
            self._scheduler.__dict__.pop(name, None)
        self._seen = None

    def estimate(self, latents: torch.Tensor | None) -> torch.Tensor | None:
        """The latent that the run is heading for, as the scheduler sees it; `latents` itself where it cannot say."""
        if self._seen is None:
            return latents
        model_output, sample, result = self._seen
        scheduler = self._scheduler
        outputs = getattr(scheduler, "model_outputs", None)
        if outputs and (
            scheduler.config.get("algorithm_type") in _CLEAN_PREDICTION or scheduler.config.get("predict_x0")
        ):
            return _tensor(outputs[-1])
        clean = result[1] if isinstance(result, tuple) and len(result) > 1 else None
        if clean is None and not isinstance(result, tuple):
            clean = getattr(result, "pred_original_sample", None)
        if clean is not None and getattr(clean, "shape", None) == sample.shape:
            return _tensor(clean)
        if type(scheduler).__name__.startswith("FlowMatchEuler"):
            sigma = float(scheduler.sigmas[scheduler.step_index - 1])
            return _tensor(sample.float() - sigma * model_output.float())
        return latents if latents is not None else _tensor(sample)


def _tensor(value: Any) -> torch.Tensor | None:
    return value if isinstance(value, torch.Tensor) else None


class LatentView:
    """Turns latents of one opened pipeline into pixels of at most 256 px; those of a film into its middle frame.

    `layout` is that of a film's latents: `bcfhw` or `bfchw`, with batch, channels, frames, rows and columns.
    """

    def __init__(self, pipe: Any, layout: str = "") -> None:
        self._pipe = pipe
        self._layout = layout
        self._vae = getattr(pipe, "vae", None)
        self._config = getattr(self._vae, "config", {})
        self._is_film = self._vae is not None and any(p.ndim == 5 for p in self._vae.parameters())
        factor = getattr(pipe, "vae_scale_factor", None) or getattr(pipe, "vae_scale_factor_spatial", None)
        self._factor = factor if isinstance(factor, int) and factor % 2 == 0 else 8
        self._gram: torch.Tensor | None = None
        self._target: torch.Tensor | None = None
        self._sketch: torch.Tensor | None = None
        self._learnt = 0
        self._good = 0

    @property
    def can_decode(self) -> bool:
        return self._vae is not None

    @property
    def can_sketch(self) -> bool:
        """Whether the linear map has proved itself on two finished pictures in a row that it had not seen."""
        return self._sketch is not None and self._good >= 2

    def unpack(self, latents: torch.Tensor, *, height: int, width: int) -> torch.Tensor | None:
        """Latents as pictures x channels x rows x columns, whatever the transformer wants; None for unknown layouts."""
        if latents.ndim == 3:
            unpack = getattr(self._pipe, "_unpack_latents", None)
            wanted = ["latents", "height", "width", "vae_scale_factor"]
            if unpack is None or list(inspect.signature(unpack).parameters) != wanted:
                return None
            latents = unpack(latents, height, width, self._factor)
        if latents.ndim == 5 and self._layout == "bfchw":
            latents = latents[:, latents.shape[1] // 2]
        elif latents.ndim == 5 and (self._layout == "bcfhw" or latents.shape[2] == 1):
            latents = latents[:, :, latents.shape[2] // 2]
        return latents if latents.ndim == 4 else None

    def decode(self, latent: torch.Tensor) -> NDArray[uint8]:
        """Pixels of one latent (1 x C x h x w) by the model's own decoder, shrunk first where it is large."""
        latent = self._shrink(latent)
        z = latent.to(self._vae.dtype)  # type: ignore[union-attr]
        scaling = self._config.get("scaling_factor") or 1.0
        mean, std = self._config.get("latents_mean"), self._config.get("latents_std")
        if mean is not None and std is not None:
            z = z * z.new_tensor(std).view(1, -1, 1, 1) / scaling + z.new_tensor(mean).view(1, -1, 1, 1)
        else:
            z = z / scaling + (self._config.get("shift_factor") or 0.0)
        if self._is_film:
            z = z.unsqueeze(2)
        decoded = self._vae.decode(z, return_dict=False)[0]  # type: ignore[union-attr]
        if decoded.ndim == 5:
            decoded = decoded[:, :, 0]
        return to_bytes(decoded[0] / 2 + 0.5)

    def sketch(self, latent: torch.Tensor) -> NDArray[uint8]:
        """Pixels of one latent by the linear map; only when `can_sketch`."""
        latent = self._shrink(latent)
        half = self._draw(latent.float())
        return to_bytes(functional.interpolate(half, scale_factor=2.0, mode="bilinear")[0])

    @torch.no_grad()
    def learn(self, latents: torch.Tensor, pictures: torch.Tensor) -> None:
        """Takes finished latents and their pictures (n x 3 x H x W, 0..1) as lessons, up to 48 pictures."""
        height, width = pictures.shape[2:]
        unpacked = self.unpack(latents, height=height, width=width)
        if self._learnt >= _PICTURES_LEARNT or unpacked is None or len(unpacked) != len(pictures):
            return
        if (unpacked.shape[2] * self._factor, unpacked.shape[3] * self._factor) != (height, width):
            return
        if not bool(unpacked.isfinite().all() and pictures.isfinite().all()):
            return
        # Half the resolution: what a linear map adds beyond that are block edges, not detail.
        lessons = functional.avg_pool2d(pictures.float().to(unpacked.device), 2)
        unpacked = unpacked.float()
        if self._sketch is not None:
            error = functional.mse_loss(self._draw(unpacked).clamp(0, 1), lessons).clamp_min(1e-8)
            self._good = self._good + len(unpacked) if float(-10 * error.log10()) >= _GOOD_PSNR else 0
        self._solve(unpacked, lessons)
        self._learnt += len(unpacked)

    def _solve(self, latents: torch.Tensor, lessons: torch.Tensor) -> None:
        features = self._features(latents)
        cells = functional.pixel_unshuffle(lessons, self._factor // 2)
        targets = cells.permute(0, 2, 3, 1).reshape(len(features), -1)
        gram, target = (features.T @ features).double(), (features.T @ targets).double()
        self._gram = gram if self._gram is None else self._gram + gram
        self._target = target if self._target is None else self._target + target
        ridge = (
            torch.eye(len(gram), dtype=torch.double, device=gram.device) * self._gram.diagonal().mean() * 1e-3
        )
        self._sketch = torch.linalg.solve(self._gram + ridge, self._target).float()

    def _shrink(self, latent: torch.Tensor) -> torch.Tensor:
        side = PREVIEW_SIDE // self._factor
        rows, columns = latent.shape[2:]
        if max(rows, columns) <= side:
            return latent
        ratio = side / max(rows, columns)
        size = (max(1, round(rows * ratio)), max(1, round(columns * ratio)))
        return functional.interpolate(latent.float(), size=size, mode="area")

    def _features(self, latents: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
        patches = functional.unfold(padded, 3).transpose(1, 2).flatten(0, 1)
        return torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)

    def _draw(self, latents: torch.Tensor) -> torch.Tensor:
        count, _, rows, columns = latents.shape
        assert self._sketch is not None
        cells = (self._features(latents) @ self._sketch).view(count, rows, columns, -1).permute(0, 3, 1, 2)
        return functional.pixel_shuffle(cells, self._factor // 2)


def to_bytes(picture: torch.Tensor) -> NDArray[uint8]:
    """3 x H x W in 0..1 to H x W x 3 bytes, rounded as diffusers does it."""
    levels: NDArray[uint8] = (
        (picture.float().clamp(0, 1) * 255)
        .round()
        .to(torch.uint8)
        .permute(1, 2, 0)
        .contiguous()
        .cpu()
        .numpy()
    )
    return levels
