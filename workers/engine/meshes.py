"""Triangles to GLB, binary glTF 2.0: positions, normals and colours of the corners, one plain material."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from workers.engine.contract import MediaOutput

if TYPE_CHECKING:
    from numpy import float32, int64, uint32
    from numpy.typing import NDArray

_ARRAY, _ELEMENTS = 34962, 34963  # glTF's names of what a view holds
_FLOAT, _UINT, _BYTE = 5126, 5125, 5121


def encode(
    corners: NDArray[float32], triangles: NDArray[int64], colours: NDArray[float32] | None, *, seed: int
) -> MediaOutput:
    """One mesh from n x 3 positions, m x 3 corner numbers and n x 3 linear colours between 0 and 1."""
    encoder = {"format": "GLB", "corners": len(corners), "triangles": len(triangles)}
    return MediaOutput(
        data=write(corners, triangles, colours),
        media_type="model/gltf-binary",
        meta={"seed": seed, "encoder": encoder},
    )


def write(corners: NDArray[float32], triangles: NDArray[int64], colours: NDArray[float32] | None) -> bytes:
    """The bytes of a GLB file: a JSON chunk and a binary one."""
    import numpy as np

    places = np.ascontiguousarray(corners, dtype="<f4")
    numbers: NDArray[uint32] = np.ascontiguousarray(triangles, dtype="<u4")
    parts: list[tuple[bytes, int, dict[str, Any]]] = [
        (
            places.tobytes(),
            _ARRAY,
            {
                "componentType": _FLOAT,
                "count": len(places),
                "type": "VEC3",
                "min": places.min(axis=0).tolist(),
                "max": places.max(axis=0).tolist(),
            },
        ),
        (
            _normals(places, numbers).tobytes(),
            _ARRAY,
            {"componentType": _FLOAT, "count": len(places), "type": "VEC3"},
        ),
    ]
    named = {"POSITION": 0, "NORMAL": 1}
    if colours is not None:
        named["COLOR_0"] = len(parts)
        opaque = np.full((len(places), 4), 255, dtype=np.uint8)
        opaque[:, :3] = (np.clip(colours, 0.0, 1.0) * 255).round()
        colour = {"componentType": _BYTE, "normalized": True, "count": len(places), "type": "VEC4"}
        parts.append((opaque.tobytes(), _ARRAY, colour))
    parts.append(
        (numbers.tobytes(), _ELEMENTS, {"componentType": _UINT, "count": numbers.size, "type": "SCALAR"})
    )
    primitive = {"attributes": named, "indices": len(parts) - 1, "material": 0, "mode": 4}
    return _file(parts, primitive)


def _file(parts: list[tuple[bytes, int, dict[str, Any]]], primitive: dict[str, Any]) -> bytes:
    binary = bytearray()
    views, accessors = [], []
    for number, (data, target, accessor) in enumerate(parts):
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(data), "target": target})
        accessors.append({"bufferView": number, **accessor})
        binary += data + b"\0" * (-len(data) % 4)
    material = {
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9},
        "doubleSided": True,
    }
    described = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            bytes(binary),
        )
    )


def _normals(corners: NDArray[float32], triangles: NDArray[uint32]) -> NDArray[float32]:
    """At each corner the mean of its triangles' normals, weighted by their size; straight up where they cancel out."""
    import numpy as np

    a, b, c = (corners[triangles[:, side]] for side in range(3))
    faces = np.cross(b - a, c - a)
    summed = np.zeros_like(corners, dtype=np.float64)
    for side in range(3):
        np.add.at(summed, triangles[:, side], faces)
    lengths = np.linalg.norm(summed, axis=1, keepdims=True)
    unit = np.where(lengths > 0, summed / np.maximum(lengths, 1e-30), (0.0, 1.0, 0.0))
    return np.ascontiguousarray(unit, dtype="<f4")
