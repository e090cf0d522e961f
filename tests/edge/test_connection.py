"""Connections that mean harm: requests hidden in others, readers that do not read, and everything slowly."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace

import pytest

from playground.edge.server import Deaf  # first, as it chooses Twisted's reactor

# isort: split

from twisted.internet.testing import StringTransport

from playground.edge import connection
from tests.edge.asgi import run
from tests.edge.web import serving
from tests.live.test_hub import do
from tests.until import until

POST = b"POST /api/v1/predictions HTTP/1.1\r\nHost: localhost\r\n"
HIDDEN = b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def web(django_db_setup):
    """One web process for all of this."""
    with serving() as running:
        yield running


class Wire(StringTransport):
    """A transport that keeps what is written to it, and how it ended."""

    is_aborted = False

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.disconnecting = True

    def abortConnection(self) -> None:  # noqa: N802
        self.is_aborted = True


def connect(factory: connection.Factory | None = None):
    """A channel, and the transport under it."""
    nothing = SimpleNamespace(protocol_connected=lambda _: None, protocol_disconnected=lambda _: None)
    channel, wire = (factory or connection.Factory(nothing)).buildProtocol(None), Wire()
    wire.protocol = channel
    channel.makeConnection(wire)
    return channel, wire


def told(work):
    """Run `work` with channels in it, on a loop."""

    async def story():
        return work()

    return run(story())


REFUSED = {
    "a length and chunks": b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "twice the same length": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a length without end": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a line feed in a value": b"X-Y: z\nContent-Length: 2\r\n\r\n{}",
    "no encoding": b"Transfer-Encoding: identity\r\n\r\n",
    "no encoding and a length": b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks of chunks": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a socket with a body": b"Upgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
}
BROKEN = {
    "a chunk in hex with its prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": b"-2\r\n{}\r\n0\r\n\r\n",
    "an endless extension": b"2;" + b"x" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
    "endless trailers": b"2\r\n{}\r\n0\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 80 + b"\r\n",
    "a chunk longer than it says": b"2\r\n{}}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_request_hides_behind_a_head_that_means_two_things(name):
    def story():
        channel, wire = connect()
        channel.dataReceived(POST + REFUSED[name] + HIDDEN)
        return wire.value()

    said = told(story)
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"malformed_request" in said


def test_no_request_hides_in_broken_chunks(world, web):
    for name, chunks in BROKEN.items():
        said = web.say(POST + f"X-API-Key: {world.ada_key}\r\n".encode() + CHUNKED + chunks + HIDDEN)
        assert said.count(b"HTTP/1.1 ") == 1, (name, said)
        assert said.startswith(b"HTTP/1.1 400 "), (name, said)


def test_extensions_and_trailers_within_measure_are_passed_by(world, web):
    head = POST + f"X-API-Key: {world.ada_key}\r\nContent-Type: application/json\r\n".encode()
    said = web.say(head + CHUNKED + b"2;a=b\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n" + HIDDEN)
    assert said.startswith(b"HTTP/1.1 422 "), said
    assert said.count(b"HTTP/1.1 200 ") == 1  # which was asked for in the open


def test_a_strangers_body_is_left_where_it_is(web):
    before = web.files()
    said = web.say(POST + b"Content-Length: 900000\r\n\r\n", b"x" * 100_000)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert {b"connection: close", b"ratelimit-limit: 6000"} <= set(head.lower().split(b"\r\n"))
    assert json.loads(body)["code"] == "not_authenticated"
    assert web.files() == before
    asks_first = web.say(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert asks_first.startswith(b"HTTP/1.1 401 ")


def test_answers_come_in_the_order_of_the_requests(world, web):
    key = f"X-API-Key: {world.ada_key}\r\n".encode()
    get = b"GET /api/v1/balance HTTP/1.1\r\nHost: localhost\r\n" + key
    said = web.say(
        get + b"\r\n",
        POST + key + b"Content-Length: 2\r\n\r\n{}" + get + b"Content-Length: 2\r\n\r\n{}" + HIDDEN,
    )
    assert re.findall(rb"HTTP/1\.1 (\d+) ", said) == [b"200", b"415", b"200", b"200"]


def test_who_asks_on_without_reading_is_not_answered_on(web):
    """Three hundred answers of much more than a hundred kilobytes, asked for in a few."""
    size = len(web.ask("GET", "/api/v1/openapi.json")[2])
    before, count = web.memory_kb(), 300
    with web.open() as line:
        line.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * count)
        line.recv(1000)
        time.sleep(1)
        assert web.memory_kb() - before < size * count / 1024 / 4
        assert web.ask("GET", "/api/v1/models")[0] == 200


def test_a_head_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)

    async def story(first: bytes):
        channel, wire = connect()
        for byte in first:
            channel.dataReceived(bytes([byte]))
        await do(until, lambda: wire.value())
        channel.dataReceived(b"\r\n\r\n")
        return wire.value(), wire.disconnecting

    for first in (b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: y"):
        said, is_ended = run(story(first))
        assert said.startswith(b"HTTP/1.1 408 ")
        assert said.count(b"request_timeout") == 2  # in type and code, once
        assert is_ended


def test_who_may_be_a_browser_and_falls_silent_amid_a_long_address_is_told_all_the_same(monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)

    async def story():
        channel, wire = connect()
        channel.dataReceived(b"GET /?q=" + b"x" * 20_000)
        is_patient = not wire.value()
        await do(until, lambda: wire.value())
        channel.dataReceived(b" HTTP/1.1\r\nAccept: text/html\r\n\r\n")
        return is_patient, wire.value()

    is_patient, said = run(story())
    assert is_patient
    assert said.startswith(b"HTTP/1.1 414 ")
    assert said.count(b"HTTP/1.1") == 1
    assert b"problem+json" in said


def test_an_answer_that_is_not_taken_to_its_end_is_cut(monkeypatch):
    monkeypatch.setattr(connection, "SLOW_READER_SECONDS", 0.05)

    async def story():
        channel, wire = connect()
        channel.loseConnection()
        await do(until, lambda: wire.is_aborted)

    run(story())


def test_of_too_many_resting_connections_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(connection.Factory, "most_resting", 2)

    def story():
        nothing = SimpleNamespace(protocol_connected=lambda _: None)
        factory = connection.Factory(nothing)
        wires = [connect(factory)[1] for _ in range(4)]
        return [one.is_aborted for one in wires]

    assert told(story) == [True, True, False, False]


def test_a_socket_is_not_heard_while_it_does_not_read():
    def story():
        channel, wire = connect()
        wire.protocol = object()  # as Daphne hands the connection over
        channel.pauseProducing()
        paused = wire.producerState
        channel.resumeProducing()
        return paused, wire.producerState

    assert told(story) == ("paused", "producing")


def test_what_a_viewer_says_is_not_kept():
    queue = Deaf()
    queue.put_nowait({"type": "websocket.connect"})
    queue.put_nowait({"type": "websocket.receive", "text": "x" * 1000})
    queue.put_nowait({"type": "websocket.disconnect"})
    assert queue.qsize() == 2


def test_a_body_waits_in_one_piece_and_is_held_back():
    async def story():
        channel, wire = connect()
        inlet = connection.Inlet(channel)
        for _ in range(connection.INLET_BYTES):
            inlet.feed(b"x")
        states = [wire.producerState]
        inlet.feed(b"x")
        states.append(wire.producerState)
        whole = (await inlet.get())["body"]
        states.append(wire.producerState)
        inlet.end()
        last = await inlet.get()
        inlet.put_nowait({"type": "http.disconnect"})
        return states, len(whole), last, await inlet.get()

    states, size, last, gone = run(story())
    assert states == ["producing", "paused", "producing"]
    assert size == connection.INLET_BYTES + 1
    assert last == {"type": "http.request", "body": b"", "more_body": False}
    assert gone == {"type": "http.disconnect"}
