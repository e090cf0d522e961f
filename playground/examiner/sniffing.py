"""The kinds of files that are taken, and what the first bytes say. Names and headers say nothing."""

from __future__ import annotations

import re

# Media type → ending of the file's name.
TAKEN = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "audio/webm": "weba",
    "model/gltf-binary": "glb",
    "application/x-safetensors": "safetensors",
}
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
    "application/vnd.safetensors": "application/x-safetensors",
    "application/safetensors": "application/x-safetensors",
}
# What programs send when they were told nothing.
_NO_CLAIM = {"", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded"}

_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_STRANGE = {
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive, or a pickle of PyTorch",
    b"\x80\x02": "a pickle, which is a program",
    b"\x80\x03": "a pickle, which is a program",
    b"\x80\x04": "a pickle, which is a program",
    b"\x80\x05": "a pickle, which is a program",
    b"\x1f\x8b": "a compressed archive",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"MZ": "a program",
    b"\x7fELF": "a program",
    b"#!": "a script",
}
_MARKUP = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype|!--|[a-z])", re.IGNORECASE)


class Refusal(ValueError):
    """The file cannot be kept. `str()` says why and what to do; `reason` is one of empty, truncated, unsupported,
    mismatch, broken, too_many_pixels, too_many_frames, too_complex, too_large, checksum."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def taken() -> str:
    """The kinds that are taken, in words."""
    return "PNG, JPEG, WebP, GIF, WAV, MP3, MP4, WebM, GLB or safetensors"


def is_taken(media_type: str) -> bool:
    return media_type in TAKEN


def extension_of(media_type: str) -> str:
    return TAKEN.get(media_type, "bin")


def plain(declared: str) -> str:
    """A declared type by its usual name, without parameters; empty if it claims nothing."""
    kind = declared.partition(";")[0].strip().lower()
    return "" if kind in _NO_CLAIM else _ALIASES.get(kind, kind)


def agree(declared: str, found: str) -> bool:
    """Whether a file found to be `found` may have been declared as `declared`."""
    claim = plain(declared)
    # Programs name the container, and few look whether there is a picture in it.
    return (
        not claim
        or claim == found
        or {claim, found} in ({"audio/mp4", "video/mp4"}, {"audio/webm", "video/webm"})
    )


def sniff(head: bytes) -> str:
    """The media type that the first bytes announce. Raises Refusal for what is not taken."""
    for start, kind in _PICTURES.items():
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] in {b"WEBP", b"WAVE"}:
        return "image/webp" if head[8:12] == b"WEBP" else "audio/wav"
    if head.startswith(b"glTF"):
        return "model/gltf-binary"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm"
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if head[4:9] == b"\0\0\0\0{":  # the length of a header of JSON, in eight bytes, and its beginning
        return "application/x-safetensors"
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return "audio/mpeg"
    raise Refusal("unsupported", f"{_described(head)}; what is taken is {taken()}")


def _described(head: bytes) -> str:
    for start, name in _STRANGE.items():
        if head.startswith(start):
            return f"the file is {name}"
    if _MARKUP.match(head):
        if b"<svg" in head[:1000].lower():
            return "the file is an SVG, which is a document that can hold programs; export it as PNG"
        return "the file is an HTML or XML document"
    return "the file is of no kind that is known here"
