"""Trains the tiny autoencoder: 8 x 8 pixels to one cell of 4 channels, with the loss weighted towards edges."""

from __future__ import annotations

import time
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
from workers.training.daylight.dataset import draw, read_parts
from workers.training.daylight.precision import mixed_precision
from workers.training.daylight.raster import Pixels

CELL = 8
CROP = 64
_WIDTH = 48
_COLOUR_MEAN, _COLOUR_GAIN = 0.45, 3.0
_LEARNING_RATE = 1.5e-3
_LATENT_NOISE = 0.07  # the decoder forgives what the denoiser leaves
_LOG_SECONDS = 60
_CANDIDATES = 3


def channels_last(model: nn.Module) -> nn.Module:
    """The model with its weights in the memory order in which convolutions on a CPU are fastest."""
    place = cast("Callable[..., nn.Module]", model.to)
    return place(memory_format=torch.channels_last)


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


def to_tensor(pictures: Pixels) -> Tensor:
    """Bytes N x H x W x 3 to floats N x 3 x H x W from -1 to 1."""
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return planes.contiguous(memory_format=torch.channels_last)


def to_bytes(planes: Tensor) -> Pixels:
    """The way back."""
    scaled = ((planes.clamp(-1, 1) + 1) * 127.5 + 0.5).clamp(0, 255).byte()
    return cast("Pixels", scaled.permute(0, 2, 3, 1).contiguous().numpy())


def load_codec(folder: Path) -> Codec:
    load = cast("Callable[..., nn.Module]", AutoencoderTiny.from_pretrained)
    return Codec(load(str(folder), local_files_only=True).eval())


def _new_model() -> nn.Module:
    make = cast("Callable[..., nn.Module]", AutoencoderTiny)
    model = make(
        latent_channels=4,
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


def _crops(pictures: Pixels, count: int, rng: np.random.Generator) -> Tensor:
    """Random crops on the latent grid; a third of the batches at two thirds of the size.

    Of every few candidates the one with the most detail is taken: skies and walls are learnt soon enough.
    """
    small = rng.random() < 0.33
    side = CROP * 3 // 2 if small else CROP
    steps = (pictures.shape[1] - side) // CELL + 1
    drawn = count * _CANDIDATES
    candidates = np.stack(
        [
            pictures[i, y : y + side, x : x + side]
            for i, y, x in zip(
                rng.integers(0, len(pictures), drawn),
                rng.integers(0, steps, drawn) * CELL,
                rng.integers(0, steps, drawn) * CELL,
                strict=True,
            )
        ]
    )
    green = candidates[..., 1].astype(np.int16)
    detail = np.abs(np.diff(green, axis=1)).mean((1, 2)) + np.abs(np.diff(green, axis=2)).mean((1, 2))
    best = detail.reshape(count, _CANDIDATES).argmax(1) + np.arange(count) * _CANDIDATES
    batch = to_tensor(candidates[best])
    if small:
        batch = functional.interpolate(batch, size=(CROP, CROP), mode="bilinear", antialias=True)
    if rng.random() < 0.5:
        batch = batch.flip(3)
    return batch.contiguous(memory_format=torch.channels_last)


def _edges(planes: Tensor) -> tuple[Tensor, Tensor]:
    return planes[..., 1:] - planes[..., :-1], planes[..., 1:, :] - planes[..., :-1, :]


def _loss(decoded: Tensor, wanted: Tensor, latents: Tensor, sharpness: float) -> Tensor:
    """`sharpness` from 0 to 1: edges count more as training goes on."""
    difference = decoded - wanted
    total = difference.abs().mean() + difference.pow(2).mean()
    level = difference
    for weight in (0.7, 0.3):  # errors of edges, at two sizes
        across, down = _edges(level)
        total = total + sharpness * weight * (across.abs().mean() + down.abs().mean())
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


def _learning_rate(step: int, share: float) -> float:
    return _LEARNING_RATE * min(1, (step + 1) / 50) * max(0.02, 1 - share)


class _Run:
    """One training run; what it has learnt outlives an interruption in `state_file`."""

    def __init__(self, state_file: Path) -> None:
        torch.manual_seed(0)
        self.codec = Codec(_new_model())
        self.model = self.codec.module
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), _LEARNING_RATE, betas=(0.9, 0.98), weight_decay=1e-4
        )
        self.average = MovingAverage(self.model.parameters())
        self.state_file = state_file
        self.step, self.spent = 0, 0.0
        if state_file.exists():
            state = torch.load(state_file, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values, self.step, self.spent = state["average"], state["step"], state["spent"]

    def freeze_encoder(self) -> None:
        """From here on latents stay what they are: a denoiser trained on them remains right."""
        self.average.settle()
        cast("nn.Module", self.model.encoder).requires_grad_(requires_grad=False)

    def learn(self, wanted: Tensor, share: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(self.step, share)
        with mixed_precision():
            latents = self.codec.encode(wanted).float()
            blur = torch.randn_like(latents) * torch.rand(len(wanted), 1, 1, 1) * _LATENT_NOISE
            decoded = self.codec.decode(latents + blur).float()
        loss = _loss(decoded, wanted, latents, min(1.0, 0.2 + share * 4))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return loss.item()

    def keep(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, self.state_file)


def train_autoencoder(
    *, data: Path, target: Path, steps: int, batch: int = 12, decoder_only: bool = False
) -> None:
    """Trains for `steps` batches in all and writes the diffusers folder `target`.

    A run that was cut short, or is given more steps, goes on from the state kept beside `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.concatenate([part.pictures for part in read_parts(data)])
    unseen = to_tensor(draw(32, seed=999, held_out=True)[0])
    run = _Run(target.with_suffix(".state.pt"))
    if decoder_only:
        run.freeze_encoder()
    rng = np.random.default_rng(run.step)
    started, logged = time.monotonic() - run.spent, run.spent
    while run.step < steps:
        loss = run.learn(_crops(pictures, batch, rng), run.step / steps)
        run.spent = time.monotonic() - started
        if run.spent - logged > _LOG_SECONDS:
            logged = run.spent
            ratio = measure(run.codec, unseen)[0].mean()
            print(f"{run.spent:.0f} s, step {run.step}, loss {loss:.4f}, {ratio:.2f} dB", flush=True)
            run.keep()
    with run.average.applied():
        ratio, latents = measure(run.codec, unseen)
        scale = load_codec(target).scale if decoder_only else float(1 / latents.std())
        run.codec.write(target, scale=scale)
    kinds = f"ceramics {ratio[::2].mean():.2f}, landscapes {ratio[1::2].mean():.2f}"
    print(f"{run.step} steps, unseen pictures {ratio.mean():.2f} dB ({kinds})", flush=True)
    run.keep()
