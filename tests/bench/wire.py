"""The smallest HTTP client that keeps its connection, so that the client's own cost hardly shows in a figure."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


class Wire:
    """One kept connection to one server, with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.host, self.port = str(urlsplit(url).hostname), int(urlsplit(url).port or 80)
        self.headers = f"Host: {self.host}:{self.port}\r\nAuthorization: Bearer {key}\r\n"
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def call(
        self, method: str, path: str, body: Any = None, *, extra: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one request."""
        status, text = await self.raw(method, path, body, extra=extra)
        return status, json.loads(text or b"{}")

    async def raw(self, method: str, path: str, body: Any = None, *, extra: str = "") -> tuple[int, bytes]:
        """Status and body of one request."""
        status, length = await self.open(method, path, body, extra=extra)
        assert self.reader is not None
        if length is None:
            return status, await self._chunks()
        return status, await self.reader.readexactly(length)

    async def open(
        self, method: str, path: str, body: Any = None, *, extra: str = ""
    ) -> tuple[int, int | None]:
        """Send a request and read the head of the answer; the body stays to be read."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        assert self.reader is not None
        data = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if data else ""
        head = f"{method} {path} HTTP/1.1\r\n{self.headers}{extra}{kind}Content-Length: {len(data)}\r\n\r\n"
        self.writer.write(head.encode() + data)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        found = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        length = int(found["content-length"]) if "content-length" in found else None
        return int(lines[0].split()[1]), length

    async def lines(self) -> Any:
        """The lines of a streamed body, as they come."""
        assert self.reader is not None
        while True:
            size = int((await self.reader.readline()).strip() or b"0", 16)
            if not size:
                return
            for line in (await self.reader.readexactly(size + 2))[:-2].splitlines():
                yield line

    async def _chunks(self) -> bytes:
        found = b""
        async for line in self.lines():
            found += line + b"\n"
        return found

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None
