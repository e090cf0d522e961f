"""What is let in: sizes, lengths and addresses, without trusting a word of the caller."""

from __future__ import annotations

import asyncio
import io
import json
import random

import pytest
from PIL import Image

from playground.edge import gate
from tests.edge.asgi import ask, begin, run

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"


@pytest.fixture(autouse=True)
def small(settings):
    settings.MAX_BODY_BYTES = 10_000


def order(world) -> bytes:
    return json.dumps({"model": world.model, "input": {"prompt": "a vase"}}).encode()


def test_a_declared_length_beyond_the_limit_is_refused_unread(world):
    async def story():
        exchange = begin("POST", PATH, headers={"Content-Length": "10001"}, body=None)
        status, headers = await exchange.start()
        return status, headers, json.loads(await exchange.body()), exchange.sent.empty()

    status, headers, problem, unread = run(story())
    assert (status, problem["code"], problem["max_bytes"]) == (413, "body_too_large", 10_000)
    assert headers["content-type"] == "application/problem+json"
    assert unread


def test_a_form_with_files_may_be_as_large_as_a_callers_share(world, settings):
    settings.BODY_ROOM_BYTES = 200_000
    picture = io.BytesIO()
    Image.frombytes("RGB", (120, 100), random.Random(1).randbytes(36_000)).save(picture, "PNG")
    data = picture.getvalue()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="p.png"\r\n\r\n'
    body = head + data + b"\r\n--b--\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=b"}

    def send(body, *, path="/openai/v1/files", **headers):
        async def story():
            exchange = begin("POST", path, headers={**form, **headers}, body=None)
            for at in range(0, len(body), 9_000):
                piece = {"type": "http.request", "body": body[at : at + 9_000]}
                exchange.sent.put_nowait({**piece, "more_body": at + 9_000 < len(body)})
            return (await exchange.start())[0], json.loads(await exchange.body())

        return run(story())

    chunked = {"Transfer-Encoding": "chunked"}
    for more in (chunked, {"Content-Length": str(len(body))}):
        status, kept = send(body, **world.headers(), **more)
        assert (status, kept["bytes"]) == (200, len(data))
    for more in (chunked, {"Content-Length": str(2 * len(body))}):
        status, told = send(2 * body, **world.headers(), **more)
        assert (status, "50,000" in told["error"]["message"]) == (413, True)
    assert send(body, path="/openai/v1/images/generations", **world.headers(), **chunked)[0] == 413
    assert send(body, **chunked)[0] == 401  # nobody answers for it


@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
def test_a_body_that_is_longer_than_it_said_is_cut_off(world, headers):
    async def story():
        exchange = begin("POST", PATH, headers={**world.headers(), **headers}, body=None)
        for _ in range(3):
            exchange.sent.put_nowait({"type": "http.request", "body": b"x" * 4000, "more_body": True})
        return (await exchange.start())[0]

    assert run(story()) == 413


def test_a_chunked_body_reaches_django_whole(world):
    sent = order(world)

    async def story():
        headers = {**world.headers(), "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        exchange = begin("POST", PATH, headers=headers, body=None)
        for at in range(0, len(sent), 7):
            exchange.sent.put_nowait({"type": "http.request", "body": sent[at : at + 7], "more_body": True})
        exchange.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        return (await exchange.start())[0], json.loads(await exchange.body())

    status, document = run(story())
    assert (status, document["status"]) == (201, "queued")


def test_a_client_that_leaves_amid_its_body_is_no_request(world):
    async def story():
        for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "100"}):
            exchange = begin("POST", PATH, headers={**world.headers(), **headers}, body=None)
            exchange.sent.put_nowait({"type": "http.request", "body": b"{", "more_body": True})
            exchange.sent.put_nowait({"type": "http.disconnect"})
            await exchange.task
            assert exchange.received.empty()

    run(story())


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/nowhere", "/api/nowhere", "/media/x/y", "/%00", "/static/x.css"]
)
def test_no_body_is_read_for_an_address_that_does_not_exist(world, path):
    async def story():
        exchange = begin("POST", path, headers={"Content-Length": "100"}, body=None)
        return (await exchange.start())[0], exchange.sent.empty()

    assert run(story()) == (404, True)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([(b"content-length", b"x")], "malformed_request"),
        ([(b"content-length", b"-1")], "malformed_request"),
        ([(b"content-length", b"1"), (b"content-length", b"2")], "malformed_request"),
        ([(b"content-length", b"9" * 5000)], "body_too_large"),
        ([(b"content-length", b"0")], None),
        ([], None),
    ],
)
def test_lengths(sent, code):
    problem = gate.refusal("/nowhere", sent)
    assert (problem.code if problem else None) == code


def test_many_requests_at_once_share_the_threads_of_django(world):
    import threading

    from playground.edge import inner, threads

    async def story():
        answers = await asyncio.gather(
            *(ask("GET", "/api/v1/balance", headers=world.headers()) for _ in range(60))
        )
        return {answer.status for answer in answers}

    assert run(story()) == {200}
    ours = [one.name for one in threading.enumerate() if one.name.startswith(("django", "edge"))]
    assert len(ours) <= inner.THREADS + threads.THREADS


def test_django_and_the_edge_name_a_request_alike(world):
    async def story():
        named = await ask("GET", "/api/v1/balance", headers={**world.headers(), "X-Request-Id": "abcd-1234"})
        insane = await ask("GET", "/api/v1/balance", headers={**world.headers(), "X-Request-Id": "a b\tc"})
        return named.headers["x-request-id"], insane.headers["x-request-id"]

    named, insane = run(story())
    assert named == "abcd-1234"
    assert insane.isalnum()
