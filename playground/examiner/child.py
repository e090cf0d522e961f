"""The process that looks: `python -I -c "…; main(what)" < file`, an answer of one line of JSON and a picture's bytes.

It limits itself before it reads the first byte: memory, processor, no new file, no new process. Everything that it
needs is imported by then.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import IO, Any

from playground.examiner import glb, mp3, mp4, pictures, safetensors, wav, webm
from playground.examiner.sniffing import Refusal, sniff

MEMORY_BYTES = 1024 * 2**20
CPU_SECONDS = 15
NOBODY = 65534
HEAD_BYTES = 1024

Look = Callable[[IO[bytes], int], dict[str, Any]]
LOOKS: dict[str, Look] = {
    "audio/wav": wav.look,
    "audio/mpeg": mp3.look,
    "video/mp4": mp4.look,
    "video/webm": webm.look,
    "model/gltf-binary": glb.look,
    "application/x-safetensors": safetensors.look,
}


def main(what: str) -> None:
    """Look at standard input and say what it is (`look`), or make a mask of what is transparent in it (`mask`)."""
    pictures.prepare()
    _limit()
    picture = b""
    try:
        file, size = io.BufferedReader(io.FileIO(0, closefd=False)), os.fstat(0).st_size
        found = look(file, size) if what == "look" else mask(file, size)
        picture = found.pop("thumbnail", b"")
    except Refusal as refusal:
        found = {"reason": refusal.reason, "message": str(refusal)}
    except MemoryError:
        found = {"reason": "too_complex", "message": "the file needs more memory to decode than it gets"}
    sys.stdout.buffer.write(json.dumps(found).encode() + b"\n" + picture)
    sys.stdout.buffer.flush()
    os._exit(0)


def look(file: IO[bytes], size: int) -> dict[str, Any]:
    """What `file` is, with its media type, sizes and thumbnail. Raises Refusal."""
    if size == 0:
        raise Refusal("empty", "the file is empty")
    file.seek(0)
    kind = sniff(file.read(HEAD_BYTES))
    file.seek(0)
    if kind.startswith("image/"):
        return {"media_type": kind, **pictures.look(file, kind)}
    return {"media_type": kind, **LOOKS[kind](file, size)}


def mask(file: IO[bytes], size: int) -> dict[str, Any]:
    """A grey picture, white where `file` is transparent, as its thumbnail. Raises Refusal."""
    found = look(file, size)
    kind = found["media_type"]
    if not kind.startswith("image/"):
        raise Refusal("mismatch", f"a mask is a picture, not {kind}")
    file.seek(0)
    return {"media_type": "image/png", "thumbnail": pictures.holes(file, kind)}


def _limit() -> None:
    if os.geteuid() == 0:  # whom some of the limits do not bind
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 3),  # no file is opened any more, and no socket
    ):
        resource.setrlimit(what, (most, most))
