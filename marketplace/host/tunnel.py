"""A CONNECT port on loopback: `python -m marketplace.host.tunnel PORT TLS_PORT`.

Clients that have fal's host names built in know one setting: HTTPS_PROXY. Set to this port, what they send to those
names comes to our TLS port, and nothing else goes anywhere: this is no way out into the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

# What fal's clients call; `make run` answers to these names through the TLS and CONNECT ports.
FAL_DOMAINS = ("fal.run", "fal.ai", "fal.media")
HEAD_BYTES = 8 * 1024
HEAD_SECONDS = 10.0
CHUNK_BYTES = 64 * 1024
NEAR = ("localhost", "127.0.0.1", "[::1]")


class Refused(Exception):
    """A status line, and a sentence."""


def leads_here(target: str, tls_port: int) -> bool:
    """Whether what a client wants to be connected with is us."""
    host, _, port = target.rpartition(":")
    name = host.lower().rstrip(".")
    if name in NEAR:
        return port == str(tls_port)
    return port == "443" and any(name == domain or name.endswith(f".{domain}") for domain in FAL_DOMAINS)


class Tunnel:
    """Serves one port."""

    def __init__(self, tls_host: str, tls_port: int) -> None:
        self._to = tls_host, tls_port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            try:
                async with asyncio.timeout(HEAD_SECONDS):
                    await self._admit(reader)
                there = await asyncio.open_connection(*self._to)
            except Refused as refused:
                await _refuse(writer, str(refused))
                return
            except OSError:
                await _refuse(writer, "502 Bad Gateway\nThe TLS port does not answer.")
                return
            except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                await _refuse(writer, "400 Bad Request\nThis is no CONNECT request.")
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _both(reader, writer, *there)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _admit(self, reader: asyncio.StreamReader) -> None:
        """Read the head of the request. Raises Refused."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = [*head.partition(b"\r\n")[0].decode("latin-1").split(" "), "", ""]
        if method != "CONNECT":
            raise Refused("405 Method Not Allowed\nThis port takes CONNECT only: set it as HTTPS_PROXY.")
        if not leads_here(target, self._to[1]):
            raise Refused(
                f"403 Forbidden\nThis port leads to Vitrine and nowhere else, not to {target[:100]}."
            )


async def _refuse(writer: asyncio.StreamWriter, said: str) -> None:
    status, _, text = said.partition("\n")
    body = (text + "\n").encode("latin-1", "replace")
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()


async def _both(
    near: asyncio.StreamReader,
    near_out: asyncio.StreamWriter,
    far: asyncio.StreamReader,
    far_out: asyncio.StreamWriter,
) -> None:
    """Pass bytes on both ways until neither side has more."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(near, far_out))
            group.create_task(_pass_on(far, near_out))
    finally:
        far_out.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def run(port: int, tls_port: int, tls_host: str = "127.0.0.1") -> None:
    """Serve until a signal ends it."""
    tunnel = Tunnel(tls_host, tls_port)
    server = await asyncio.start_server(tunnel.serve, "127.0.0.1", port, limit=HEAD_BYTES)
    over = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, over.set)
    async with server:
        await over.wait()


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    port, tls_port, *host = arguments
    asyncio.run(run(int(port), int(tls_port), *host))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
