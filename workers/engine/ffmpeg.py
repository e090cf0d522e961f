"""The program `ffmpeg`, as the wheel imageio-ffmpeg ships it: films and sounds to files, files to frames and samples.

It is a program of its own beside the engine, never a library in it: what it reads may be hostile, and its licence (GPL,
for H.264) is its own. It reads one file that was opened for it and writes to one pipe, from which it is read piece by
piece; it gets no network, no other protocol than that file, and limits of memory, processor and time. While it works,
who waits for it is asked whether it still shall. `IMAGEIO_FFMPEG_EXE` names another one.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import cast

from workers.engine.contract import EngineError

SECONDS = 300.0
MEMORY_BYTES = 2 * 2**30
MAX_PIXELS = 8192 * 4320  # of a frame of a film, before anything makes it smaller
BEAT_SECONDS = 0.25
DEMUXERS = {
    "video/mp4": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "audio/webm": "matroska",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
}
# What films and sounds of today are made of; decoders of anything else are never reached.
DECODERS = (
    *("h264", "hevc", "vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores"),
    *("aac", "alac", "ac3", "eac3", "flac", "mp3", "mp3float", "opus", "libopus", "vorbis", "libvorbis"),
    *("pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
    *("pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav"),
)
_PIECE_BYTES = 2**20
_QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error", "-y")

Beat = Callable[[], object]
"""Called about four times a second while the program works. What it raises ends the program and comes through."""


@cache
def program() -> str:
    """Where it is. Raises EngineError where there is none for this machine."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        raise EngineError("This machine has no ffmpeg; films and sounds need it.") from None


class Output:
    """What the program writes, as it comes: never more of it is held than is asked for, and one piece."""

    def __init__(self, process: subprocess.Popen[bytes], beat: Beat | None) -> None:
        assert process.stdout is not None
        self._process = process
        self._source = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._source, select.POLLIN | select.POLLHUP)
        self._clock = _Clock(beat)
        self._held = bytearray()

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end. Raises EngineError (invalid_input) when it takes too long."""
        while len(self._held) < count and self._has_more():
            pass
        return self._take(count)

    def line(self, most: int = 100) -> bytes:
        """The bytes up to the end of the line and with it; at most `most`."""
        while b"\n" not in self._held[:most] and len(self._held) < most and self._has_more():
            pass
        end = self._held.find(b"\n", 0, most)
        return self._take(end + 1 if end >= 0 else most)

    def is_well(self) -> bool:
        """Whether all was read and the program ended as it should. Raises EngineError when it takes too long."""
        if self.read(1):
            return False
        while not self._clock.is_over():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(BEAT_SECONDS) == 0
        raise _refused()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def _has_more(self) -> bool:
        while True:
            if self._clock.is_over():
                raise _refused()
            if self._poll.poll(BEAT_SECONDS * 1000):
                piece = os.read(self._source, _PIECE_BYTES)
                self._held += piece
                return bool(piece)


class _Clock:
    """When to call the beat, and when it was long enough."""

    def __init__(self, beat: Beat | None) -> None:
        self._beat = beat
        self._ends_at = time.monotonic() + SECONDS
        self._beats_at = time.monotonic() + BEAT_SECONDS

    def is_over(self) -> bool:
        now = time.monotonic()
        if self._beat is not None and now >= self._beats_at:
            self._beats_at = now + BEAT_SECONDS
            self._beat()
        return now > self._ends_at


@contextlib.contextmanager
def decoding(
    data: bytes, media_type: str, arguments: Sequence[str], *, beat: Beat | None = None
) -> Iterator[Output]:
    """What ffmpeg writes to its output with `arguments` for the file `data`, to be read to its end.

    However the block is left, the program is over then. Raises EngineError (invalid_input) for what it cannot read, or
    not within its limits.
    """
    demuxer = DEMUXERS.get(media_type)
    if demuxer is None:
        raise EngineError(f"A file of the type {media_type} cannot be read here.", code="invalid_input")
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        command = [
            program(), *_QUIET, "-protocol_whitelist", "fd", "-threads", "1", "-f", demuxer,
            "-codec_whitelist", ",".join(DECODERS), "-max_pixels", str(MAX_PIXELS),
            "-fd", str(file.fileno()), "-i", "fd:", *arguments, "pipe:1",
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(file.fileno(),),
            env={},
            process_group=0,
        )
        try:
            _limit(process.pid)
            output = Output(process, beat)
            yield output
            if not output.is_well():
                raise _refused()
        finally:
            _end(process)


def decode(
    data: bytes, media_type: str, arguments: Sequence[str], *, most_bytes: int, beat: Beat | None = None
) -> bytes:
    """All that `decoding` gives, up to `most_bytes`. Raises EngineError (invalid_input)."""
    with decoding(data, media_type, arguments, beat=beat) as output:
        made = output.read(most_bytes)
    if not made:
        raise _refused()
    return made


def _refused() -> EngineError:
    return EngineError(
        "A file of the input cannot be decoded, or is too long or too large.", code="invalid_input"
    )


def _limit(pid: int) -> None:
    """Before it has read much; a process that is over already needs none."""
    with contextlib.suppress(ProcessLookupError, AttributeError):
        for what, most in (
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, int(SECONDS)),
            (resource.RLIMIT_FSIZE, 0),  # its output is a pipe
        ):
            resource.prlimit(pid, what, (most, most))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, with whatever it may have started, unless it is over."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.wait()


def encode(
    arguments: Sequence[str],
    *,
    feed: bytes | memoryview,
    beside: bytes = b"",
    suffix: str,
    beat: Beat | None = None,
) -> bytes:
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
            process_group=0,
        )
        try:
            said = _fed(process, feed, beat)
        finally:
            _end(process)
        if process.returncode != 0 or not made.is_file():
            reason = said.decode(errors="replace").strip().splitlines()
            raise EngineError(f"The film could not be written ({(reason or ['no reason given'])[-1][:120]}).")
        return made.read_bytes()


def _fed(process: subprocess.Popen[bytes], feed: bytes | memoryview, beat: Beat | None) -> bytes:
    """What it says once it has read all of `feed` and is over."""
    clock, rest = _Clock(beat), feed
    while not clock.is_over():
        try:
            _, said = process.communicate(
                cast("bytes", rest), timeout=BEAT_SECONDS
            )  # it takes any view of bytes
        except subprocess.TimeoutExpired:
            rest = b""  # it remembers how far it came
        else:
            return said
    raise EngineError("Writing the film took too long.", retryable=True)
