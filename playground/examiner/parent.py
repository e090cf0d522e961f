"""The side that asks: starts the process, waits no longer than it must, believes no more than it can check."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from playground.examiner.sniffing import TAKEN, Refusal

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2  # at once, of this process: each may take a core and a gigabyte
SECONDS = 20.0
WAIT_SECONDS = 30.0
MAX_ANSWER = 2 * 2**20
_START = "import sys; sys.path.insert(0, sys.argv[1]); from playground.examiner.child import main; main(sys.argv[2])"
_NUMBERS = {
    "width": 2**20,
    "height": 2**20,
    "duration_ms": 2**31 - 1,
    "frames": 2**31 - 1,
    "channels": 100,
    "meshes": 2**31,
    "tensors": 2**31,
}

_room = threading.BoundedSemaphore(PROCESSES)


class Busy(Exception):
    """Too many files are being looked at; try again in a moment."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is; None is unknown. `thumbnail` is a small WebP, empty for what is small or no picture."""

    media_type: str
    width: int | None
    height: int | None
    duration_ms: int | None
    thumbnail: bytes
    meta: dict[str, int]


def examine(file: IO[bytes], *, seconds: float = SECONDS, wait_seconds: float = WAIT_SECONDS) -> Found:
    """What the file is, decoded in a process of its own. Blocks. Raises Refusal, and Busy when it gets no turn."""
    return _checked(_ask("look", file, seconds, wait_seconds))


def holes(data: bytes, *, seconds: float = SECONDS, wait_seconds: float = WAIT_SECONDS) -> bytes:
    """A grey PNG of the size of the picture `data`, white where that is transparent: some houses draw masks as holes.

    Raises as `examine`, and Refusal for a picture that is nowhere transparent.
    """
    with tempfile.TemporaryFile() as file:
        file.write(data)
        answer = _ask("mask", file, seconds, wait_seconds)
    mask = answer.partition(b"\n")[2]
    if not mask:
        _checked(answer)  # says why
    if len(answer) > MAX_ANSWER or not mask.startswith(b"\x89PNG\r\n\x1a\n"):
        raise Refusal("too_complex", "the mask is too large or too fine; make it smaller or simpler")
    return mask


def look(data: bytes) -> Found:
    """What a file is that our own engine has just written: its structure walked in this process. Raises Refusal."""
    from playground.examiner.child import look as look_at

    found = look_at(io.BytesIO(data), len(data))
    thumbnail = found.pop("thumbnail", b"")
    return _checked(json.dumps(found).encode() + b"\n" + thumbnail)


def _ask(what: str, file: IO[bytes], seconds: float, wait_seconds: float) -> bytes:
    file.flush()
    if os.fstat(file.fileno()).st_size == 0:
        raise Refusal("empty", "the file is empty")
    if not _room.acquire(timeout=wait_seconds):
        raise Busy("Too many files are being looked at. Try again in a moment.")
    try:
        return _answer(what, file, seconds)
    finally:
        _room.release()
        file.seek(0)


def _answer(what: str, file: IO[bytes], seconds: float) -> bytes:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _START, str(ROOT), what],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Refusal(
            "too_complex", "the file takes too long to decode; make it smaller or simpler"
        ) from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode != 0:  # killed by a limit, or by what it read
        raise Refusal("too_complex", "the file cannot be decoded with the time and memory that one gets")
    return answer


def _checked(answer: bytes) -> Found:
    head, _, thumbnail = answer[:MAX_ANSWER].partition(b"\n")
    try:
        said: dict[str, Any] = json.loads(head)
        if "reason" in said:
            raise Refusal(str(said["reason"])[:40], str(said["message"])[:300])
        numbers = {name: said[name] for name in _NUMBERS if said.get(name) is not None}
        if said["media_type"] not in TAKEN or not all(
            type(value) is int and 0 <= value <= _NUMBERS[name] for name, value in numbers.items()
        ):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal("broken", "the file cannot be decoded") from None
    if thumbnail and not (thumbnail.startswith(b"RIFF") and thumbnail[8:12] == b"WEBP"):
        thumbnail = b""
    return Found(
        media_type=said["media_type"],
        width=numbers.pop("width", None),
        height=numbers.pop("height", None),
        duration_ms=numbers.pop("duration_ms", None),
        thumbnail=thumbnail,
        meta=numbers,
    )
