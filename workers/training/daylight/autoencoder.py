"""Trains the tiny autoencoder: 8 x 8 pixels to one cell of 4 channels; edges and small things weigh more."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as functional
from diffusers import AutoencoderTiny
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

from workers.training.daylight.averaging import MovingAverage
from workers.training.daylight.crops import CELL, CROP, Crops
from workers.training.daylight.dataset import draw, read_parts
from workers.training.daylight.gradients import Gradients
from workers.training.daylight.precision import mixed_precision
from workers.training.daylight.raster import Pixels

_WIDTH = 48
_CHANNELS = 4
_COLOUR_MEAN, _COLOUR_GAIN = 0.45, 3.0
_LATENT_NOISE = 0.05  # the decoder forgives what the denoiser leaves
_FINE, _FINE_CONTRAST = 4.0, 0.25  # how much more small things count, from which contrast on entirely
_LOG_SECONDS = 30


def channels_last(model: nn.Module) -> nn.Module:
    """The model with its weights in the memory order in which convolutions on a CPU are fastest."""
    place = cast("Callable[..., nn.Module]", model.to)
    return place(memory_format=torch.channels_last)


@dataclass(frozen=True)
class AutoencoderPlan:
    """How one training is spent: batches of crops, the learning rate they begin with, parts of the data used."""

    steps: int
    batch: int = 12
    rate: float = 1.5e-3
    parts: int | None = None
    decoder_only: bool = False  # polish the decoder and leave latents as they are


class Codec:
    """An AutoencoderTiny with plain tensor faces: pictures in -1..1, latents unscaled."""

    def __init__(self, model: nn.Module) -> None:
        self.module = channels_last(model)

    @property
    def scale(self) -> float:
        return float(cast("_Configured", self.module).config.scaling_factor)

    def encode(self, pictures: Tensor) -> Tensor:
        return cast("Tensor", cast("nn.Module", self.module.encoder)(pictures))

    def decode(self, latents: Tensor) -> Tensor:
        return cast("Tensor", cast("nn.Module", self.module.decoder)(latents))

    def write(self, folder: Path, scale: float) -> None:
        """Writes the diffusers folder, `scale` being what latents are multiplied with for the denoiser."""
        model = cast("_Configured", self.module)
        model.register_to_config(scaling_factor=scale)
        model.save_pretrained(str(folder))


class _Config(Protocol):
    scaling_factor: float


class _Configured(Protocol):
    """What diffusers mixes into its modules, which its types leave out."""

    config: _Config

    def register_to_config(self, *, scaling_factor: float) -> None: ...

    def save_pretrained(self, folder: str) -> None: ...


def to_tensor(pictures: Pixels, device: torch.device | None = None) -> Tensor:
    """Bytes N x H x W x 3 to floats N x 3 x H x W from -1 to 1."""
    planes = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return planes.contiguous(memory_format=torch.channels_last)


def to_bytes(planes: Tensor) -> Pixels:
    """The way back."""
    scaled = ((planes.clamp(-1, 1) + 1) * 127.5 + 0.5).clamp(0, 255).byte()
    return cast("Pixels", scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def load_codec(folder: Path, device: torch.device | None = None) -> Codec:
    load = cast("Callable[..., nn.Module]", AutoencoderTiny.from_pretrained)
    return Codec(load(str(folder), local_files_only=True).eval().to(device))


def _new_model() -> nn.Module:
    make = cast("Callable[..., nn.Module]", AutoencoderTiny)
    model = make(
        latent_channels=_CHANNELS,
        encoder_block_out_channels=(_WIDTH,) * 4,
        decoder_block_out_channels=(_WIDTH,) * 4,
        num_encoder_blocks=(0, 0, 1, 2),
        num_decoder_blocks=(2, 3, 1, 0),
    )
    _start(model)
    return model


def _start(model: nn.Module) -> None:
    """Starts the nets as a plain blur that keeps colours: what is left to learn is detail.

    The first three channels carry red, green and blue from end to end, averaged on the way down and
    smoothed on the way up; the others start at random. Without this, colours take most of the training.
    """
    blur = torch.outer(torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0])) / 16
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        weight = layer.weight.data
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if name.endswith("conv.4"):  # the last of a residual block: nearly nothing at first
            weight.mul_(0.2)
            weight[:3] = 0
            continue
        if ".conv." in name:
            continue
        if layer.out_channels in (3, 4):
            weight.mul_(0.3)
        weight[:3] *= 0.05 if layer.out_channels == 3 else 0
        point = torch.zeros(3, 3)
        point[1, 1] = 1
        kernel = blur if layer.in_channels == layer.out_channels else point
        scale, shift = 1.0, 0.0
        if layer.out_channels == 4:  # to latents: colours around zero, spread about 0.8
            scale, shift = _COLOUR_GAIN, -_COLOUR_MEAN * _COLOUR_GAIN
        elif layer.in_channels == 4:
            scale, shift = 1 / _COLOUR_GAIN, _COLOUR_MEAN
        for channel in range(3):
            weight[channel, channel] += kernel * scale
            if layer.bias is not None:
                layer.bias.data[channel] = shift


def _edges(planes: Tensor) -> tuple[Tensor, Tensor]:
    return planes[..., 1:] - planes[..., :-1], planes[..., 1:, :] - planes[..., :-1, :]


def _weight(wanted: Tensor) -> Tensor:
    """How much each pixel counts: more where it stands out from its surroundings, as speckles, stars and needles do."""
    around = functional.avg_pool2d(wanted, 7, 1, 3, count_include_pad=False)
    contrast = (wanted - around).abs().mean(1, keepdim=True)
    return 1 + _FINE * (contrast / _FINE_CONTRAST).clamp(max=1)


def _loss(decoded: Tensor, wanted: Tensor, latents: Tensor, sharpness: Tensor) -> Tensor:
    """`sharpness` from 0 to 1: edges and small things count more as training goes on."""
    difference = decoded - wanted
    weight = 1 + sharpness * (_weight(wanted) - 1)
    total = (weight * (difference.abs() + difference.pow(2))).mean()
    level = difference
    for part in (0.7, 0.3):  # errors of edges, at two sizes
        across, down = _edges(level)
        total = total + sharpness * part * (across.abs().mean() + down.abs().mean())
        level = functional.avg_pool2d(level, 2)
    spread = latents.transpose(0, 1).flatten(1)
    tidy = spread.mean(1).pow(2).mean() + (spread.std(1) - 0.8).pow(2).mean()
    tidy = tidy + functional.relu(latents.abs() - 2.4).pow(2).mean()
    return total + 0.05 * tidy


def measure(codec: Codec, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Peak signal-to-noise ratio of each picture in dB, and the latents."""
    with torch.no_grad():
        latents = codec.encode(pictures)
        error = (codec.decode(latents).clamp(-1, 1) - pictures) / 2
    return -10 * error.pow(2).mean((1, 2, 3)).log10(), latents


class _Run:
    """One training run of `codec`; what it has learnt outlives an interruption in `state_file`."""

    def __init__(self, codec: Codec, state_file: Path, plan: AutoencoderPlan, device: torch.device) -> None:
        self.codec, self.state_file, self.plan, self.device = codec, state_file, plan, device
        self.model = codec.module.train()
        if plan.decoder_only:  # a denoiser trained on the latents remains right
            cast("nn.Module", self.model.encoder).requires_grad_(requires_grad=False)
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, plan.rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True
        )
        self.average = MovingAverage(self.weights, plan.steps)
        self.step, self.spent = 0, 0.0
        if state_file.exists():
            state = torch.load(state_file, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values, self.step, self.spent = state["average"], state["step"], state["spent"]
        self.gradients = Gradients(self._measured_loss, self.weights, device)

    def learn(self, wanted: Tensor) -> Tensor:
        share = self.step / self.plan.steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * min(1, (self.step + 1) / 100) * max(0.02, 1 - share)
        count, cells = len(wanted), CROP // CELL
        noise = torch.randn(count, _CHANNELS, cells, cells, device=self.device)
        noise *= torch.rand(count, 1, 1, 1, device=self.device) * _LATENT_NOISE
        sharp = 1.0 if self.plan.decoder_only else min(1.0, 0.2 + share * 4)
        sharpness = torch.full((), sharp, device=self.device)
        loss = self.gradients(wanted, noise, sharpness)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return loss

    def _measured_loss(self, wanted: Tensor, noise: Tensor, sharpness: Tensor) -> Tensor:
        # half precision hides faint stripes on bright flat surfaces: the polish is done in full
        with nullcontext() if self.plan.decoder_only else mixed_precision(self.device):
            latents = self.codec.encode(wanted).float()
            decoded = self.codec.decode(latents + noise).float()
        return _loss(decoded, wanted, latents, sharpness)

    def keep(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, self.state_file)


def train_autoencoder(*, data: Path, target: Path, plan: AutoencoderPlan, device: torch.device) -> None:
    """Trains to the end of the plan and writes the diffusers folder `target`, which a polish starts from as well.

    A run that was cut short, or is given more steps, goes on from the state kept beside `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    crops = Crops(islice(read_parts(data), plan.parts), device)
    unseen = to_tensor(draw(32, seed=999, held_out=True)[0], device)
    codec = load_codec(target, device) if plan.decoder_only else Codec(_new_model().to(device))
    known = codec.scale
    run = _Run(codec, target.with_suffix(".decoder.pt" if plan.decoder_only else ".state.pt"), plan, device)
    rng = np.random.default_rng(run.step)
    started, logged = time.monotonic() - run.spent, run.spent
    while run.step < plan.steps:
        loss = run.learn(crops.draw(plan.batch, rng))
        run.spent = time.monotonic() - started
        if run.spent - logged > _LOG_SECONDS:
            logged = run.spent
            ratio = measure(run.codec, unseen)[0].mean()
            print(f"{run.spent:.0f} s, step {run.step}, loss {loss:.4f}, {ratio:.2f} dB", flush=True)
            run.keep()
    with run.average.applied():
        ratio, latents = measure(run.codec, unseen)
        scale = known if plan.decoder_only else float(1 / latents.std())
        run.codec.write(target, scale=scale)
    run.spent = time.monotonic() - started
    kinds = f"ceramics {ratio[::2].mean():.2f}, landscapes {ratio[1::2].mean():.2f}"
    print(f"{run.step} steps, {run.spent:.0f} s, unseen pictures {ratio.mean():.2f} dB ({kinds})", flush=True)
    run.keep()
