"""Trains the UNet and the text encoder together: rectified flow on latents, small pictures first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as functional
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from workers.training.daylight.autoencoder import CELL, channels_last
from workers.training.daylight.averaging import MovingAverage
from workers.training.daylight.captions import phrase
from workers.training.daylight.dataset import choose
from workers.training.daylight.latents import SIDES, SMALL, LatentSet, read_latents
from workers.training.daylight.pipeline import SHIFT, save_pipeline
from workers.training.daylight.precision import mixed_precision
from workers.training.daylight.text import WIDTH, build_tokenizer, new_text_encoder, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

_LEARNING_RATE = 8e-4
_DROPPED_CAPTIONS = 0.1
MIX = {"square": 0.76, "wide": 0.14, "tall": 0.10}  # formats after the small pictures, by weight


class _Configured(Protocol):
    """What diffusers mixes into its modules, which its types leave out."""

    def register_to_config(self, *, sample_size: int) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How one training is spent: pictures seen, the share of them that are small, how often to keep what was learnt.

    Counted in samples, not in minutes, so that a busy machine gives the same model later and not another one.
    """

    samples: int
    small_share: float = 0.75
    batch: int = 32
    checkpoint_samples: int = 20_000
    formats: tuple[str, ...] = tuple(MIX)
    parts: int | None = None  # no more than this many parts of each format after the small pictures


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


class Trainer:
    """One training run: its models, optimizer, moving average and clock. Survives being cut short."""

    def __init__(self, *, data: Path, vae: Path, state_file: Path, plan: Plan) -> None:
        torch.manual_seed(0)
        self.data, self.vae, self.state_file, self.plan = data, vae, state_file, plan
        self.rng = np.random.default_rng(0)
        self.tokenizer = _learn_words()
        self.text = new_text_encoder(self.tokenizer)
        self.unet = new_unet()
        self.weights = [*self.unet.parameters(), *self.text.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.weights, _LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.average = MovingAverage(self.weights)
        self.step, self.samples, self.spent = 0, 0, 0.0
        self.sets: dict[str, LatentSet] = {}
        if state_file.exists():
            self._restore()

    def run(self, checkpoints: Path) -> Path:
        """Trains to the end of the plan; returns the folder of the finished pipeline."""
        saved = self.samples // self.plan.checkpoint_samples
        running, logged = None, self.spent
        while self.samples < self.plan.samples:
            share = self._share()
            name = self._format(share)
            self._load(name)  # encoding the pictures is not training time
            started = time.monotonic()
            latents, captions = self._batch(self.sets[name])
            loss = self._learn(latents, captions, share)
            self.spent += time.monotonic() - started
            running = loss if running is None else 0.98 * running + 0.02 * loss
            if self.spent - logged > 60:
                logged = self.spent
                print(
                    f"{self.spent:.0f} s, step {self.step}, samples {self.samples}, loss {running:.4f}",
                    flush=True,
                )
            if self.samples // self.plan.checkpoint_samples > saved:
                saved += 1
                self._save(checkpoints / f"{self.samples:07}")
                self._keep()
        self._keep()
        return self._save(checkpoints / "final")

    def _share(self) -> float:
        return min(1.0, self.samples / self.plan.samples)

    def _format(self, share: float) -> str:
        if share < self.plan.small_share:
            return SMALL
        weights = np.array([MIX[name] for name in self.plan.formats])
        return str(self.rng.choice(self.plan.formats, p=weights / weights.sum()))

    def _load(self, name: str) -> None:
        if name not in self.sets:
            parts = None if name == SMALL else self.plan.parts
            self.sets[name] = read_latents(name, data=self.data, vae=self.vae, parts=parts)

    def _batch(self, chosen: LatentSet) -> tuple[Tensor, list[str]]:
        index = self.rng.integers(0, len(chosen.values), self.plan.batch)
        latents = chosen.values[torch.from_numpy(index)].float().contiguous(memory_format=torch.channels_last)
        captions = [
            "" if self.rng.random() < _DROPPED_CAPTIONS else phrase(chosen.subjects[i], self.rng)
            for i in index
        ]
        return latents, captions

    def _learn(self, latents: Tensor, captions: list[str], share: float) -> float:
        rate = _LEARNING_RATE * min(1, (self.step + 1) / 150)
        rate *= 1 if share < 0.55 else max(0.02, (1 - share) / 0.45)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        count = len(latents)
        even = (torch.arange(count) + torch.rand(count)) / count
        sigma = SHIFT * even / (1 + (SHIFT - 1) * even)
        noise = torch.randn_like(latents)
        mix = sigma[:, None, None, None]
        noisy = ((1 - mix) * latents + mix * noise).contiguous(memory_format=torch.channels_last)
        with sdpa_kernel(SDPBackend.MATH):  # several times faster backward than the fused kernel on a CPU
            with mixed_precision():
                states = self.text(tokens(self.tokenizer, captions))[0]
                flow = self.unet(noisy, sigma * 1000, states, return_dict=False)[0]
            loss = functional.mse_loss(flow.float(), noise - latents)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        self.samples += count
        self.average.update(self.step)
        return loss.item()

    def _save(self, folder: Path) -> Path:
        form = "square" if self._share() > self.plan.small_share else SMALL
        cast("_Configured", self.unet).register_to_config(sample_size=SIDES[form][0] // CELL)
        with self.average.applied():
            save_pipeline(folder, vae=self.vae, unet=self.unet, text=self.text, tokenizer=self.tokenizer)
        print(f"{folder}: {self.step} steps, {self.samples} samples, {self.spent:.0f} s", flush=True)
        return folder

    def _keep(self) -> None:
        state = {
            "unet": self.unet.state_dict(),
            "text": self.text.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "clock": {"step": self.step, "samples": self.samples, "spent": self.spent},
        }
        torch.save(state, self.state_file)

    def _restore(self) -> None:
        state = torch.load(self.state_file, weights_only=True)
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


def train_denoiser(*, data: Path, vae: Path, checkpoints: Path, plan: Plan) -> Path:
    """Trains on the plan's samples, with a whole pipeline in `checkpoints` every few of them.

    A run that was cut short goes on from its last checkpoint, a finished one when given more samples.
    Returns the finished pipeline's folder.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    state_file = checkpoints / "state.pt"
    return Trainer(data=data, vae=vae, state_file=state_file, plan=plan).run(checkpoints)
