"""MP4: the boxes, down to where each track says that its samples lie; what is compressed in them is not decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from playground.examiner.sniffing import Refusal

MAX_BOXES = 100_000
MAX_TABLE_BYTES = 64 * 2**20
STILLS = {b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
CUT = "the MP4 file is cut off; upload it again"


@dataclass
class _Seen:
    """What the walk has found."""

    kinds: set[bytes] = field(default_factory=set)
    width: int = 0
    height: int = 0
    duration_ms: int = 0
    furthest: int = 0
    boxes: int = 0


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """Size, duration and whether there is a picture. Raises Refusal."""
    seen, names = _Seen(), set()
    for name, start, end in _boxes(file, 0, size, seen):
        names.add(name)
        if name == b"ftyp":
            _check_brand(_read(file, start, min(end, start + 4)))
        elif name == b"moov":
            _walk(file, start, end, seen, depth=0)
    if b"moov" not in names or not seen.kinds & {b"vide", b"soun"}:
        raise Refusal(
            "truncated" if b"mdat" in names else "broken", "the MP4 file has no list of tracks: it is cut off"
        )
    if not names & {b"mdat", b"moof"} or seen.furthest >= size:
        raise Refusal("truncated", CUT)
    if b"vide" not in seen.kinds:
        return {"media_type": "audio/mp4", "duration_ms": seen.duration_ms}
    if not (0 < seen.width <= 16384 and 0 < seen.height <= 16384):
        raise Refusal("broken", "the MP4 file has no picture of a size that can be shown")
    return {"width": seen.width, "height": seen.height, "duration_ms": seen.duration_ms}


def _check_brand(brand: bytes) -> None:
    if brand in STILLS:
        raise Refusal("unsupported", "the file is an AVIF or HEIC picture; export it as PNG or JPEG")
    if brand == b"qt  ":
        raise Refusal("unsupported", "the file is a QuickTime film; export it as MP4")


def _boxes(file: IO[bytes], at: int, end: int, seen: _Seen) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: name, start and end of what is in them."""
    while at < end:
        seen.boxes += 1
        if seen.boxes > MAX_BOXES:
            raise Refusal("too_complex", "the MP4 file has too many parts")
        length, name = struct.unpack(">I4s", _read(file, at, at + 8))
        start = at + 8
        if length == 1:
            (length,) = struct.unpack(">Q", _read(file, start, start + 8))
            start += 8
        elif length == 0:
            length = end - at
        if length < start - at:
            raise Refusal("broken", "the MP4 file is damaged")
        if at + length > end:
            raise Refusal("truncated", CUT)
        yield name, start, at + length
        at += length


def _walk(file: IO[bytes], start: int, end: int, seen: _Seen, *, depth: int) -> None:
    for name, inner, stop in _boxes(file, start, end, seen):
        if name in {b"trak", b"mdia", b"minf", b"stbl"} and depth < 5:
            _walk(file, inner, stop, seen, depth=depth + 1)
        elif name == b"mvhd":
            seen.duration_ms = _duration_ms(_read(file, inner, stop))
        elif name == b"tkhd":
            width, height = struct.unpack(">II", _read(file, stop - 8, stop))
            seen.width, seen.height = max(seen.width, width >> 16), max(seen.height, height >> 16)
        elif name == b"hdlr":
            seen.kinds.add(_read(file, inner + 8, inner + 12))
        elif name in {b"stco", b"co64"}:
            seen.furthest = max(
                seen.furthest, _furthest(_read(file, inner, stop), 8 if name == b"co64" else 4)
            )


def _duration_ms(head: bytes) -> int:
    form, at = (">IQ", 20) if head[:1] == b"\1" else (">II", 12)
    if len(head) < at + struct.calcsize(form):
        raise Refusal("broken", "the MP4 file is damaged")
    scale, length = struct.unpack_from(form, head, at)
    unknown = length in {2**32 - 1, 2**64 - 1}
    return min(length * 1000 // scale, 2**31 - 1) if scale and not unknown else 0


def _furthest(table: bytes, width: int) -> int:
    """The last of the places where a track's samples lie."""
    (count,) = struct.unpack(">I", table[4:8]) if len(table) >= 8 else (0,)
    if len(table) < 8 + count * width:
        raise Refusal("broken", "the MP4 file is damaged")
    places = struct.unpack_from(f">{count}{'Q' if width == 8 else 'I'}", table, 8)
    return max(places, default=0)


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    if not 0 <= end - start <= MAX_TABLE_BYTES:
        raise Refusal(
            "too_complex" if end > start else "broken", "the MP4 file is damaged, or its index is too large"
        )
    file.seek(start)
    data = file.read(end - start)
    if len(data) < end - start:
        raise Refusal("truncated", CUT)
    return data
