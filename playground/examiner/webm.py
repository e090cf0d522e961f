"""WebM: the elements of the segment, cluster by cluster; what is compressed in them is not decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from playground.examiner.sniffing import Refusal

EBML, SEGMENT, INFO, TRACKS, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
DOC_TYPE, SCALE, DURATION, ENTRY, KIND, VIDEO = 0x4282, 0x2AD7B1, 0x4489, 0xAE, 0x83, 0xE0
WIDTH, HEIGHT, TIMESTAMP = 0xB0, 0xBA, 0xE7
# What may follow a cluster whose length is not known, as live recorders write it.
LEVEL_1 = {INFO, TRACKS, CLUSTER, 0x1C53BB6B, 0x1254C367, 0x114D9B74, 0x1941A469, 0x1043A770, SEGMENT, EBML}
MAX_ELEMENTS = 500_000
MAX_SMALL = 2**20
PICTURE, SOUND = 1, 2
CUT = "the WebM file is cut off; upload it again"
BROKEN = "the WebM file is damaged"


@dataclass
class _Seen:
    """What the walk has found. Times in the file's own unit."""

    kinds: int = 0
    width: int = 0
    height: int = 0
    scale_ns: int = 1_000_000
    duration: float = 0.0
    clusters: int = 0
    last: int = 0
    elements: int = 0


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """Size, duration and whether there is a picture. Raises Refusal."""
    seen = _Seen()
    for name, start, end in _elements(file, 0, size, seen):
        if name == EBML:
            _check_kind(file, start, end, seen)
        elif name == SEGMENT:
            _segment(file, start, end, seen)
    if not seen.kinds:
        raise Refusal("broken", "the WebM file has no list of tracks")
    if not seen.clusters:
        raise Refusal("truncated", CUT)
    ms = (seen.duration or float(seen.last)) * seen.scale_ns / 1e6
    duration_ms = int(ms) if 0 <= ms < 2**31 else 0
    if not seen.kinds & PICTURE:
        return {"media_type": "audio/webm", "duration_ms": duration_ms}
    if not (0 < seen.width <= 16384 and 0 < seen.height <= 16384):
        raise Refusal("broken", "the WebM file has no picture of a size that can be shown")
    return {"width": seen.width, "height": seen.height, "duration_ms": duration_ms}


def _check_kind(file: IO[bytes], start: int, end: int, seen: _Seen) -> None:
    kinds = [_read(file, a, b) for name, a, b in _elements(file, start, end, seen) if name == DOC_TYPE]
    if [kind.rstrip(b"\0") for kind in kinds] != [b"webm"]:
        raise Refusal("unsupported", "the file is a Matroska film; export it as WebM or MP4")


def _segment(file: IO[bytes], start: int, end: int, seen: _Seen) -> None:
    for name, a, b in _elements(file, start, end, seen):
        if name == INFO:
            for inner, c, d in _elements(file, a, b, seen):
                if inner == SCALE:
                    seen.scale_ns = _number(file, c, d)
                elif inner == DURATION:
                    seen.duration = _real(file, c, d)
        elif name == TRACKS:
            for inner, c, d in _elements(file, a, b, seen):
                if inner == ENTRY:
                    _track(file, c, d, seen)
        elif name == TIMESTAMP:
            seen.last = max(seen.last, _number(file, a, b))
        elif name == CLUSTER:
            seen.clusters += 1
            first = next(iter(_elements(file, a, b, seen)), None) if b > a else None
            if first is not None and first[0] == TIMESTAMP:
                seen.last = max(seen.last, _number(file, first[1], first[2]))


def _track(file: IO[bytes], start: int, end: int, seen: _Seen) -> None:
    for name, a, b in _elements(file, start, end, seen):
        if name == KIND:
            seen.kinds |= {1: PICTURE, 2: SOUND}.get(_number(file, a, b), 0)
        elif name == VIDEO:
            for inner, c, d in _elements(file, a, b, seen):
                if inner == WIDTH:
                    seen.width = max(seen.width, _number(file, c, d))
                elif inner == HEIGHT:
                    seen.height = max(seen.height, _number(file, c, d))


def _elements(file: IO[bytes], at: int, end: int, seen: _Seen) -> Iterator[tuple[int, int, int]]:
    """The elements between two places: id, start and end of what is in them.

    A segment without a length goes to the end; of a cluster without one the blocks are given too, as if beside it.
    """
    while at < end:
        seen.elements += 1
        if seen.elements > MAX_ELEMENTS:
            raise Refusal("too_complex", "the WebM file has too many parts")
        name, after = _vint(file, at, end, keep_marker=True)
        length, start = _vint(file, after, end, keep_marker=False)
        if length == 2 ** (7 * (start - after)) - 1:
            if name == SEGMENT:
                length = end - start
            elif name == CLUSTER:
                length = 0
            else:
                raise Refusal("broken", BROKEN)
        if start + length > end:
            raise Refusal("truncated", CUT)
        yield name, start, start + length
        at = start + length


def _vint(file: IO[bytes], at: int, end: int, *, keep_marker: bool) -> tuple[int, int]:
    """A number of variable length and where it ends."""
    file.seek(at)
    data = file.read(8)
    if not data or at >= end:
        raise Refusal("truncated", CUT)
    width = 9 - data[0].bit_length()
    if width > (4 if keep_marker else 8):
        raise Refusal("broken", BROKEN)
    if at + width > end or len(data) < width:
        raise Refusal("truncated", CUT)
    value = int.from_bytes(data[:width], "big")
    return value if keep_marker else value & ~(1 << 7 * width), at + width


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    if end - start > MAX_SMALL:
        raise Refusal("broken", BROKEN)
    file.seek(start)
    return file.read(end - start)


def _number(file: IO[bytes], start: int, end: int) -> int:
    data = _read(file, start, end)
    if len(data) > 8:
        raise Refusal("broken", BROKEN)
    return int.from_bytes(data, "big")


def _real(file: IO[bytes], start: int, end: int) -> float:
    data = _read(file, start, end)
    if len(data) not in {4, 8}:
        raise Refusal("broken", BROKEN)
    value = float(struct.unpack(">f" if len(data) == 4 else ">d", data)[0])
    return value if 0 <= value < 1e15 else 0.0
