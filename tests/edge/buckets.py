"""A storage as an S3-compatible bucket is one to us: its files have addresses of their own, and no paths here."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.core.files.storage import FileSystemStorage, Storage

ORIGIN = "https://bucket.example"


class Bucket(Storage):
    """Files of a folder, known by their names alone; `base` is where the bucket is said to be."""

    def __init__(self, location: str, base: str = ORIGIN) -> None:
        self._files = FileSystemStorage(location=location)
        self._base = base

    def _open(self, name: str, mode: str = "rb") -> Any:
        return self._files.open(name, mode)

    def _save(self, name: str, content: Any) -> str:
        return self._files.save(name, content)

    def delete(self, name: str) -> None:
        self._files.delete(name)

    def exists(self, name: str) -> bool:
        return self._files.exists(name)

    def size(self, name: str) -> int:
        return self._files.size(name)

    def url(self, name: str | None, parameters: dict[str, str] | None = None) -> str:
        return f"{self._base}/{name}?{urlencode({**(parameters or {}), 'X-Amz-Signature': 'ab12'})}"
