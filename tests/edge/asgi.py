"""A client that speaks ASGI to the application in this process, on the test's own loop."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any


def run(work):
    """Run a coroutine on a fresh loop; the hub of that loop is closed at the end."""
    from playground.edge.hub import hub

    async def whole():
        try:
            return await asyncio.wait_for(work, 60)
        finally:
            await hub().close()

    return asyncio.run(whole())


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Exchange:
    """One request under way."""

    sent: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    received: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None

    async def start(self) -> tuple[int, dict[str, str]]:
        message = await self.next()
        assert message["type"] == "http.response.start"
        return message["status"], {k.decode().lower(): v.decode() for k, v in message["headers"]}

    async def next(self) -> dict[str, Any]:
        """The application's next message."""
        getting = asyncio.ensure_future(self.received.get())
        assert self.task is not None
        await asyncio.wait({getting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        getting.cancel()
        self.task.result()
        raise AssertionError("the application ended without a further message")

    async def body(self) -> bytes:
        whole = b""
        while True:
            message = await self.next()
            whole += message.get("body", b"")
            if not message.get("more_body"):
                return whole

    async def events(self):
        """The data of server-sent events, until the stream ends."""
        left = b""
        while True:
            message = await self.next()
            left += message.get("body", b"")
            *whole, left = left.split(b"\n\n")
            for block in whole:
                for line in block.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
            if not message.get("more_body"):
                return

    async def leave_socket(self) -> None:
        await self.leave("websocket.disconnect")

    async def leave(self, message: str = "http.disconnect") -> None:
        await self.sent.put({"type": message})
        assert self.task is not None
        await self.task


def begin(
    method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes | None = b""
) -> Exchange:
    """Send a request; `body` None is for the test to send itself."""
    from playground.asgi import application

    path, _, query = path.partition("?")
    pairs = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
    if body and "transfer-encoding" not in {k.lower() for k in headers or {}}:
        pairs.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs if b"host" in dict(pairs) else [(b"host", b"localhost"), *pairs],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    exchange = Exchange()
    if body is not None:
        exchange.sent.put_nowait({"type": "http.request", "body": body, "more_body": False})
    exchange.task = asyncio.ensure_future(application(scope, exchange.sent.get, exchange.received.put))
    return exchange


async def ask(method: str, path: str, **named: Any) -> Answer:
    """A whole exchange."""
    exchange = begin(method, path, **named)
    status, headers = await exchange.start()
    answer = Answer(status, headers, await exchange.body())
    assert exchange.task is not None
    await exchange.task
    return answer


def socket(path: str, *, cookie: str = "", origin: str = "http://localhost") -> Exchange:
    """Open a websocket."""
    from playground.asgi import application

    headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
    if cookie:
        headers.append((b"cookie", cookie.encode()))
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "subprotocols": [],
        "client": ("127.0.0.1", 1),
    }
    exchange = Exchange()
    exchange.sent.put_nowait({"type": "websocket.connect"})
    exchange.task = asyncio.ensure_future(application(scope, exchange.sent.get, exchange.received.put))
    return exchange
