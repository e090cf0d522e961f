"""What is sent out of a bucket lies here meanwhile: no more of it than there is room for."""

from __future__ import annotations

import asyncio

import pytest

from playground.api.problems import Problem
from playground.edge import bucket
from tests.edge.asgi import run

HEADERS = [(b"content-type", b"video/mp4"), (b"etag", b'"ab"'), (b"content-disposition", b"inline")]


def test_no_more_of_a_bucket_lies_here_than_there_is_room_for(settings, tmp_path):
    storage = {"BACKEND": "tests.edge.buckets.Bucket", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    settings.MAX_UPLOAD_BYTES = 1000
    (tmp_path / "film.mp4").write_bytes(b"x" * 900)

    async def read(address, *, method="GET", until=None):
        sent = []

        async def send(message):
            sent.append(message)
            if until is not None:
                await until.wait()

        scope = {"method": method, "client": (address, 1), "headers": [(b"authorization", b"Bearer x")]}
        await bucket.serve(scope, send, "film.mp4", HEADERS)
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)

    async def story():
        go_on = asyncio.Event()
        slow = [asyncio.ensure_future(read("192.0.2.1", until=go_on)) for _ in range(2)]
        while bucket._room.taken("192.0.2.1") < 1800:  # noqa: ASYNC110 - a room tells nobody
            await asyncio.sleep(0.01)
        with pytest.raises(Problem) as full:
            await read("192.0.2.1")
        assert (full.value.code, full.value.headers["Retry-After"]) == ("unavailable", "5")
        assert await read("192.0.2.1", method="HEAD") == (200, b"")
        assert await read("192.0.2.2") == (200, b"x" * 900)
        go_on.set()
        return [*await asyncio.gather(*slow), await read("192.0.2.1")]

    assert run(story()) == [(200, b"x" * 900)] * 3
    assert bucket._room.taken("all") == 0
