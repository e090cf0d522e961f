"""The training pictures as latents, encoded once and kept beside the data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from workers.training.daylight.autoencoder import Codec, load_codec, to_tensor
from workers.training.daylight.captions import Subject
from workers.training.daylight.dataset import FORMATS, Part, read_parts

SMALL = "small"
SIDES = {SMALL: (128, 128), "square": (192, 192), "wide": (192, 256), "tall": (256, 192)}  # height, width
SOURCES = {SMALL: "square"}  # the others are drawn under their own name and at their own size
_BATCH = 50


@dataclass(frozen=True)
class LatentSet:
    """Scaled latents of one format, and what each shows."""

    values: Tensor
    subjects: list[Subject]


def read_latents(
    name: str, *, data: Path, vae: Path, device: torch.device, parts: int | None = None
) -> LatentSet:
    """The latents of format `name`, a key of SIDES, on `device`; encodes what this autoencoder has not encoded yet.

    `parts` limits how many parts of the data are taken.
    """
    weights = (vae / "diffusion_pytorch_model.safetensors").read_bytes()
    cache = data.parent / "latents" / hashlib.sha256(weights).hexdigest()[:12]
    cache.mkdir(parents=True, exist_ok=True)
    codec = load_codec(vae, device)
    values: list[Tensor] = []
    subjects: list[Subject] = []
    source = FORMATS[SOURCES.get(name, name)]
    for index, part in enumerate(islice(read_parts(data, source), parts)):
        file = cache / f"{name}-{index:03}.pt"
        if not file.exists():
            torch.save(_encode(codec, part, SIDES[name], device), file)
        values.append(torch.load(file, map_location=device, weights_only=True))
        subjects.extend(part.subjects)
    return LatentSet(torch.cat(values), subjects)


def _encode(codec: Codec, part: Part, size: tuple[int, int], device: torch.device) -> Tensor:
    encoded: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(part.pictures), _BATCH):
            batch = to_tensor(part.pictures[start : start + _BATCH], device)
            if batch.shape[-2:] != size:
                batch = functional.interpolate(batch, size=size, mode="bilinear", antialias=True)
            batch = batch.contiguous(memory_format=torch.channels_last)
            encoded.append((codec.encode(batch) * codec.scale).half().contiguous())
    return torch.cat(encoded).cpu()
