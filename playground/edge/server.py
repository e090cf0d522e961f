"""The web process: `python -m playground.edge.server -b HOST -p PORT`.

Daphne with what it leaves out: a slow reader slows down who writes to it instead of filling the memory, and a stop lets
what is being answered be answered. What a connection may do is in `connection`.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")
os.environ.setdefault("ASGI_THREADS", "2")  # the loop's own pool; Django and the edge have theirs

import argparse
import asyncio
import resource
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import daphne.server
from daphne.endpoints import build_endpoint_description_strings
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.utils.module_loading import import_string
from twisted.internet import defer
from twisted.internet.endpoints import quoteStringArgument

from playground.edge.connection import SLOW_READER_SECONDS, Channel, Factory
from playground.edge.heard import Heard

APPLICATION = "playground.asgi.application"
BUFFER_BYTES = 64 * 1024
GRACE_SECONDS = 4  # for what is being answered at a stop
SOCKET_MESSAGE_BYTES = 256 * 1024  # both ways: a card with its preview fits, and nobody has more to say to us


class Deaf(asyncio.Queue[Any]):
    """What a websocket's application receives: that it begins and ends. What viewers say is never heard, nor kept."""

    def put_nowait(self, message: Any) -> None:
        if message["type"] != "websocket.receive":
            super().put_nowait(message)


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """A websocket that is closed with whatever code the application says, as RFC 6455 lets a server do.

    What Daphne calls knows none of the codes by which a server says that it refuses (1008), restarts (1012) or has no
    room (1013): it raised, and the client was told 1011.
    """

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802 - Daphne's name
        self.sendCloseFrame(code=1000 if code is None else code, isReply=False)


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes them."""

    protocol = Socket


class WebServer(daphne.server.Server):  # type: ignore[misc]
    """Daphne's server with flow control and a graceful end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ports: list[Any] = []

    def run(self) -> None:
        daphne.server.HTTPFactory = Factory  # Daphne names its factories in `run` and leaves no other way in
        daphne.server.WebSocketFactory = SocketFactory
        super().run()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)

    def create_application(self, protocol: Any, scope: Any) -> Any:
        inlet = _ear(protocol, scope) if scope["type"] == "websocket" else getattr(protocol, "inlet", None)
        if inlet is None:
            return super().create_application(protocol, scope)
        if protocol not in self.connections:
            return None
        scope.setdefault("asgi", {"version": "3.0"})
        work = self.application(scope=scope, receive=inlet.get, send=partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(work)
        return inlet

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        if message["type"] == "http.disconnect":  # an answer that is to break off, after what was sent of it
            if (channel := _channel_of(protocol)) is not None:
                channel.loseConnection()
            return
        await super().handle_reply(protocol, message)
        channel = _channel_of(protocol)
        if channel is not None and not channel.drained.is_set():
            try:
                async with asyncio.timeout(SLOW_READER_SECONDS):
                    await channel.drained.wait()
            except TimeoutError:
                channel.abort()

    def kill_all_applications(self) -> defer.Deferred[None]:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._finish()))

    async def _finish(self) -> None:
        from playground.edge.site import close

        for port in self.ports:
            port.stopListening()
        await close()
        running = [
            one["application_instance"] for one in self.connections.values() if "application_instance" in one
        ]
        if running:
            _, late = await asyncio.wait(running, timeout=GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _ear(protocol: Any, scope: Any) -> asyncio.Queue[Any]:
    """Where what a websocket says goes: nowhere, but for those that ask by it."""
    from playground.edge.speakers import talk_at

    talk = talk_at(scope)
    if talk is None:
        return Deaf()
    protocol.maxFramePayloadSize = protocol.maxMessagePayloadSize = talk.message_bytes
    return Heard(protocol.transport, talk.waiting_bytes)


def _channel_of(protocol: Any) -> Channel | None:
    channel = getattr(protocol, "channel", None) or getattr(protocol.transport, "producer", None)
    return channel if isinstance(channel, Channel) else None


def tls_endpoint(host: str, port: int, key: str, certificate: str) -> str:
    """Where to listen with TLS, in Twisted's words."""
    parts = {"privateKey": key, "certKey": certificate, "interface": host.strip("[]")}
    named = [f"{name}={quoteStringArgument(value)}" for name, value in parts.items()]
    return ":".join(["ssl", str(port), *named])


def serve(host: str, port: int, *, has_proxy: bool = False, secure: Sequence[str] = ()) -> int:
    """Serve until a signal ends it; the exit status. `secure` are more endpoints."""
    Factory.most_resting = (
        _allow_many_files() // 4
    )  # the others are for what is asked, and for files and databases
    server = WebServer(
        import_string(APPLICATION),
        endpoints=[*build_endpoint_description_strings(host=host, port=port), *secure],
        request_buffer_size=BUFFER_BYTES,
        websocket_timeout=-1,
        websocket_max_message_size=SOCKET_MESSAGE_BYTES,
        websocket_max_frame_size=SOCKET_MESSAGE_BYTES,
        proxy_forwarded_address_header="X-Forwarded-For" if has_proxy else None,
        proxy_forwarded_port_header="X-Forwarded-Port" if has_proxy else None,
        proxy_forwarded_proto_header="X-Forwarded-Proto" if has_proxy else None,
        verbosity=0,
        server_name="",
    )
    server.run()
    return 1 if server.abort_start else 0


def _allow_many_files() -> int:
    """Each viewer is an open file: take all that the system lets this process have; returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        soft = min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="playground.edge.server", description="Vitrine's web process.")
    parser.add_argument("-b", "--bind", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("-p", "--port", type=int, default=8000, help="the port to listen on")
    parser.add_argument(
        "--proxy-headers", action="store_true", help="believe a proxy's X-Forwarded-For and -Proto"
    )
    parser.add_argument("--tls-port", type=int, default=0, help="a port to listen on with TLS besides")
    parser.add_argument("--tls-key", default="", help="the file of its private key, in PEM")
    parser.add_argument("--tls-cert", default="", help="the file of its certificate, in PEM")
    given = parser.parse_args(arguments)
    secure = (
        [tls_endpoint(given.bind, given.tls_port, given.tls_key, given.tls_cert)] if given.tls_port else []
    )
    return serve(given.bind, given.port, has_proxy=given.proxy_headers, secure=secure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
