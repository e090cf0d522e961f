"""How a parameter of a pipeline's call is called and shown in a form, whatever the class that has it.

What is not in this table is not offered. Imports neither torch nor diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.engine.families.diffusers.traits import FRAMES, LENGTHS, RATES

Field = dict[str, Any]

SEED_MAXIMUM = 2**32 - 1

# In the order of the form. What a field is bounded by is fit for its name in every class that has it.
FIELDS: Mapping[str, Field] = {
    "prompt": {
        "type": "string",
        "title": "Prompt",
        "description": "What to make, in plain words.",
        "minLength": 1,
        "maxLength": 2000,
        "x-control": "textarea",
        "x-measure": "character",
    },
    "lyrics": {
        "type": "string",
        "title": "Lyrics",
        "description": "What is sung, with marks such as [verse] and [chorus]. Empty: an instrumental.",
        "maxLength": 4000,
        "x-control": "textarea",
    },
    "image": {"type": "string", "title": "Picture", "description": "The picture to begin with."},
    "mask_image": {
        "type": "string",
        "title": "Mask",
        "description": "White is made anew, black stays as it is.",
    },
    "last_image": {"type": "string", "title": "Last picture", "description": "The picture to end with."},
    "video": {"type": "string", "title": "Film", "description": "The film to begin with."},
    "src_audio": {"type": "string", "title": "Sound", "description": "The sound to begin with."},
    "reference_audio": {
        "type": "string",
        "title": "Reference",
        "description": "A sound whose voices and instruments the new one shall have.",
        "x-advanced": True,
    },
    "negative_prompt": {
        "type": "string",
        "title": "Negative prompt",
        "description": "What to keep out.",
        "maxLength": 2000,
        "x-control": "textarea",
        "x-advanced": True,
    },
    "strength": {
        "type": "number",
        "title": "Strength",
        "description": "How far from the original: 0 keeps it, 1 forgets it.",
        "minimum": 0.05,
        "maximum": 1.0,
        "multipleOf": 0.05,
    },
    "num_images": {
        "type": "integer",
        "title": "Images",
        "description": "How many pictures to make; the next ones use the following seeds.",
        "default": 1,
        "enum": [1, 2, 3, 4],
        "minimum": 1,
        "maximum": 4,
        "x-measure": "image",
    },
    **{
        name: {
            "type": "number",
            "title": "Length",
            "description": "How long it lasts.",
            "minimum": 1,
            "multipleOf": 1,
            "x-measure": "second",
            "x-unit": "s",
        }
        for name in LENGTHS
    },
    **{
        name: {"type": "integer", "title": "Frames", "description": "How many frames.", "x-measure": "frame"}
        for name in FRAMES
    },
    "width": {"type": "integer", "title": "Width", "x-unit": "px", "x-advanced": True},
    "height": {"type": "integer", "title": "Height", "x-unit": "px", "x-advanced": True},
    "num_inference_steps": {
        "type": "integer",
        "title": "Steps",
        "description": "More steps, finer work and a longer wait.",
        "minimum": 1,
        "maximum": 100,
        "x-measure": "step",
    },
    "guidance_scale": {
        "type": "number",
        "title": "Guidance",
        "description": "Higher follows the prompt more literally.",
        "minimum": 0.0,
        "maximum": 20.0,
        "multipleOf": 0.1,
    },
    "true_cfg_scale": {
        "type": "number",
        "title": "True guidance",
        "description": "Above 1 the negative prompt counts, at twice the work.",
        "minimum": 1.0,
        "maximum": 10.0,
        "multipleOf": 0.1,
    },
    "distilled_guidance_scale": {
        "type": "number",
        "title": "Guidance",
        "description": "Higher follows the prompt more literally.",
        "minimum": 1.0,
        "maximum": 10.0,
        "multipleOf": 0.05,
    },
    "guidance_scale_2": {
        "type": "number",
        "title": "Guidance of the fine steps",
        "description": "Empty: the same as of the coarse ones.",
        "minimum": 0.0,
        "maximum": 20.0,
        "multipleOf": 0.1,
        "x-advanced": True,
    },
    "min_guidance_scale": {
        "type": "number",
        "title": "Guidance of the first frame",
        "minimum": 1.0,
        "maximum": 10.0,
        "multipleOf": 0.1,
        "x-advanced": True,
    },
    "max_guidance_scale": {
        "type": "number",
        "title": "Guidance of the last frame",
        "minimum": 1.0,
        "maximum": 10.0,
        "multipleOf": 0.1,
        "x-advanced": True,
    },
    "motion_bucket_id": {
        "type": "integer",
        "title": "Motion",
        "description": "Higher moves more.",
        "minimum": 1,
        "maximum": 255,
    },
    "noise_aug_strength": {
        "type": "number",
        "title": "Freedom",
        "description": "Higher keeps less of the picture and moves more.",
        "minimum": 0.0,
        "maximum": 1.0,
        "multipleOf": 0.01,
        "x-advanced": True,
    },
    "vocal_language": {
        "type": "string",
        "title": "Language",
        "description": "Of the lyrics, as a code of two letters.",
        "maxLength": 8,
        "x-advanced": True,
    },
    "bpm": {
        "type": "integer",
        "title": "Tempo",
        "description": "Beats a minute. Empty: as it comes.",
        "minimum": 30,
        "maximum": 300,
        "x-advanced": True,
    },
    **{
        name: {
            "type": "integer",
            "title": "Frames a second",
            "minimum": 1,
            "x-measure": "fps",
            "x-advanced": True,
        }
        for name in RATES
    },
    "seed": {
        "type": "integer",
        "title": "Seed",
        "description": "The same seed and input make the same again. Empty draws a new one.",
        "minimum": 0,
        "maximum": SEED_MAXIMUM,
        "x-control": "seed",
    },
    "output_format": {
        "type": "string",
        "title": "Format",
        "default": "png",
        "enum": ["png", "webp", "jpeg"],
        "x-advanced": True,
    },
}
