"""Media made by hand, whole and otherwise."""

from __future__ import annotations

import functools
import io
import json
import struct
import zlib

from PIL import Image


@functools.cache
def picture(
    form: str = "PNG", size: tuple[int, int] = (640, 400), seed: int = 0, mode: str = "RGB", **named
) -> bytes:
    out = io.BytesIO()
    noise = Image.effect_noise(size, 40 + seed).convert(mode)
    noise.save(out, form, **named)
    return out.getvalue()


def turned() -> bytes:
    """A photograph taken upright, with the place where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    out = io.BytesIO()
    Image.effect_noise((640, 400), 50).convert("RGB").save(out, "JPEG", exif=exif)
    return out.getvalue()


def film(form: str, frames: int = 5, size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    made = [Image.new("RGB", size, (n * 7 % 255, n % 255, n * 3 % 255)) for n in range(frames)]
    made[0].save(out, form, save_all=True, append_images=made[1:], duration=40)
    return out.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few kilobytes that says it is gigantic."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A small picture with a compressed text of a gigabyte beside it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    whole = picture(size=(8, 8))
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b"\0" * 2**20) for _ in range(1024)) + packer.flush()
    text = chunk(b"zTXt", b"Comment\0\0" + packed)
    return whole[:33] + text + whole[33:]


def wav(seconds: float = 1.0, rate: int = 8000) -> bytes:
    data = b"\0\1" * int(seconds * rate)
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    inner = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def mp3(frames: int = 50, tag: bytes = b"") -> bytes:
    """Silent frames of 128 kbit/s at 44.1 kHz, 417 bytes each."""
    return tag + (b"\xff\xfb\x90\x00" + b"\0" * 413) * frames


def box(name: bytes, *inner: bytes) -> bytes:
    body = b"".join(inner)
    return struct.pack(">I4s", len(body) + 8, name) + body


def mp4(
    *, width: int = 320, height: int = 240, kind: bytes = b"vide", at: int = 40, brand: bytes = b"isom"
) -> bytes:
    mvhd = box(b"mvhd", b"\0" * 12, struct.pack(">II", 1000, 2500), b"\0" * 80)
    tkhd = box(b"tkhd", b"\0" * 76, struct.pack(">II", width << 16, height << 16))
    hdlr = box(b"hdlr", b"\0" * 8, kind, b"\0" * 12)
    stbl = box(b"stbl", box(b"stco", b"\0" * 4, struct.pack(">II", 1, at)))
    moov = box(b"moov", mvhd, box(b"trak", tkhd, box(b"mdia", hdlr, box(b"minf", stbl))))
    return box(b"ftyp", brand, b"\0\0\2\0", b"isommp41") + box(b"mdat", b"\0" * 64) + moov


def element(name: int, *inner: bytes, unknown: bool = False) -> bytes:
    body = b"".join(inner)
    span = b"\x01\xff\xff\xff\xff\xff\xff\xff" if unknown else struct.pack(">Q", len(body) | 1 << 56)
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + span + body


def webm(*, live: bool = False, kind: int = 1, doc: bytes = b"webm") -> bytes:
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    if not live:
        info = element(0x1549A966, element(0x4489, struct.pack(">d", 1500.0)))
    size = element(0xE0, element(0xB0, b"\x02\x80"), element(0xBA, b"\x01\xe0"))
    tracks = element(0x1654AE6B, element(0xAE, element(0x83, bytes([kind])), size if kind == 1 else b""))
    clusters = [
        element(
            0x1F43B675, element(0xE7, n.to_bytes(2, "big")), element(0xA3, b"\x81\0\0\0data"), unknown=live
        )
        for n in (0, 900)
    ]
    segment = element(0x18538067, info, tracks, *clusters, unknown=live)
    return element(0x1A45DFA3, element(0x4282, doc)) + segment


def glb(described: dict | None = None, binary: bytes = b"\0" * 16) -> bytes:
    described = described or {
        "asset": {"version": "2.0"},
        "meshes": [{}],
        "buffers": [{"byteLength": 16}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 16}],
    }
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def safetensors(
    described: dict | None = None, data: bytes = b"\0" * 24, *, text: bytes | None = None
) -> bytes:
    """Two tensors, of 8 and 16 bytes, unless `described` or the `text` of the header says otherwise."""
    described = described or {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [2, 4], "data_offsets": [8, 24]},
    }
    head = text if text is not None else json.dumps(described).encode()
    return struct.pack("<Q", len(head)) + head + data
