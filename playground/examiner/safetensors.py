"""Safetensors: a header of JSON and the bytes of tensors, each of which must lie where the header says.

Nothing of it is interpreted but names, types, shapes and offsets. A pickle is no safetensors and is never opened.
"""

from __future__ import annotations

import json
import math
from typing import IO, Any

from playground.examiner.sniffing import Refusal

MAX_HEADER = 8 * 2**20  # bytes of JSON
MAX_TENSORS = 65_536
MAX_SIDES = 8
MAX_NAME = 512
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
BROKEN = "the safetensors file is damaged"
CUT = "the safetensors file is cut off; upload it again"


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """That every byte belongs to exactly one tensor; how many there are. Raises Refusal."""
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if length > MAX_HEADER:
        raise Refusal(
            "too_complex", f"the header of the safetensors file has more than {MAX_HEADER >> 20} MiB"
        )
    if len(head) < 8 or length > size - 8:
        raise Refusal("truncated", CUT)
    described = _described(file.read(length))
    tensors = {name: one for name, one in described.items() if name != "__metadata__"}
    if not tensors:
        raise Refusal("empty", "the safetensors file holds no tensor")
    if len(tensors) > MAX_TENSORS:
        raise Refusal("too_complex", f"the safetensors file has more than {MAX_TENSORS:,} tensors")
    metadata = described.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Refusal("broken", BROKEN)
    at = 0
    for begin, end in sorted(_span(name, one) for name, one in tensors.items()):
        if begin != at:  # a gap, or two that overlap
            raise Refusal("broken", BROKEN)
        at = end
    if 8 + length + at > size:
        raise Refusal("truncated", CUT)
    if 8 + length + at < size:
        raise Refusal("broken", "the safetensors file has something behind its end")
    return {"tensors": len(tensors)}


def _described(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # readers differ in which of two they take
            raise ValueError
        return found

    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise Refusal("broken", BROKEN) from None
    if not isinstance(found, dict):
        raise Refusal("broken", BROKEN)
    return found


def _span(name: str, one: Any) -> tuple[int, int]:
    """Where a tensor lies, which must be as long as its shape and type make it."""
    if not isinstance(one, dict) or set(one) != {"dtype", "shape", "data_offsets"} or len(name) > MAX_NAME:
        raise Refusal("broken", BROKEN)
    kind, shape, offsets = one["dtype"], one["shape"], one["data_offsets"]
    if not isinstance(kind, str) or kind not in _BITS:
        raise Refusal("unsupported", f"the safetensors file holds numbers of the kind {str(kind)[:20]}")
    if not (_are_counts(shape) and len(shape) <= MAX_SIDES and _are_counts(offsets) and len(offsets) == 2):
        raise Refusal("broken", BROKEN)
    begin, end = offsets
    if end - begin != math.prod(shape) * _BITS[kind] // 8:
        raise Refusal("broken", BROKEN)
    return begin, end


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**48 for one in value)
