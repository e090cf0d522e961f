"""The web process as it runs: its threads, its connections, its patience and its end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.db import connection

from playground import predictions
from tests.edge.web import LIMIT, PROJECT
from tests.live.test_hub import do
from tests.predictions import cast
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"
WAITERS = 300


async def wait_for_run(port: int, key: str, model: str) -> dict:
    """One caller that submits and waits for the end; its answer."""
    body = json.dumps({"model": model, "input": {"prompt": "a vase"}})
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: wait=60\r\n"
        f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    answer = await reader.read()
    writer.close()
    head, _, document = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201"), answer[:300]
    return json.loads(document)


def hear(line: socket.socket, *words: bytes) -> bytes:
    """What comes, until all of the words have come or nothing comes any more: an answer may arrive in pieces."""
    said = b""
    while not all(word in said for word in words) and (more := line.recv(65536)):
        said += more
    return said


def busy() -> list[str]:
    """What the database is doing for others, or holds a transaction open for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(query, '') FROM pg_stat_activity WHERE state <> 'idle'"
            " AND datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return [query for (query,) in cursor.fetchall()]


def test_three_hundred_waiting_callers_take_few_threads_and_no_connection(world, web):
    async def story():
        callers = [
            asyncio.ensure_future(wait_for_run(web.port, world.ada_key, world.model)) for _ in range(WAITERS)
        ]
        rows = predictions.history(world.ada)
        await do(until, lambda: rows.count() == WAITERS)
        for _ in range(2):  # all of them wait now, and the looks at queue and rows, one a second, go on
            await do(until, lambda: len(busy()) <= 1)  # such a look, if it is caught at it
            await asyncio.sleep(1)
        assert not any(one.done() for one in callers)
        threads = web.threads()
        for row in await do(list, rows):
            await do(predictions.cancel, row)
        return threads, await asyncio.gather(*callers)

    threads, answers = asyncio.run(story())
    assert threads < 40
    assert {one["status"] for one in answers} == {"canceled"}
    assert len({one["id"] for one in answers}) == WAITERS


def test_a_huge_body_is_refused_at_its_first_bytes(world, web):
    before = web.files()
    with web.open() as line:
        line.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000000\r\n\r\n" % PATH.encode()
        )
        line.sendall(b"x" * 100_000)
        answer = hear(line, b"body_too_large")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"body_too_large" in answer
        assert web.files() == before


def test_a_client_that_pours_on_is_answered_all_the_same(world, shared_web):
    status, headers, body = shared_web.ask("POST", PATH, b"x" * (LIMIT + 1))
    assert (status, json.loads(body)["code"]) == (413, "body_too_large")
    assert headers["x-request-id"] == json.loads(body)["request_id"]


def test_a_chunked_body_without_end_is_cut_off(world, shared_web):
    with shared_web.open() as line:
        line.sendall(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
            % (PATH.encode(), world.ada_key.encode())
        )
        chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
        answer = b""
        with contextlib.suppress(OSError):
            for _ in range(30):
                line.sendall(chunk)
        with contextlib.suppress(OSError):
            answer = line.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("expect", [{}, {"Expect": "100-continue"}])
def test_nothing_is_read_for_an_unknown_address(world, shared_web, expect):
    with shared_web.open() as line:
        more = "".join(f"{name}: {value}\r\n" for name, value in expect.items())
        line.sendall(
            f"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n{more}\r\n".encode()
        )
        assert line.recv(65536).startswith(b"HTTP/1.1 404")


def test_chunked_and_counted_bodies_reach_django(world, web):
    body = json.dumps({"model": world.model, "input": {"prompt": "a vase"}}).encode()
    headers = {**world.headers(), "Content-Type": "application/json"}
    client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    client.request("POST", PATH, iter([body[:10], body[10:]]), headers, encode_chunked=True)
    chunked = client.getresponse()
    assert (chunked.status, json.loads(chunked.read())["status"]) == (201, "queued")
    client.request("POST", PATH, body, headers)  # the connection goes on
    assert client.getresponse().status == 201
    client.close()


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Much: %s\r\n" % (b"x" * 9000) * 9,
            "headers_too_large",
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 20_000 + b"\r\n", "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 600, "headers_too_large"),
        (b"GET /api/v1/models?search=" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n", "uri_too_long"),
        (b"nonsense\r\n", "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n", "malformed_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_heads_beyond_all_measure_are_refused_as_problems(world, shared_web, head, code):
    with shared_web.open() as line:
        line.sendall(head + b"\r\n")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while more := line.recv(4000):
                said += more
    start, _, body = said.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert problem["code"] == code
    assert start.startswith(b"HTTP/1.1 %d " % problem["status"])
    assert b"application/problem+json" in start
    assert shared_web.ask("GET", "/api/v1/models")[0] == 200


def test_a_slow_reader_does_not_fill_the_memory(world, web):
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from playground import assets
    from playground.models import Asset

    size = 200_000_000
    name = default_storage.save("big.bin", ContentFile(b""))
    with Path(default_storage.path(name)).open("r+b") as file:
        file.truncate(size)
    row = cast.submit(world.ada)
    (job,) = cast.claim()
    cast.succeed(job)
    asset = Asset.objects.get(prediction=row)
    Asset.objects.filter(pk=asset.pk).update(storage_name=name, size=size)
    mine = {"X-API-Key": world.ada_key}
    assert web.ask("GET", "/api/v1/balance", **mine)[0] == 200  # loads what the first request does
    before = web.memory_kb()
    slow = []
    for _ in range(3):
        line = web.open()
        line.sendall(f"GET {assets.address(asset)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        line.recv(1000)
        slow.append(line)
    assert web.ask("GET", "/api/v1/balance", **mine)[0] == 200
    time.sleep(1)
    assert web.memory_kb() - before < len(slow) * size / 1024 / 6
    status, _, body = web.ask("GET", assets.address(asset))
    assert (status, len(body)) == (200, size)
    for line in slow:
        line.close()
    default_storage.delete(name)


def test_a_stop_answers_who_waits_and_ends_streams(world, web):
    body = json.dumps({"model": world.model, "input": {"prompt": "a vase"}})
    mine = {"X-API-Key": world.ada_key, "Content-Type": "application/json"}
    status, _, said = web.ask("POST", PATH, body.encode(), **mine)  # loads what the first request does
    assert status == 201
    uid = json.loads(said)["id"]
    stream = web.open()
    stream.sendall(
        f"GET {PATH}/{uid}/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {world.ada_key}\r\n\r\n".encode()
    )
    assert b"data: " in hear(stream, b"data: ")
    waiting = web.open()
    waiting.sendall(
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {world.ada_key}\r\nPrefer: wait=60\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    until(lambda: predictions.history(world.ada).count() == 2)
    os.kill(web.pid, signal.SIGTERM)
    answer = hear(waiting, b'"status":"queued"')
    assert answer.startswith(b"HTTP/1.1 201")
    assert b'"status":"queued"' in answer
    rest = b""
    while more := stream.recv(65536):
        rest += more
    assert rest.endswith(b"0\r\n\r\n")
    assert web.process.wait(60) == 0
    for line in (stream, waiting):
        line.close()


def test_a_socket_is_closed_with_the_code_that_was_meant(world, shared_web):
    """1008, for who has no key: a code by which servers speak, and no application in a browser may."""
    head = (
        b"GET /fal/run/kiln/vase/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    said = b""
    with socket.create_connection(("127.0.0.1", shared_web.port), timeout=30) as viewer:
        viewer.sendall(head)
        while (at := said.find(b"\x88\x02")) < 0:  # a closing frame that holds a code alone
            more = viewer.recv(4096)
            assert more, said
            said += more
        while len(said) < at + 4:
            said += viewer.recv(4096)
    assert said.startswith(b"HTTP/1.1 101 ")
    assert b"Unauthorized" in said
    assert int.from_bytes(said[at + 2 : at + 4], "big") == 1008


def test_a_busy_port_is_an_error(shared_web):
    command = [sys.executable, "-m", "playground.edge.server", "-p", str(shared_web.port)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "in use" in done.stderr
