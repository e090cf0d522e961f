"""The program `ffmpeg`, as the wheel imageio-ffmpeg ships it: films and sounds to files, files to frames and samples.

It is a program of its own beside the engine, never a library in it: what it reads may be hostile, and its licence (GPL,
for H.264) is its own. It reads one file that was opened for it and writes to one pipe; it gets no network, no other
protocol than that file, and limits of memory, processor and time. `IMAGEIO_FFMPEG_EXE` names another one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from workers.engine.contract import EngineError

SECONDS = 300.0
MEMORY_BYTES = 4 * 2**30
DEMUXERS = {
    "video/mp4": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
}
_QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error", "-y")


@cache
def program() -> str:
    """Where it is. Raises EngineError where there is none for this machine."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        raise EngineError("This machine has no ffmpeg; films and sounds need it.") from None


def decode(data: bytes, media_type: str, arguments: Sequence[str], *, most_bytes: int) -> bytes:
    """What ffmpeg writes to its output with `arguments` for the file `data`, up to `most_bytes`.

    Raises EngineError (invalid_input) for what it cannot read, or not within its limits.
    """
    demuxer = DEMUXERS.get(media_type)
    if demuxer is None:
        raise EngineError(f"A file of the type {media_type} cannot be read here.", code="invalid_input")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        command = [
            program(), *_QUIET, "-protocol_whitelist", "fd", "-threads", "1", "-f", demuxer,
            "-fd", str(file.fileno()), "-i", "fd:", *arguments, "pipe:1",
        ]  # fmt: skip
        return _read(command, pass_fd=file.fileno(), most_bytes=most_bytes)


def _read(command: Sequence[str], *, pass_fd: int, most_bytes: int) -> bytes:
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            pass_fds=(pass_fd,),
            env={},
        )
        _limit(process.pid, most_bytes)
        try:
            code = process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        out.seek(0)
        made = out.read(most_bytes + 1)
    if code != 0 or not made or len(made) > most_bytes:
        raise EngineError(
            "A file of the input cannot be decoded, or is too long or too large.", code="invalid_input"
        )
    return made


def _limit(pid: int, most_bytes: int) -> None:
    """Before it has read much; a process that is over already needs none."""
    with contextlib.suppress(ProcessLookupError, AttributeError):
        for what, most in (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, int(SECONDS)),
            (resource.RLIMIT_FSIZE, most_bytes + 2**20),
        ):
            resource.prlimit(pid, what, (most, most))


def encode(arguments: Sequence[str], *, feed: bytes, beside: bytes = b"", suffix: str) -> bytes:
    """The file that ffmpeg makes of the raw frames `feed` on its input and of a second file, where there is one.

    In `arguments`, BESIDE stands for the second file's path. Raises EngineError.
    """
    with tempfile.TemporaryDirectory(prefix="vitrine-film-") as folder:
        second, made = Path(folder) / "beside", Path(folder) / f"made{suffix}"
        if beside:
            second.write_bytes(beside)
        command = [
            program(),
            *_QUIET,
            *(str(second) if one == "BESIDE" else one for one in arguments),
            str(made),
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.defpath},
        )
        try:
            _, said = process.communicate(feed, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise EngineError("Writing the film took too long.", retryable=True) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode != 0 or not made.is_file():
            reason = said.decode(errors="replace").strip().splitlines()
            raise EngineError(f"The film could not be written ({(reason or ['no reason given'])[-1][:120]}).")
        return made.read_bytes()
