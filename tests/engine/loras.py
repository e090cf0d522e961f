"""LoRA files, made in a moment: by hand for the tiny pipelines, by a few real steps of training for the shipped one."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn import functional

from workers.engine import Adapter

EVERYWHERE = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "proj_in", "proj_out"]
ATTENTION = ["to_q", "to_v"]

Tensors = dict[str, torch.Tensor]


def tensors(unet: Any, *, seed: int = 0, targets: list[str] = ATTENTION, strength: float = 0.3) -> Tensors:
    """A LoRA of `unet`, of random numbers, by the names that pipelines give it. The UNet stays as it was."""
    torch.manual_seed(seed)
    model = copy.deepcopy(unet)
    model.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=targets, init_lora_weights=False))
    found = get_peft_model_state_dict(model)
    return {f"unet.{name}": (tensor.detach() * strength).contiguous() for name, tensor in found.items()}


def trained(unet: Any, *, steps: int = 4) -> Tensors:
    """A LoRA that has learnt, in a few steps, to see the same shade everywhere. The UNet stays as it was."""
    torch.manual_seed(0)
    model = copy.deepcopy(unet)
    model.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=EVERYWHERE))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=5e-3)
    words = torch.zeros(2, 8, model.config.cross_attention_dim)
    for _ in range(steps):
        noisy = torch.randn(2, 4, 16, 16)
        told = model(noisy, torch.tensor([600, 900]), encoder_hidden_states=words, return_dict=False)[0]
        functional.mse_loss(told, noisy - 0.5).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = get_peft_model_state_dict(model)
    return {f"unet.{name}": tensor.detach().contiguous() for name, tensor in found.items()}


def save(
    path: Path, made: Tensors, *, weight: float = 1.0, metadata: dict[str, object] | None = None
) -> Adapter:
    """`made` as a file, and the adapter that asks for it."""
    told = {"lora_adapter_metadata": json.dumps(metadata)} if metadata is not None else None
    save_file(made, path, metadata=told)
    return adapter(path, weight=weight)


def adapter(path: Path, *, weight: float = 1.0) -> Adapter:
    """The adapter that asks for the file at `path`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Adapter(sha256=digest, weight=weight, path=str(path), name=path.stem)
