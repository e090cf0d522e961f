"""The words that clients of all protocols use for the same things. A dialect's table begins with these.

One canonical name for each thing is the first that the endpoints of this house use; the others are looked for because
publishers name their fields as they like.
"""

from __future__ import annotations

from collections.abc import Mapping

from playground.facades.sizes import Megapixels, Ratio, Seconds, Size
from playground.facades.words import Adapters, AdapterWeight, Alias, File, Only, Rule

PROMPT = ("prompt", "text", "input")
NEGATIVE = ("negative_prompt",)
COUNT = ("num_images", "num_outputs", "n", "num_videos")
STEPS = ("num_inference_steps", "steps", "num_steps", "inference_steps")
GUIDANCE = ("guidance_scale", "guidance", "cfg_scale", "cfg")
STRENGTH = ("strength", "prompt_strength", "image_strength", "denoise")
FORMAT = ("output_format", "format", "response_format")
QUALITY = ("output_quality", "quality", "output_compression")
FPS = ("fps", "frame_rate")
VOICE = ("voice", "voice_id", "speaker")
SPEED = ("speed",)
IMAGE = (
    *("image", "image_url", "input_image", "init_image", "start_image", "first_frame_image", "images"),
    *("image_urls", "input_images", "reference_images"),
)
MASK = ("mask", "mask_image", "mask_url")
LAST_IMAGE = ("last_image", "end_image", "end_image_url", "last_frame_image", "tail_image_url")
VIDEO = ("video", "video_url", "input_video", "start_video")
AUDIO = ("audio", "audio_url", "input_audio", "reference_audio")

_SAFETY = "outputs are neither checked nor changed here"


def _each(names: tuple[str, ...], rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


SHARED: Mapping[str, Rule] = {
    **_each(PROMPT, Alias(PROMPT, matters=True)),
    **_each(NEGATIVE, Alias(NEGATIVE)),
    **_each(COUNT, Alias(COUNT, neutral=(1, "1"), matters=True)),
    **_each(STEPS, Alias(STEPS)),
    **_each(GUIDANCE, Alias(GUIDANCE)),
    **_each(STRENGTH, Alias(STRENGTH, matters=True)),
    **_each(FPS, Alias(FPS, matters=True)),
    **_each(VOICE, Alias(VOICE)),
    **_each(SPEED, Alias(SPEED, neutral=(1, 1.0, "1", "1.0"), matters=True)),
    "seed": Alias(("seed",), neutral=(-1,)),
    "output_format": Alias(FORMAT, matters=True, values={"jpg": "jpeg"}),
    "output_quality": Alias(QUALITY),
    **_each(IMAGE, File("image/*", IMAGE)),
    **_each(MASK, File("image/*", MASK, anywhere=False)),
    **_each(LAST_IMAGE, File("image/*", LAST_IMAGE, anywhere=False)),
    **_each(VIDEO, File("video/*", VIDEO)),
    **_each(AUDIO, File("audio/*", AUDIO)),
    **_each(("size", "image_size", "video_size"), Size()),
    **_each(("aspect_ratio",), Ratio()),
    "megapixels": Megapixels(),
    **_each(("seconds", "duration", "duration_seconds"), Seconds()),
    "width": Alias(("width",), matters=True),
    "height": Alias(("height",), matters=True),
    **_each(("num_frames", "frames"), Alias(("num_frames", "frames"), matters=True)),
    "loras": Adapters(),
    **_each(("lora_weights", "lora_url", "lora_path", "hf_lora"), Adapters()),
    **_each(("lora_scale", "lora_strength"), AdapterWeight()),
    "enable_safety_checker": Only(neutral=(False,), ignores=_SAFETY),
    "disable_safety_checker": Only(neutral=(True,), ignores=_SAFETY),
    "safety_tolerance": Only(ignores=_SAFETY),
}
