"""What the code cannot read from the signature of a pipeline's call: one table, one row per class.

Everything else (which step hook there is, whether a negative prompt is taken, what guidance is called) is read from the
call itself. A class that has no row gets one by the names of its parameters, so that a new one runs without a change.
Imports neither torch nor diffusers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Makes = Literal["image", "video", "audio", "mesh"]
Takes = Literal["picture", "pictures", "mask", "film", "sound"]
Latents = Literal["", "bcfhw", "bfchw"]

# Parameters that take files, by the names that the library gives them everywhere.
FILES: Mapping[str, Takes] = {
    "image": "picture",
    "mask_image": "mask",
    "last_image": "picture",
    "video": "film",
    "src_audio": "sound",
    "reference_audio": "sound",
    "initial_audio_waveforms": "sound",
}
# How long a sound or a film is to be, in seconds.
LENGTHS = ("audio_end_in_s", "audio_length_in_s", "audio_duration", "audio_duration_s", "duration")
FRAMES = ("num_frames", "frames")
RATES = ("frame_rate", "fps")


@dataclass(frozen=True, slots=True)
class Traits:
    """One class.

    `takes` names the parameters for files, `required` those among them without which a call makes no sense, where the
    signature calls them optional. `batches`: several prompts in one call. `multiple`: what width and height must be
    multiples of; `frames`: (m, r) of a film's length m·k + r. `size` and `length` are what the model was made for:
    pixels of width and height, number of frames and of frames per second, or seconds. `follows`: without a width and a
    height the result has the shape of the first picture; `fills`: that picture is cropped to the result's shape.
    `given` are arguments of every call; `hidden` parameters are not offered. `result` and `output_type` where they
    differ from what the kind of medium usually has. `latents`: the layout of a film's latents where a frame can be
    shown. `turned`: the mesh stands on its y axis only after a quarter turn.
    """

    makes: Makes = "image"
    takes: Mapping[str, Takes] = field(default_factory=dict)
    required: Collection[str] = ()
    batches: bool = False
    multiple: int = 16
    frames: tuple[int, int] = (1, 0)
    size: tuple[int, int] = (1024, 1024)
    length: tuple[int, float] = (0, 0.0)
    follows: bool = False
    fills: bool = False
    given: Mapping[str, object] = field(default_factory=dict)
    hidden: Collection[str] = ()
    result: str = ""
    output_type: str = "pt"
    latents: Latents = ""
    turned: bool = False


_TEXT = Traits(batches=True)
_VARY = Traits(takes={"image": "picture"}, required=("image",), follows=True, fills=True)
_FILL = replace(
    _VARY, takes={"image": "picture", "mask_image": "mask"}, required=("image", "mask_image"), multiple=8
)
_EDIT = Traits(takes={"image": "picture"}, required=("image",), follows=True)
_EDIT_MANY = replace(_EDIT, takes={"image": "pictures"})
_CALM = {"use_resolution_binning": False}  # else the size that was asked for, and paid, is not the size made
_WAN = Traits(makes="video", frames=(4, 1), size=(832, 480), length=(81, 16.0), latents="bcfhw")
_LTX = Traits(makes="video", multiple=32, frames=(8, 1), size=(704, 480), length=(121, 25.0))
_COG = Traits(makes="video", frames=(4, 1), size=(720, 480), length=(49, 8.0), latents="bfchw")
_HUNYUAN = Traits(makes="video", frames=(4, 1), size=(848, 480), length=(129, 24.0), latents="bcfhw")
_ANIMATE = Traits(makes="video", multiple=8, size=(512, 512), length=(16, 8.0), latents="bcfhw")
_SOUND = Traits(makes="audio")
_MESH = Traits(makes="mesh", output_type="mesh", turned=True, hidden=("frame_size",))


def _picture(base: Traits) -> Traits:
    """The same film model, beginning with a picture."""
    return replace(base, takes={"image": "picture"}, required=("image",), follows=True, fills=True)


def _film(base: Traits) -> Traits:
    """The same film model, beginning with a film."""
    return replace(base, takes={"video": "film"}, required=("video",), follows=True, fills=True)


CLASSES: Mapping[str, Traits] = {
    "StableDiffusionPipeline": replace(_TEXT, multiple=8, size=(512, 512)),
    "StableDiffusionImg2ImgPipeline": replace(_VARY, multiple=8, size=(512, 512)),
    "StableDiffusionInpaintPipeline": replace(_FILL, size=(512, 512)),
    "StableDiffusionXLPipeline": replace(_TEXT, multiple=8),
    "StableDiffusionXLImg2ImgPipeline": replace(_VARY, multiple=8),
    "StableDiffusionXLInpaintPipeline": _FILL,
    "StableDiffusion3Pipeline": _TEXT,
    "StableDiffusion3Img2ImgPipeline": _VARY,
    "StableDiffusion3InpaintPipeline": replace(_FILL, multiple=16),
    "FluxPipeline": _TEXT,
    "FluxImg2ImgPipeline": _VARY,
    "FluxInpaintPipeline": replace(_FILL, multiple=16),
    "FluxFillPipeline": replace(_FILL, multiple=16),
    "FluxKontextPipeline": replace(_EDIT, given={"_auto_resize": False}),
    "Flux2Pipeline": replace(_EDIT_MANY, required=()),
    "Flux2KleinPipeline": replace(_EDIT_MANY, required=()),
    "QwenImagePipeline": replace(_TEXT, size=(1328, 1328)),
    "QwenImageImg2ImgPipeline": _VARY,
    "QwenImageInpaintPipeline": replace(_FILL, multiple=16),
    "QwenImageEditPipeline": replace(_EDIT, hidden=("guidance_scale",)),
    "QwenImageEditPlusPipeline": replace(_EDIT_MANY, hidden=("guidance_scale",)),
    "ZImagePipeline": replace(_TEXT, hidden=("cfg_normalization", "cfg_truncation")),
    "ZImageImg2ImgPipeline": _VARY,
    "SanaPipeline": replace(_TEXT, multiple=32, given=_CALM),
    "SanaSprintPipeline": replace(_TEXT, multiple=32, given=_CALM, hidden=("num_inference_steps",)),
    "PixArtSigmaPipeline": replace(_TEXT, multiple=8, given=_CALM),
    "PixArtAlphaPipeline": replace(_TEXT, multiple=8, given=_CALM),
    "AuraFlowPipeline": _TEXT,
    "ChromaPipeline": _TEXT,
    "HiDreamImagePipeline": _TEXT,
    "HunyuanImagePipeline": replace(_TEXT, multiple=32, size=(2048, 2048)),
    "Lumina2Pipeline": _TEXT,
    "CogView4Pipeline": replace(_TEXT, multiple=32),
    "WanPipeline": _WAN,
    "WanImageToVideoPipeline": _picture(_WAN),
    "WanVideoToVideoPipeline": _film(_WAN),
    "LTXPipeline": _LTX,
    "LTXImageToVideoPipeline": _picture(_LTX),
    "LTX2Pipeline": replace(_LTX, size=(768, 512), length=(121, 24.0)),
    "LTX2ImageToVideoPipeline": _picture(replace(_LTX, size=(768, 512), length=(121, 24.0))),
    "HunyuanVideoPipeline": _HUNYUAN,
    "HunyuanVideo15Pipeline": replace(_HUNYUAN, length=(121, 24.0)),
    "CogVideoXPipeline": _COG,
    "CogVideoXImageToVideoPipeline": _picture(_COG),
    "CogVideoXVideoToVideoPipeline": _film(_COG),
    "MochiPipeline": replace(_WAN, frames=(6, 1), size=(848, 480), length=(85, 30.0)),
    "SanaVideoPipeline": replace(_WAN, multiple=32, given=_CALM),
    "AnimateDiffPipeline": _ANIMATE,
    "AnimateDiffVideoToVideoPipeline": _film(_ANIMATE),
    "StableVideoDiffusionPipeline": replace(
        _picture(_ANIMATE), size=(1024, 576), length=(25, 7.0), multiple=64, latents=""
    ),
    "StableAudioPipeline": replace(_SOUND, length=(0, 30.0), hidden=("audio_start_in_s",)),
    "StableAudio3Pipeline": replace(_SOUND, length=(0, 30.0)),
    "AudioLDM2Pipeline": replace(_SOUND, length=(0, 10.0), hidden=("transcription",)),
    "AceStepPipeline": replace(
        _SOUND, length=(0, 60.0), hidden=("task_type", "src_audio"), takes={"reference_audio": "sound"}
    ),
    "LongCatAudioDiTPipeline": replace(_SOUND, length=(0, 10.0)),
    "ShapEPipeline": _MESH,
    "ShapEImg2ImgPipeline": replace(_MESH, takes={"image": "picture"}, required=("image",)),
}


def of(name: str, parameters: Collection[str]) -> Traits:
    """The traits of the class called `name`, whose call has `parameters`."""
    found = CLASSES.get(name)
    if found is None:
        found = _guess(parameters)
    return replace(found, takes={one: kind for one, kind in found.takes.items() if one in parameters})


def _guess(parameters: Collection[str]) -> Traits:
    takes = {name: kind for name, kind in FILES.items() if name in parameters}
    if any(name in parameters for name in FRAMES):
        return Traits(
            makes="video", takes=takes, length=(49, 16.0), size=(832, 480), follows=True, fills=True
        )
    if any(name in parameters for name in LENGTHS):
        return Traits(makes="audio", takes=takes, length=(0, 10.0))
    return Traits(takes=takes, batches=not takes, follows=bool(takes), fills="mask_image" in takes)
