"""What a pipeline made: taken apart, judged before it is kept, written as a file.

A picture is 3 x height x width, a film frames x 3 x height x width with or without a sound, a sound channels x samples,
a mesh corners, triangles and colours; all as tensors, pixels between 0 and 1 and samples between -1 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from workers.engine import films, meshes, pictures, sounds
from workers.engine.contract import EngineError, MediaOutput
from workers.engine.families.diffusers import inputs
from workers.engine.families.diffusers.traits import Traits
from workers.engine.ffmpeg import Beat
from workers.engine.latents import to_bytes

_UNUSABLE = "The {it} came out {what}, so it was not kept. Another seed or a higher precision may help."
_NAMES = {"image": "picture", "video": "film", "audio": "sound", "mesh": "mesh"}
_RESULTS = {"image": ("images",), "video": ("frames",), "audio": ("audios",), "mesh": ("images", "meshes")}
_DARKEST = 1 / 255
_QUIETEST = 1e-4


@dataclass(frozen=True, slots=True)
class Made:
    """One medium. `body` is its pixels or samples, `corners` and `triangles` are those of a mesh, whose colours are
    `body`; `sound` and its rate belong to a film, `rate` alone to a sound."""

    kind: str
    body: torch.Tensor | None
    corners: torch.Tensor | None = None
    triangles: torch.Tensor | None = None
    sound: torch.Tensor | None = None
    rate: int = 0


def take_apart(result: Any, *, traits: Traits, pipe: Any, count: int) -> list[Made]:
    """The `count` media of what a call returned. Raises EngineError when they are not what the class should make."""
    names = (traits.result,) if traits.result else _RESULTS[traits.makes]
    found = next((value for name in names if (value := getattr(result, name, None)) is not None), None)
    made = _APART[traits.makes](found, result, pipe)
    if len(made) != count:
        sentence = f"This pipeline makes no {_NAMES[traits.makes]}s; another family must run it."
        raise EngineError(sentence, code="bad_weights")
    return made


def _images(found: Any, result: Any, pipe: Any) -> list[Made]:
    if not isinstance(found, torch.Tensor) or found.ndim != 4:
        return []
    return [Made("image", one) for one in found]


def _videos(found: Any, result: Any, pipe: Any) -> list[Made]:
    if isinstance(found, list) and found and all(isinstance(one, torch.Tensor) for one in found):
        found = torch.stack(found)
    if not isinstance(found, torch.Tensor) or found.ndim != 5:
        return []
    heard = getattr(result, "audio", None)
    tracks = heard if isinstance(heard, torch.Tensor) and len(heard) == len(found) else [None] * len(found)
    rate = sampling_rate(pipe) if heard is not None else 0
    return [
        Made("video", film, sound=_channels(track) if track is not None and rate else None, rate=rate)
        for film, track in zip(found, tracks, strict=True)
    ]


def _audios(found: Any, result: Any, pipe: Any) -> list[Made]:
    rate = sampling_rate(pipe)
    if found is None or not rate:
        return []
    return [Made("audio", _channels(torch.as_tensor(one)), rate=rate) for one in found]


def _meshes(found: Any, result: Any, pipe: Any) -> list[Made]:
    made = []
    for one in found or ():
        channels: Mapping[str, torch.Tensor] = getattr(one, "vertex_channels", None) or {}
        colours = [channels[name] for name in "RGB" if name in channels]
        made.append(
            Made(
                "mesh",
                torch.stack(colours, dim=-1) if len(colours) == 3 else None,
                corners=one.verts,
                triangles=one.faces,
            )
        )
    return made


_APART = {"image": _images, "video": _videos, "audio": _audios, "mesh": _meshes}


def _channels(samples: torch.Tensor) -> torch.Tensor:
    return samples[None] if samples.ndim == 1 else samples


def sampling_rate(pipe: Any) -> int:
    """Samples a second of what `pipe` makes; 0 where it makes no sound."""
    for part, name in (
        ("vocoder", "output_sampling_rate"),
        ("vocoder", "sampling_rate"),
        ("vae", "sampling_rate"),
        ("vae", "sample_rate"),
    ):
        value = getattr(getattr(getattr(pipe, part, None), "config", None), name, None)
        if isinstance(value, int) and value > 0:
            return value
    return 0


def fault(made: Made) -> EngineError | None:
    """Why it cannot be kept, if so."""
    parts = [part for part in (made.body, made.corners, made.sound) if part is not None]
    if not all(bool(part.isfinite().all()) for part in parts):
        what = "as numbers that are no colours" if made.kind in {"image", "video"} else "as no numbers"
        return _unusable(made, what)
    if made.kind == "mesh":
        is_empty = made.triangles is None or made.triangles.numel() == 0
        return _unusable(made, "empty") if is_empty else None
    if made.body is None or made.body.numel() == 0:
        return _unusable(made, "empty")
    if made.kind == "audio":
        return _unusable(made, "silent") if float(made.body.abs().max()) < _QUIETEST else None
    return _unusable(made, "black") if float(made.body.max()) <= _DARKEST else None


def nothing_made(traits: Traits) -> EngineError:
    """What is said of a medium with nothing in it."""
    return EngineError(_UNUSABLE.format(it=_NAMES[traits.makes], what="empty"), code="unusable_output")


def _unusable(made: Made, what: str) -> EngineError:
    return EngineError(_UNUSABLE.format(it=_NAMES[made.kind], what=what), code="unusable_output")


def write(
    made: Made,
    asked: Mapping[str, object],
    *,
    seed: int,
    fps: float,
    traits: Traits,
    beat: Beat | None = None,
) -> MediaOutput:
    """Its file. What `beat` raises, which is called while a film is being written, comes through."""
    if made.kind == "image":
        assert made.body is not None
        return pictures.encode(
            to_bytes(made.body), using=pictures.settings(*inputs.file_settings(asked)), seed=seed
        )
    if made.kind == "video":
        assert made.body is not None
        frames = (made.body.float().clamp(0, 1) * 255).round().to(torch.uint8)
        pixels = frames.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        sound = (made.sound.detach().float().cpu().numpy(), made.rate) if made.sound is not None else None
        return films.encode(pixels, fps=fps, seed=seed, sound=sound, beat=beat)
    if made.kind == "audio":
        assert made.body is not None
        return sounds.encode(made.body.detach().float().cpu().numpy(), rate=made.rate, seed=seed)
    assert made.corners is not None
    assert made.triangles is not None
    corners = made.corners.detach().float().cpu()
    if traits.turned:
        corners = torch.stack([corners[:, 0], corners[:, 2], -corners[:, 1]], dim=1)
    colours = made.body.detach().float().cpu().numpy() if made.body is not None else None
    return meshes.encode(corners.numpy(), made.triangles.cpu().long().numpy(), colours, seed=seed)
