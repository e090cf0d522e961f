"""Pictures, decoded whole: every frame, after their size was found to be bearable."""

from __future__ import annotations

import codecs
import contextlib
import io
import struct
from typing import IO, Any

from PIL import (
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from playground.examiner.sniffing import Refusal

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
MAX_PIXELS = 64_000_000
MAX_FRAMES = 600
MAX_FRAME_PIXELS = 400_000_000  # of all frames together
MOST_OPAQUE = 255
THUMBNAIL_EDGE = 320  # px of the longer side; twice the width of a history thumb at high density
_ORIENTATION, _TURNED = 0x0112, {5, 6, 7, 8}
# Imported is registered; the MPO of some phones is a JPEG, and what a camera wrote beside the pixels is a TIFF.
_PLUGINS = (GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    EOFError,
    struct.error,
)


def prepare() -> None:
    """Whatever Pillow would load at its first picture of a kind: later on nothing can be opened any more."""
    Image.MAX_IMAGE_PIXELS = None  # the limit is ours
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.preinit()
    for name in ("ascii", "latin-1", "utf-8", "utf-16"):
        codecs.lookup(name)
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        out = io.BytesIO()
        Image.new("RGB", (400, 2)).save(out, kind, exif=exif)
        look(out, f"image/{kind.lower()}")


def look(file: IO[bytes], media_type: str) -> dict[str, Any]:
    """Size, frames and thumbnail of a picture. Raises Refusal."""
    form = FORMATS[media_type]
    try:
        with Image.open(file, formats=[form]) as picture:
            _bear(*picture.size)
            picture.verify()  # the checksums of a PNG
        file.seek(0)
        with Image.open(file, formats=[form]) as picture:
            _bear(*picture.size)
            picture.load()
            turned = _orientation(picture) in _TURNED
            width, height = picture.size
            small = _thumbnail(picture) if max(width, height) > THUMBNAIL_EDGE else b""
            frames, duration_ms = _frames(picture)
    except _FAULTS as error:
        if isinstance(error, Refusal):
            raise
        if "truncated" in str(error).lower():
            raise Refusal("truncated", f"the {form} picture is cut off; upload it again") from None
        raise Refusal(
            "broken", f"the file begins like a {form} picture and is none that can be decoded"
        ) from None
    if turned:
        width, height = height, width
    found: dict[str, Any] = {"width": width, "height": height, "thumbnail": small}
    return found if frames == 1 else found | {"frames": frames, "duration_ms": duration_ms}


def holes(file: IO[bytes], media_type: str) -> bytes:
    """A grey PNG of a picture that `look` bore: white where it is transparent, black where it is not. Raises Refusal
    for one that is nowhere transparent."""
    with Image.open(file, formats=[FORMATS[media_type]]) as picture:
        alpha = picture.convert("RGBA").getchannel("A")
    if alpha.getextrema()[0] == MOST_OPAQUE:
        raise Refusal("mismatch", "no part of it is transparent, and what is transparent is made anew")
    out = io.BytesIO()
    alpha.point(lambda level: MOST_OPAQUE - level).save(out, "PNG", compress_level=6)
    return out.getvalue()


def _bear(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise Refusal(
            "too_many_pixels",
            f"the picture has {width:,} × {height:,} pixels, and at most {limit} megapixels are taken; make it smaller",
        )


def _frames(picture: Image.Image) -> tuple[int, int]:
    """How many frames there are, each decoded, and how long they last in milliseconds."""
    if picture.format in {"JPEG", "MPO"} or not getattr(picture, "is_animated", False):
        return 1, 0
    frames, pixels, duration = 0, 0, 0.0
    while True:
        try:
            picture.seek(frames)
        except EOFError:
            return frames, min(int(duration), 2**31 - 1)
        pixels += picture.width * picture.height
        if frames >= MAX_FRAMES or pixels > MAX_FRAME_PIXELS:
            raise Refusal(
                "too_many_frames",
                f"the animation has more than {MAX_FRAMES} frames, or more than {MAX_FRAME_PIXELS // 1_000_000} "
                "megapixels in all; make it shorter or smaller",
            )
        picture.load()
        length = picture.info.get("duration", 0)
        duration += length if isinstance(length, int | float) and 0 <= length < 10**7 else 0
        frames += 1


def _orientation(picture: Image.Image) -> object:
    """How the camera was held; what it wrote badly is no fault of the picture."""
    try:
        return picture.getexif().get(_ORIENTATION)
    except _FAULTS:
        return None


def _thumbnail(picture: Image.Image) -> bytes:
    """A small upright copy without anything that the camera wrote beside the pixels."""
    factor = max(picture.size) // (2 * THUMBNAIL_EDGE)
    small = picture.reduce(factor) if factor > 1 and picture.mode in {"RGB", "L", "RGBA"} else picture
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    small = small.convert("RGBA" if has_alpha else "RGB")
    with contextlib.suppress(*_FAULTS):
        small = ImageOps.exif_transpose(small)
    small.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80, method=4, exif=b"", xmp=b"", icc_profile=b"")
    return out.getvalue()
