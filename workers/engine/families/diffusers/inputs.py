"""A job's input as the arguments of a pipeline's call: which names it may have, what a batch must share."""

from __future__ import annotations

from collections.abc import Mapping

from workers.engine.contract import EngineError

OWN_FIELDS = {"prompt", "negative_prompt", "seed", "num_images", "output_format", "output_quality"}
RESERVED = {
    "self", "generator", "output_type", "return_dict", "callback", "callback_steps", "callback_on_step_end",
    "callback_on_step_end_tensor_inputs", "num_images_per_prompt", "num_videos_per_prompt", "latents", "prompt_embeds",
    "negative_prompt_embeds", "kwargs", "joint_attention_kwargs", "cross_attention_kwargs", "attention_kwargs",
}  # fmt: skip


def shared(asked: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in asked.items() if name not in OWN_FIELDS}


def file_settings(asked: Mapping[str, object]) -> tuple[str, int]:
    quality = whole(asked.get("output_quality", 92), "output_quality", least=1)
    return str(asked.get("output_format", "png")), min(quality, 100)


def seed(asked: Mapping[str, object]) -> int:
    return whole(asked.get("seed"), "seed", least=0) % 2**63


def whole(value: object, name: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise EngineError(f"“{name}” must be a whole number of at least {least}.", code="invalid_input")
    return value
