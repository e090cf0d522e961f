"""Many media as one ZIP, made while it is sent: nothing of it is ever whole in memory or on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from django.core.files.storage import default_storage

from playground import examiner
from playground.models import Asset

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CHUNK_BYTES = 256 * 1024


class _Sink:
    """Where the archive is written to: it keeps what the next chunk is made of, and cannot be gone back in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data


def archive(folders: Sequence[tuple[str, Sequence[Asset], Mapping[str, Any]]]) -> Iterator[bytes]:
    """A ZIP with a folder for each (name, media, what the manifest says of it).

    `manifest.json` comes last: of every file its name, size and the sha256 of the bytes as packed. A file that
    is gone from storage is said to be missing there.
    """
    sink, listed = _Sink(), []
    with zipfile.ZipFile(cast("Any", sink), "w", compression=zipfile.ZIP_STORED) as packed:
        for folder, media, about in folders:
            files: list[dict[str, Any]] = []
            for number, asset in enumerate(media, 1):
                name = f"{folder}/{number}.{examiner.extension_of(asset.media_type)}"
                yield from _pack(packed, sink, name, asset, files)
            listed.append({**about, "files": files})
        document = {"made_at": datetime.now(UTC).isoformat(), "predictions": listed}
        packed.writestr(MANIFEST, json.dumps(document, indent=2, ensure_ascii=False))
    yield sink.take()


def _pack(
    packed: zipfile.ZipFile, sink: _Sink, name: str, asset: Asset, files: list[dict[str, Any]]
) -> Iterator[bytes]:
    about: dict[str, Any] = {"name": name, "id": asset.uid, "content_type": asset.media_type}
    try:
        file = default_storage.open(asset.storage_name)
    except OSError as error:
        log.warning("%s is not in storage and was left out of an archive: %s", asset, error)
        files.append({**about, "is_missing": True})
        return
    info = zipfile.ZipInfo(name, date_time=asset.created_at.timetuple()[:6])
    info.external_attr = 0o644 << 16
    digest, size = hashlib.sha256(), 0
    with file, packed.open(info, "w", force_zip64=True) as into:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
            into.write(data)
            yield sink.take()
    files.append({**about, "size": size, "sha256": digest.hexdigest()})
