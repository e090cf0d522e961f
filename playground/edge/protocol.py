"""The words of ASGI, typed."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Protocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Application(Protocol):
    """Anything that answers ASGI."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def header(scope: Scope, name: bytes) -> str:
    """The value of a request header, several joined as HTTP joins them; empty if there is none."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def address_of(scope: Scope) -> str:
    """Where the request comes from; of IPv6 the network, as who has one address there has all of them."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host


async def gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
        pass


async def while_here(receive: Receive, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` unless the client leaves first, then stop it; whether it was done."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(receive))
    leaving.add_done_callback(lambda _: task.cancel())
    try:
        await task
    except asyncio.CancelledError:
        if not leaving.done():
            raise
        return False
    finally:
        leaving.cancel()
    return True
