"""Files through the web process as it runs: on the disk as they come, once, and never in memory."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from playground.models import Asset, Upload
from tests.edge.test_server import hear
from tests.examiner import files
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/assets"
SIZE = 60_000_000  # sixty times what another body may have


def head(world, length: int, *more: str, key: str | None = None) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key or world.ada_key}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", *more, "", ""]).encode()


def test_a_large_file_streams_to_the_disk(world, web):
    for n in range(4):  # what the first files of a process load is not what a large one takes
        status, _, body = web.ask("POST", PATH, files.wav(20 + n), **world.headers())
        assert status == 201, body
    sound = files.wav(SIZE / 16000)
    with web.open() as line:
        line.sendall(head(world, len(sound)))
        before, spooled = web.memory_kb(), web.files()
        web.forget_peak()
        line.sendall(sound[:-1])
        until(lambda: Upload.objects.filter(size=len(sound)).exists())
        time.sleep(0.5)
        assert web.peak_kb() - before < 20_000
        assert web.files() == spooled  # nothing is kept back beside the file itself
        line.sendall(sound[-1:])
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 201"), answer
    assert Asset.objects.filter(size=len(sound)).count() == 1


def test_a_connection_goes_on_after_a_file(world, shared_web):
    client = http.client.HTTPConnection("127.0.0.1", shared_web.port, timeout=30)
    for size in ((200, 100), (300, 200), (640, 400)):
        data = files.picture(size=size)
        client.request("POST", PATH, data, {**world.headers(), "Content-Type": "image/png"})
        answer = client.getresponse()
        assert (answer.status, json.loads(answer.read())["width"]) == (201, size[0])
    client.request("GET", PATH, headers=world.headers())
    assert len(json.loads(client.getresponse().read())["results"]) == 3
    client.close()


def test_a_stranger_is_turned_away_while_the_file_is_on_its_way(world, shared_web):
    with shared_web.open() as line:
        line.sendall(head(world, SIZE, key="vt_000000000000_00000000000000000000000000000000"))
        line.sendall(b"x" * 100_000)
        answer = hear(line, b"invalid_key", b"connection: close")
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"invalid_key" in answer
        assert b"connection: close" in answer
    status, _, body = shared_web.ask("POST", PATH, b"x" * 5_000_000, Authorization="Bearer nonsense")
    assert (status, json.loads(body)["code"]) == (401, "invalid_key")


def test_who_asks_first_is_told_before_a_byte_is_sent(world, shared_web):
    with shared_web.open() as line:
        line.sendall(head(world, SIZE, "Expect: 100-continue", key="nonsense"))
        assert line.recv(65536).startswith(b"HTTP/1.1 401")
    data = files.picture()
    with shared_web.open() as line:
        line.sendall(head(world, len(data), "Expect: 100-continue"))
        assert line.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(data)
        assert line.recv(65536).startswith(b"HTTP/1.1 201")


def test_ten_gigabytes_are_refused_at_their_announcement(world, shared_web):
    with shared_web.open() as line:
        line.sendall(head(world, 10 * 2**30))
        assert line.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_client_that_breaks_off_leaves_no_place_taken(world, shared_web):
    with shared_web.open() as line:
        line.sendall(head(world, SIZE))
        line.sendall(b"x" * 100_000)
        until(lambda: Upload.objects.exists())
    until(lambda: not Upload.objects.exists())
