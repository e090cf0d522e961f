"""Pixels to files: PNG, WebP and JPEG with fixed settings, nothing but the picture inside; files to pictures.

Hides Pillow and its options. The settings are part of every receipt, because they decide the bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image, ImageFile, ImageOps

from workers.engine.contract import EngineError, MediaOutput

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray

    Pixels = NDArray[uint8]

PREVIEW_SIDE = 256
POSTER_SIDE = 320
MAX_PIXELS = 64_000_000
_PREVIEW = {"format": "WEBP", "quality": 70, "method": 0}
_POSTER = {"format": "WEBP", "quality": 80, "method": 4}
_TAKEN = ("PNG", "JPEG", "WEBP", "GIF")
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    EOFError,
    RecursionError,
    struct.error,
    zlib.error,
)
_FORMATS = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}


def settings(output_format: str, quality: int) -> dict[str, object]:
    """Pillow's arguments for a finished picture in `output_format` (png, webp, jpeg or jpg). Raises EngineError."""
    match output_format.lower():
        case "png":
            return {"format": "PNG", "compress_level": 4}
        case "webp":
            return {"format": "WEBP", "quality": quality, "method": 4}
        case "jpeg" | "jpg":
            return {"format": "JPEG", "quality": quality, "subsampling": 0, "optimize": True}
    raise EngineError(f"Pictures come as png, webp or jpeg, not as {output_format}.", code="invalid_input")


def encode(pixels: Pixels, *, using: Mapping[str, object], seed: int) -> MediaOutput:
    """One finished picture from height x width x 3 bytes, with `using` from `settings`."""
    media_type = _FORMATS[str(using["format"]).lower()]
    data = _write(Image.fromarray(pixels), using)
    height, width = pixels.shape[:2]
    meta = {"seed": seed, "encoder": {**using, "library": "pillow"}}
    return MediaOutput(data=data, media_type=media_type, width=width, height=height, meta=meta)


def encode_preview(pixels: Pixels) -> bytes:
    """A WebP of at most 256 px on its longer side."""
    image = Image.fromarray(pixels)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.BILINEAR, reducing_gap=None)
    return _write(image, _PREVIEW)


def encode_poster(pixels: Pixels) -> bytes:
    """A WebP of at most 320 px on its longer side, for a film before it plays."""
    image = Image.fromarray(pixels)
    image.thumbnail((POSTER_SIDE, POSTER_SIDE), Image.Resampling.LANCZOS)
    return _write(image, _POSTER)


def decode(data: bytes, *, most_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture of an input, upright: RGB, or RGBA where it is see-through. Of an animation, its first frame.

    Raises EngineError (invalid_input) for what is no picture of these kinds, is cut off or has more than `most_pixels`,
    which is known before any of them is decoded.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # which any library of this process may have set
    try:
        with Image.open(io.BytesIO(data), formats=_TAKEN) as picture:
            if picture.width * picture.height > most_pixels:
                raise _too_large(most_pixels)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            has_alpha = "A" in upright.getbands() or "transparency" in upright.info
            return upright.convert("RGBA" if has_alpha else "RGB")
    except Image.DecompressionBombError as error:
        raise _too_large(most_pixels) from error
    except _FAULTS as error:
        if "truncated" in str(error).lower():
            sentence = "A picture of the input is cut off; upload it again."
        else:
            sentence = "A picture of the input cannot be decoded."
        raise EngineError(sentence, code="invalid_input") from error


def _too_large(most_pixels: int) -> EngineError:
    sentence = f"A picture of the input has more than {most_pixels // 1_000_000} megapixels."
    return EngineError(sentence, code="invalid_input")


def _write(image: Image.Image, using: Mapping[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **using)  # type: ignore[arg-type]
    return buffer.getvalue()
