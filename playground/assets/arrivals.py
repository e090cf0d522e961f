"""Files that are coming in: on the disk that they will stay on, hashed as they are written, gone unless kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO, Protocol, Self

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

PREFIX = "arrival-"
COPY_BYTES = 2**20


class Readable(Protocol):
    """Whatever gives its bytes in pieces."""

    def read(self, size: int, /) -> bytes: ...


class Arrival:
    """One file that is being received. Closing removes it, unless `move` gave it to storage."""

    def __init__(self) -> None:
        handle, path = tempfile.mkstemp(prefix=PREFIX, dir=_folder())
        self.file: IO[bytes] = os.fdopen(handle, "w+b")
        self.path = Path(path)
        self.size = 0
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Take some more. Raises OSError, as when the disk is full."""
        self.file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def copy(self, source: Readable) -> None:
        """Take all of another file."""
        while chunk := source.read(COPY_BYTES):
            self.write(chunk)

    def move(self, name: str) -> str:
        """Give the file to storage under `name`, or one like it, which is returned; on this disk nothing is copied."""
        self.file.flush()
        self.file.seek(0)
        return default_storage.save(name, _OnDisk(self.file, self.path))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        self.path.unlink(missing_ok=True)


class _OnDisk(File):  # type: ignore[type-arg] # generic for the checker alone
    """What storage takes by its path where it can."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, path.name)
        self._path = path

    def temporary_file_path(self) -> str:
        return str(self._path)

    def close(self) -> None:
        """Storage closes what it has moved; ours is closed by the arrival."""


def remove_stale(before: float) -> int:
    """Remove what a crash left of arrivals that began before a moment (Unix seconds). Returns how many."""
    removed = 0
    for path in Path(_folder()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def _folder() -> str:
    """Where storage is a folder, beside it, so that a rename is enough."""
    if settings.MEDIA_BUCKET:
        return tempfile.gettempdir()
    folder = Path(settings.MEDIA_ROOT) / "incoming"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
