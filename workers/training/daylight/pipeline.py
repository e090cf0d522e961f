"""The shipped folder: a standard diffusers pipeline in half precision, with configurations free of local traces."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from workers.training.daylight.autoencoder import load_codec
from workers.training.daylight.captions import word_list

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn
    from transformers import CLIPTextModel, CLIPTokenizer

SHIFT = 3.0  # how strongly the steps of sampling lean to the noisy end
LIMIT_BYTES = 24_000_000
_LOCAL_KEYS = ("_name_or_path", "block_out_channels")


class Pictures(Protocol):
    """What the pipeline returns for `output_type="np"`: floats from 0 to 1."""

    images: NDArray[np.float32]


class Pipeline(Protocol):
    """The part of StableDiffusionPipeline's call that training and evaluation use."""

    def __call__(
        self,
        prompt: list[str],
        *,
        num_inference_steps: int,
        guidance_scale: float,
        generator: list[torch.Generator],
        output_type: str,
        height: int | None = None,
        width: int | None = None,
    ) -> Pictures: ...


class _Saved(Protocol):
    def save_pretrained(self, folder: str, *, safe_serialization: bool) -> None: ...


def _make(factory: object) -> Callable[..., Any]:
    """diffusers leaves its constructors untyped."""
    return cast("Callable[..., Any]", factory)


def save_pipeline(
    folder: Path, *, vae: Path, unet: nn.Module, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> None:
    """Writes the whole pipeline and its word list, readable by every user."""
    codec = load_codec(vae).module
    whole = _make(StableDiffusionPipeline)(
        vae=codec.half(),
        text_encoder=copy.deepcopy(text).cpu().half(),
        tokenizer=tokenizer,
        unet=copy.deepcopy(unet).cpu().half(),
        scheduler=_make(DPMSolverMultistepScheduler)(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    if folder.exists():
        shutil.rmtree(folder)
    cast("_Saved", whole).save_pretrained(str(folder), safe_serialization=True)
    (folder / "words.json").write_text(json.dumps(word_list(), indent=1) + "\n")
    _tidy(folder)


def _tidy(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        record = json.loads(path.read_text())
        dropped = [key for key in _LOCAL_KEYS if key in record]
        if path.parent.name == "unet":
            dropped = [key for key in dropped if key != "block_out_channels"]
        for key in dropped:
            del record[key]
        if dropped:
            path.write_text(json.dumps(record, indent=1) + "\n")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def load_pipeline(folder: Path, device: torch.device | None = None) -> Pipeline:
    """The pipeline in full precision, as a processor without half-precision arithmetic wants it."""
    load = _make(StableDiffusionPipeline.from_pretrained)
    pipeline = load(str(folder), dtype=torch.float32, local_files_only=True).to(device or "cpu")
    pipeline.set_progress_bar_config(disable=True)
    return cast("Pipeline", pipeline)


def ship(checkpoint: Path, folder: Path, *, vae: Path) -> int:
    """Puts a checkpoint, with the decoder of `vae`, into the shipped folder; returns its bytes.

    The folder's model card stays. Raises ValueError when the weights are larger than LIMIT_BYTES.
    """
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
    codec = load_codec(vae)
    if codec.scale != load_codec(checkpoint / "vae").scale:
        raise ValueError(
            f"{vae} scales latents differently from {checkpoint}: train the denoiser on it first"
        )
    codec.module.half()
    codec.write(folder / "vae", scale=codec.scale)
    _tidy(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise ValueError(f"{folder} has {size} bytes, the limit is {LIMIT_BYTES}")
    return size
