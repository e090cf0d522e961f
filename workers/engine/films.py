"""Frames to MP4 (H.264, with AAC sound where there is some) and films to frames.

The settings are part of every receipt. The file begins with its index, so that a page can play it while it arrives,
and holds nothing but film and sound: no date, no encoder's signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from PIL import Image

from workers.engine import ffmpeg, pictures, sounds
from workers.engine.contract import EngineError, MediaOutput

if TYPE_CHECKING:
    from numpy import float32, uint8
    from numpy.typing import NDArray

CRF = 18
PRESET = "medium"
MAX_SIDE = 2048  # px of a film that is taken in
MAX_FRAMES = 600
MAX_FILM_PIXELS = 160_000_000  # of all frames together as they are kept; Pillow holds four bytes of each
_BARE = (
    "-map_metadata",
    "-1",
    "-metadata:s:v",
    "encoder=H.264",
    "-metadata:s:a",
    "encoder=AAC",
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
    "-flags:a",
    "+bitexact",
)
# The user data of H.264 in which x264 signs.
_UNSIGNED = ("-bsf:v", "filter_units=remove_types=6")


def encode(
    frames: NDArray[uint8],
    *,
    fps: float,
    seed: int,
    sound: tuple[NDArray[float32], int] | None = None,
    beat: ffmpeg.Beat | None = None,
) -> MediaOutput:
    """One film from frames x height x width x 3 bytes, with `sound` as channels x samples and its rate.

    It lasts as long as its frames: a shorter sound ends in silence, a longer one is cut. What `beat` raises ends it.
    """
    import numpy as np

    count, height, width = frames.shape[:3]
    even = (width - width % 2, height - height % 2)  # H.264 halves its colours
    if min(even) < 2:
        raise EngineError("A film must be at least 2 × 2 pixels.", code="invalid_input")
    arguments = [
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "pipe:0"),
        *(
            ("-i", "BESIDE", "-c:a", "aac", "-b:a", "192k", "-af", "apad", "-t", f"{count / fps:.6f}")
            if sound
            else ()
        ),
        *("-vf", f"crop={even[0]}:{even[1]}:0:0,scale=out_color_matrix=bt709:out_range=tv"),
        *("-c:v", "libx264", "-preset", PRESET, "-crf", str(CRF), "-threads", "2", "-pix_fmt", "yuv420p"),
        *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"),
        *(*_UNSIGNED, *_BARE, "-movflags", "+faststart"),
    ]
    beside = sounds.write(sound[0], sound[1]) if sound else b""
    feed = np.ascontiguousarray(frames).data.cast("B")
    data = ffmpeg.encode(arguments, feed=feed, beside=beside, suffix=".mp4", beat=beat)
    encoder: Mapping[str, object] = {
        "format": "MP4",
        "codec": "h264",
        "crf": CRF,
        "preset": PRESET,
        "fps": fps,
        "library": "ffmpeg",
    }
    return MediaOutput(
        data=data,
        media_type="video/mp4",
        width=even[0],
        height=even[1],
        meta={"seed": seed, "encoder": encoder},
        duration_s=count / fps,
        poster=pictures.encode_poster(frames[count // 2]),
    )


def decode(
    data: bytes,
    media_type: str,
    *,
    most: int,
    shape: Callable[[Image.Image], Image.Image] = lambda frame: frame,
    beat: ffmpeg.Beat | None = None,
) -> list[Image.Image]:
    """The first `most` frames of a film, each of at most MAX_SIDE pixels and as `shape` makes it.

    One frame after the other is read and shaped, so that what is held is what is kept. Raises EngineError, as for a
    film whose frames are too many pixels to be kept; what `beat` raises ends it.
    """
    most = min(most, MAX_FRAMES)
    side = f"min({MAX_SIDE}\\,iw):min({MAX_SIDE}\\,ih):force_original_aspect_ratio=decrease"
    arguments = (
        "-map",
        "0:v:0",
        "-frames:v",
        str(most),
        "-vf",
        f"scale={side}",
        "-pix_fmt",
        "rgb24",  # also of films with ten bits a colour
        "-c:v",
        "ppm",
        "-f",
        "image2pipe",
    )
    frames: list[Image.Image] = []
    pixels = 0
    with ffmpeg.decoding(data, media_type, arguments, beat=beat) as output:
        while (frame := _frame(output)) is not None:
            frames.append(shape(frame))
            pixels += frames[-1].width * frames[-1].height
            if pixels > MAX_FILM_PIXELS:
                sentence = (
                    "The film of the input is too long or too large; a shorter or smaller one is taken."
                )
                raise EngineError(sentence, code="invalid_input")
    if not frames:
        raise _undecodable()
    return frames


def _frame(output: ffmpeg.Output) -> Image.Image | None:
    head = output.line()
    if not head:
        return None
    size, depth = output.line().split(), output.line()
    if head != b"P6\n" or depth != b"255\n" or len(size) != 2 or not all(side.isdigit() for side in size):
        raise _undecodable()
    width, height = (int(side) for side in size)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise _undecodable()
    pixels = output.read(width * height * 3)
    if len(pixels) < width * height * 3:
        raise _undecodable()
    return Image.frombytes("RGB", (width, height), pixels)


def _undecodable() -> EngineError:
    return EngineError("The film of the input cannot be decoded.", code="invalid_input")
