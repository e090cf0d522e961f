"""The files of adapters on an engine's disk, by their sha256: a file comes from storage once, and not for each run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from playground.predictions import adapters
from playground.predictions.adapters import AdapterJson
from workers.engine import Adapter, EngineError


class AdapterFiles:
    """A folder of at most `room_bytes`, which the engines of one machine share; what lay unused longest makes room."""

    def __init__(self, folder: Path, *, room_bytes: int) -> None:
        self._folder = folder
        self._room_bytes = room_bytes
        self._believed: set[str] = set()  # what this process has read from end to end

    def fetch(self, one: AdapterJson) -> Adapter:
        """The adapter with its file on this disk. Raises EngineError where it is gone, or cannot be had now."""
        if not one["sha256"]:
            raise _deleted(one)
        path = self._folder / f"{one['sha256']}.safetensors"
        if not self._is_whole(one, path):
            self._bring(one, path)
        self._believed.add(one["sha256"])
        return Adapter(sha256=one["sha256"], weight=one["weight"], path=str(path), name=one["name"])

    def _is_whole(self, one: AdapterJson, path: Path) -> bool:
        """Whether the file is there as it came. After a power cut it may be cut off, or hold nothing but zeros; and a
        disk can go bad. Then it comes anew, as the one in storage is none the worse for it."""
        try:
            if path.stat().st_size != one["size"]:
                return False
            if one["sha256"] not in self._believed:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != one["sha256"]:
                        return False
            os.utime(path)
        except OSError:
            return False
        return True

    def _bring(self, one: AdapterJson, path: Path) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(one["size"])
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
                try:
                    _copy(one, file)
                    file.flush()
                    file.seek(0)
                    if hashlib.file_digest(file, "sha256").hexdigest() != one["sha256"]:
                        raise OSError("the stored file has changed")
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            sentence = f"The adapter “{one['name']}” could not be fetched ({type(error).__name__})."
            raise EngineError(sentence, retryable=True) from error

    def _make_room(self, size: int) -> None:
        kept = []
        for path in self._folder.iterdir():  # what a killed engine left half done is as old as its last byte
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                kept.append((found.st_mtime_ns, found.st_size, path))
        taken = sum(one[1] for one in kept)
        for _, freed, path in sorted(kept):
            if taken + size <= self._room_bytes:
                return
            path.unlink(missing_ok=True)
            taken -= freed


def _copy(one: AdapterJson, to: IO[bytes]) -> None:
    try:
        adapters.copy(one, to)
    except FileNotFoundError:
        raise _deleted(one) from None


def _deleted(one: AdapterJson) -> EngineError:
    return EngineError(f"The adapter “{one['name']}” was deleted.", code="invalid_input")
