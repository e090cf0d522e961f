"""MP3: every frame's header from the first to the last; the sound in them is not decoded."""

from __future__ import annotations

from typing import IO, Any

from playground.examiner.sniffing import Refusal

MAX_GARBAGE = 64 * 1024  # between the tag and the first frame
LEAST_FRAMES = 3
_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_TAILS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """Duration. Raises Refusal."""
    data = memoryview(file.read())
    at = _after_tag(data)
    at = _first_frame(data, at)
    promised = _promised(data, at)
    frames, ms = 0, 0.0
    while at + 4 <= len(data):
        length, samples, rate = _frame(data, at)
        if not length:
            if frames < LEAST_FRAMES or not _is_tail(data, at):
                raise Refusal("broken", f"the MP3 file is damaged after {round(ms / 1000)} s")
            break
        if at + length > len(data):  # recorders stop amid a frame, so one is forgiven
            break
        frames, ms, at = frames + 1, ms + samples * 1000 / rate, at + length
    if frames < LEAST_FRAMES:
        raise Refusal("broken", "the file begins like an MP3 file and holds no sound")
    if promised and frames < promised * 0.98:
        raise Refusal("truncated", "the MP3 file is cut off; upload it again")
    return {"duration_ms": int(ms)}


def _after_tag(data: memoryview) -> int:
    if bytes(data[:3]) != b"ID3" or len(data) < 10:
        return 0
    length = 0
    for byte in data[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length + (10 if data[5] & 0x10 else 0)


def _first_frame(data: memoryview, at: int) -> int:
    for start in range(at, min(at + MAX_GARBAGE, len(data) - 3)):
        if data[start] == 0xFF:
            length = _frame(data, start)[0]
            if length and (start + length + 4 > len(data) or _frame(data, start + length)[0]):
                return start
    if at >= len(data):
        raise Refusal("truncated", "the MP3 file ends in its tag; upload it again")
    raise Refusal("broken", "the file begins like an MP3 file and holds no sound")


def _frame(data: memoryview, at: int) -> tuple[int, int, int]:
    """Length in bytes, samples and rate of the frame at a place; a length of 0 if there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return 0, 0, 1
    version, rate_index, bits_index = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3, data[at + 2] >> 4
    if version == 1 or rate_index == 3 or not 1 <= bits_index <= 14:
        return 0, 0, 1
    rate = _RATES[version][rate_index]
    samples = 1152 if version == 3 else 576
    kbits = (_V1 if version == 3 else _V2)[bits_index]
    return samples // 8 * kbits * 1000 // rate + (data[at + 2] >> 1 & 1), samples, rate


def _promised(data: memoryview, at: int) -> int:
    """The number of frames that the first one announces, 0 if it does not."""
    head = bytes(data[at : at + 200])
    for name in (b"Xing", b"Info"):
        place = head.find(name)
        if place >= 0 and head[place + 7] & 1 and len(head) >= place + 12:
            return int.from_bytes(head[place + 8 : place + 12], "big")
    return 0


def _is_tail(data: memoryview, at: int) -> bool:
    """Whether what follows the last frame is a tag, or nothing but padding."""
    rest = bytes(data[at : at + 16])
    return rest.startswith(_TAILS) or not bytes(data[at:]).strip(b"\0") or len(data) - at < 4096
