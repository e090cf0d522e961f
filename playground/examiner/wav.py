"""WAV: the chunks of a RIFF file. PCM needs no decoding, so what is whole is right."""

from __future__ import annotations

import struct
from typing import IO, Any

from playground.examiner.sniffing import Refusal

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_CHUNKS = 1000
CUT = "the WAV file is cut off; upload it again"


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """Duration and channels. Raises Refusal."""
    at, rate, channels, bits, length = 12, 0, 0, 0, None
    for _ in range(MAX_CHUNKS):
        if at + 8 > size:
            break
        file.seek(at)
        name, span = struct.unpack("<4sI", file.read(8))
        if name == b"fmt ":
            fields = file.read(min(span, 40))
            if len(fields) < 16:
                raise Refusal("truncated", CUT)
            form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", fields[:16])
            if form not in {PCM, FLOAT, EXTENSIBLE}:
                raise Refusal("unsupported", "the WAV file is compressed; export it as PCM")
        elif name == b"data":
            if at + 8 + span > size:
                raise Refusal("truncated", CUT)
            length = span
            break
        at += 8 + span + span % 2
    frame = channels * bits // 8
    if length is None or not (
        1 <= channels <= 32 and bits in {8, 16, 24, 32, 64} and 1000 <= rate <= 768_000
    ):
        raise Refusal("broken", "the WAV file has no sound that can be played")
    if length < frame:
        raise Refusal("empty", "the WAV file holds no sound")
    return {"duration_ms": length // frame * 1000 // rate, "channels": channels}
