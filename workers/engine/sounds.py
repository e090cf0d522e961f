"""Samples to WAV, 16 bits a sample, and sound files to samples."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

from workers.engine import ffmpeg
from workers.engine.contract import EngineError, MediaOutput

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_LOUDEST = 32767
MAX_SECONDS = 600


def encode(samples: NDArray[float32], *, rate: int, seed: int) -> MediaOutput:
    """One sound from channels x samples between -1 and 1; what is louder is cut off."""
    channels, count = samples.shape
    encoder = {"format": "WAV", "bits": 16, "rate": rate, "channels": channels, "library": "wave"}
    return MediaOutput(
        data=write(samples, rate),
        media_type="audio/wav",
        meta={"seed": seed, "encoder": encoder},
        duration_s=count / rate,
    )


def write(samples: NDArray[float32], rate: int) -> bytes:
    """The bytes of a WAV file."""
    import numpy as np

    if samples.ndim != 2 or not 1 <= samples.shape[0] <= 8:
        raise EngineError("The sound has no channels that a file could hold.", code="unusable_output")
    levels = (np.clip(samples, -1.0, 1.0) * _LOUDEST).round().astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(levels.T.tobytes())
    return buffer.getvalue()


def decode(
    data: bytes,
    media_type: str,
    *,
    rate: int,
    channels: int,
    seconds: float = MAX_SECONDS,
    beat: ffmpeg.Beat | None = None,
) -> NDArray[float32]:
    """The first `seconds` of a sound file as channels x samples at `rate`. Raises EngineError; what `beat` raises ends
    it."""
    import numpy as np

    arguments = (
        "-map", "0:a:0", "-t", f"{seconds:g}", "-ac", str(channels), "-ar", str(rate), "-f", "f32le",
    )  # fmt: skip
    most = int((seconds + 1) * rate) * channels * 4
    raw = ffmpeg.decode(data, media_type, arguments, most_bytes=most, beat=beat)
    samples = np.frombuffer(raw, dtype="<f4").reshape(-1, channels).T
    return np.ascontiguousarray(samples, dtype=np.float32)
