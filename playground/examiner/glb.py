"""GLB: the two chunks, and a description that names nothing outside of the file."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

from playground.examiner.sniffing import Refusal

MAX_JSON = 32 * 2**20
BROKEN = "the GLB file is damaged"
CUT = "the GLB file is cut off; upload it again"


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """That it is whole and stands for itself; how many meshes it has. Raises Refusal."""
    head = file.read(12)
    if len(head) < 12:
        raise Refusal("truncated", CUT)
    _, version, length = struct.unpack("<4sII", head)
    if version != 2:
        raise Refusal("unsupported", f"the GLB file has version {version}; export it as glTF 2.0")
    if length > size:
        raise Refusal("truncated", CUT)
    if length < size:
        raise Refusal("broken", "the GLB file has something behind its end")
    described, binary, at = None, 0, 12
    while at < size:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise Refusal("truncated", CUT)
        span, kind = struct.unpack("<I4s", head)
        if at + 8 + span > size:
            raise Refusal("truncated", CUT)
        if described is None:
            described = _described(file, span, kind)
        elif kind == b"BIN\0" and not binary:
            binary = span
        at += 8 + span
    if described is None:
        raise Refusal("broken", BROKEN)
    _check(described, binary)
    return {"meshes": len(_list(described, "meshes"))}


def _described(file: IO[bytes], span: int, kind: bytes) -> dict[str, Any]:
    if kind != b"JSON" or span > MAX_JSON:
        raise Refusal("broken", BROKEN)
    try:
        found = json.loads(file.read(span))
    except (ValueError, RecursionError):
        raise Refusal("broken", BROKEN) from None
    if not isinstance(found, dict) or not isinstance(found.get("asset"), dict):
        raise Refusal("broken", BROKEN)
    return found


def _check(described: dict[str, Any], binary: int) -> None:
    for one in (*_list(described, "buffers"), *_list(described, "images")):
        if "uri" in one and not str(one["uri"]).startswith("data:"):
            raise Refusal(
                "unsupported", "the GLB file needs other files beside it; export it with everything inside"
            )
    for view in _list(described, "bufferViews"):
        begin, span = view.get("byteOffset", 0), view.get("byteLength", 0)
        if not (isinstance(begin, int) and isinstance(span, int) and begin >= 0 and span >= 0):
            raise Refusal("broken", BROKEN)
        buffers = _list(described, "buffers")
        is_inside = view.get("buffer") == 0 and buffers and "uri" not in buffers[0]
        if is_inside and begin + span > binary:
            raise Refusal("truncated", CUT)


def _list(described: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = described.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Refusal("broken", BROKEN)
    return found
