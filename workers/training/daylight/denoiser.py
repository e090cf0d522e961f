"""Trains the UNet and the text encoder together: rectified flow on latents, small pictures first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as functional
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from workers.training.daylight.autoencoder import channels_last
from workers.training.daylight.averaging import MovingAverage
from workers.training.daylight.captions import Subject, phrase
from workers.training.daylight.crops import CELL
from workers.training.daylight.dataset import PART, choose
from workers.training.daylight.gradients import Gradients
from workers.training.daylight.latents import SIDES, SMALL, SOURCES, read_latents
from workers.training.daylight.pipeline import save_pipeline
from workers.training.daylight.precision import mixed_precision, quick_attention
from workers.training.daylight.text import (
    WIDTH,
    build_tokenizer,
    new_text_encoder,
    read_tokenizer,
    tokenizer_text,
    tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_DROPPED_CAPTIONS = 0.1
_PHRASES = 8  # ways in which each picture is put into words
_SHIFT = (
    2.0  # how strongly the noise of training leans to much: layout there, fine things where there is little
)
_LOG_SECONDS = 30
MIX = {"square": 0.70, "wide": 0.14, "tall": 0.10, SMALL: 0.06}  # formats after the warm-up, by weight


class _Configured(Protocol):
    """What diffusers mixes into its modules, which its types leave out."""

    def register_to_config(self, *, sample_size: int) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How one training is spent: pictures seen, the share that is small at first, how often to keep what was learnt.

    Counted in samples, not in minutes, so that a busy machine gives the same model later and not another one.
    """

    samples: int
    small_share: float = 0.75
    batch: int = 32
    rate: float = 8e-4
    checkpoint_samples: int = 20_000
    formats: tuple[str, ...] = tuple(MIX)
    pause: int | None = None  # stop when this many are seen, to go on in another call
    parts: int | None = None  # no more than this many parts of each format after the warm-up


def new_unet() -> nn.Module:
    make = cast("Callable[..., nn.Module]", UNet2DConditionModel)
    model = make(
        sample_size=SIDES["square"][0] // CELL,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 96, 144),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=[2, 3, 4],
        cross_attention_dim=WIDTH,
        norm_num_groups=16,
    )
    return channels_last(model)


@dataclass(frozen=True)
class _Shown:
    """Pictures of one format as latents N x 4 x h x w, and what is said of them as tokens N x _PHRASES x length."""

    latents: Tensor
    said: Tensor


class Trainer:
    """One training run: its models, optimizer, moving average and clock. Survives being cut short."""

    def __init__(self, *, data: Path, vae: Path, state_file: Path, plan: Plan, device: torch.device) -> None:
        torch.manual_seed(0)
        self.data, self.vae, self.state_file, self.plan, self.device = data, vae, state_file, plan, device
        self.rng = np.random.default_rng(0)
        state = (
            torch.load(state_file, map_location=device, weights_only=True) if state_file.exists() else None
        )
        self.tokenizer = read_tokenizer(state["words"]) if state else _learn_words()
        self.text = new_text_encoder(self.tokenizer).to(device)
        self.unet = new_unet().to(device)
        self.weights = [*self.unet.parameters(), *self.text.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, plan.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.average = MovingAverage(self.weights, plan.samples // plan.batch)
        self.gradients = Gradients(self._loss, self.weights, device)
        self.unsaid = tokens(self.tokenizer, [""])[0].to(device)
        self.step, self.samples, self.spent = 0, 0, 0.0
        self.sets: dict[str, _Shown] = {}
        if state:
            self._restore(state)

    def run(self, checkpoints: Path) -> Path:
        """Trains to the end of the plan, or to its pause; returns the folder of the pipeline as it then is."""
        saved = self.samples // self.plan.checkpoint_samples
        running, logged = None, self.spent
        end = min(self.plan.samples, self.plan.pause or self.plan.samples)
        while self.samples < end:
            share = self._share()
            name = self._format(share)
            self._load(name)  # encoding the pictures is not training time
            started = time.monotonic()
            loss = self._learn(*self._batch(self.sets[name]), share)
            running = loss.clone() if running is None else running.lerp_(loss, 0.02)
            if self.spent - logged > _LOG_SECONDS:
                logged = self.spent
                print(
                    f"{self.spent:.0f} s, step {self.step}, samples {self.samples}, loss {running:.4f}",
                    flush=True,
                )
            self.spent += time.monotonic() - started
            if self.samples // self.plan.checkpoint_samples > saved:
                saved += 1
                self._save(checkpoints / f"{self.samples:07}")
                self._keep()
        self._keep()
        return self._save(checkpoints / ("final" if self._share() == 1 else f"{self.samples:07}"))

    def _share(self) -> float:
        return min(1.0, self.samples / self.plan.samples)

    def _format(self, share: float) -> str:
        if share < self.plan.small_share:
            return SMALL
        weights = np.array([MIX[name] for name in self.plan.formats])
        return str(self.rng.choice(self.plan.formats, p=weights / weights.sum()))

    def _load(self, name: str) -> None:
        if name in self.sets:
            return
        parts = None if name == SMALL else self.plan.parts
        found = read_latents(name, data=self.data, vae=self.vae, device=self.device, parts=parts)
        twins = [other for other in self.sets if SOURCES.get(other, other) == SOURCES.get(name, name)]
        said = [self.sets[twin].said for twin in twins if len(self.sets[twin].said) >= len(found.subjects)]
        words = said[0][: len(found.subjects)] if said else self._say(found.subjects)
        self.sets[name] = _Shown(found.values, words)

    def _say(self, subjects: list[Subject]) -> Tensor:
        """Every subject in several phrases, as tokens: said once, for a GPU is faster than a tokenizer."""
        rng = np.random.default_rng(1)
        said: list[Tensor] = []
        for start in range(0, len(subjects), PART):
            some = subjects[start : start + PART]
            told = [phrase(subject, rng) for subject in some for _ in range(_PHRASES)]
            said.append(tokens(self.tokenizer, told).short().reshape(len(some), _PHRASES, -1))
        return torch.cat(said).to(self.device)

    def _batch(self, shown: _Shown) -> tuple[Tensor, Tensor]:
        count = self.plan.batch
        index = torch.randint(len(shown.latents), (count,), device=self.device)
        way = torch.randint(_PHRASES, (count,), device=self.device)
        silent = torch.rand(count, 1, device=self.device) < _DROPPED_CAPTIONS
        words = torch.where(silent, self.unsaid, shown.said[index, way].long())
        return shown.latents[index].float().contiguous(memory_format=torch.channels_last), words

    def _learn(self, latents: Tensor, words: Tensor, share: float) -> Tensor:
        rate = self.plan.rate * min(1, (self.step + 1) / 150)
        rate *= 1 if share < 0.55 else max(0.02, (1 - share) / 0.45)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        count = len(latents)
        even = (torch.arange(count, device=self.device) + torch.rand(count, device=self.device)) / count
        sigma = _SHIFT * even / (1 + (_SHIFT - 1) * even)
        loss = self.gradients(latents, torch.randn_like(latents), sigma, words)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        self.samples += count
        self.average.update(self.step)
        return loss

    def _loss(self, latents: Tensor, noise: Tensor, sigma: Tensor, words: Tensor) -> Tensor:
        mix = sigma[:, None, None, None]
        noisy = ((1 - mix) * latents + mix * noise).contiguous(memory_format=torch.channels_last)
        with quick_attention(self.device), mixed_precision(self.device):
            states = self.text(words)[0]
            flow = self.unet(noisy, sigma * 1000, states, return_dict=False)[0]
        return functional.mse_loss(flow.float(), noise - latents)

    def _save(self, folder: Path) -> Path:
        form = "square" if self._share() > self.plan.small_share else SMALL
        cast("_Configured", self.unet).register_to_config(sample_size=SIDES[form][0] // CELL)
        with self.average.applied():
            save_pipeline(folder, vae=self.vae, unet=self.unet, text=self.text, tokenizer=self.tokenizer)
        print(f"{folder}: {self.step} steps, {self.samples} samples, {self.spent:.0f} s", flush=True)
        return folder

    def _keep(self) -> None:
        state = {
            "words": tokenizer_text(self.tokenizer),
            "unet": self.unet.state_dict(),
            "text": self.text.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "clock": {"step": self.step, "samples": self.samples, "spent": self.spent},
        }
        torch.save(state, self.state_file)

    def _restore(self, state: dict[str, Any]) -> None:
        self.unet.load_state_dict(state["unet"])
        self.text.load_state_dict(state["text"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values = state["average"]
        clock = state["clock"]
        self.step, self.samples, self.spent = int(clock["step"]), int(clock["samples"]), float(clock["spent"])
        self.rng = np.random.default_rng(self.step)
        torch.manual_seed(self.step)


def _learn_words() -> CLIPTokenizer:
    rng = np.random.default_rng(0)
    return build_tokenizer(phrase(choose(rng, index), rng) for index in range(20_000))


def train_denoiser(*, data: Path, vae: Path, checkpoints: Path, plan: Plan, device: torch.device) -> Path:
    """Trains on the plan's samples, with a whole pipeline in `checkpoints` every few of them.

    A run that was cut short goes on from its last checkpoint, a finished one when given more samples.
    Returns the folder of the pipeline as it is at the end.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    state_file = checkpoints / "state.pt"
    return Trainer(data=data, vae=vae, state_file=state_file, plan=plan, device=device).run(checkpoints)
