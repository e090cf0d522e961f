"""Whose bodies are read at all, how many of them at once, and how slowly they may come."""

from __future__ import annotations

import asyncio
import json

import pytest

from marketplace import keys
from playground.api.problems import Problem
from playground.edge import intake
from playground.models import Prediction
from tests.edge.asgi import ask, begin, run
from tests.edge.test_socket import sign_in
from tests.live.test_hub import do
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"
SMALL = 64 * 1024
OF_EACH_REQUEST = {"x-request-id", "ratelimit-remaining", "ratelimit-reset", "content-length"}


@pytest.fixture(autouse=True)
def plain_static_files(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


def announce(path: str = PATH, length: int | None = 100, *, method: str = "POST", **headers: str):
    """A request whose body has not come yet."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    size = {"Content-Length": str(length)} if length is not None else {"Transfer-Encoding": "chunked"}
    return begin(method, path, headers={**named, **size}, body=None)


def give(exchange, data: bytes, *, more: bool = True) -> None:
    exchange.sent.put_nowait({"type": "http.request", "body": data, "more_body": more})


async def answer_of(exchange):
    status, headers = await exchange.start()
    return status, headers, json.loads(await exchange.body())


def unread(path: str = PATH, length: int | None = 100, *, method: str = "POST", **headers: str):
    """The answer to a request of which a first piece has come, and whether that was left alone."""

    async def story():
        exchange = announce(path, length, method=method, **headers)
        give(exchange, b"{")
        return await answer_of(exchange), exchange.sent.qsize() == 1

    answer, is_unread = run(story())
    assert is_unread
    return answer


@pytest.mark.parametrize("length", [100, 900_000, None])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YWRhOmFkYQ=="},
        {"X_API_Key": "vt_000000000000_00000000000000000000000000000000"},
        {"X_API_Key": "revoked"},
        {"X_API_Key": "revoked", "Cookie": "sessionid=somebody"},
    ],
    ids=lambda headers: "+".join(headers) or "nobody",
)
def test_of_strangers_the_api_reads_nothing_and_says_what_it_always_said(world, headers, length):
    if headers.get("X_API_Key") == "revoked":
        row, text = keys.make(world.ada, name="old")
        keys.revoke(row)
        headers = {**headers, "X_API_Key": text}
    status, said, problem = unread(length=length, **headers)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    usual = run(ask("POST", PATH, headers=named))  # without a body
    assert (status, usual.status) == (401, 401)
    assert {**problem, "request_id": ""} == {**usual.json(), "request_id": ""}
    assert {name: said[name] for name in said if name not in OF_EACH_REQUEST} == {
        name: usual.headers[name] for name in usual.headers if name not in OF_EACH_REQUEST
    }
    assert int(said["ratelimit-remaining"]) > int(usual.headers["ratelimit-remaining"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/api/v1/keys/k_00000000000000000000000000", 401),
        ("PUT", "/api/v1/assets/uploads/u_00000000000000000000000000/parts/1", 401),
        ("DELETE", PATH, 401),
    ],
)
def test_so_it_is_with_every_method(world, method, path, status):
    assert unread(path, method=method)[0] == status


def test_a_key_that_comes_to_be_between_two_looks_starts_nothing(world, monkeypatch):
    async def unknown(*_: object, **__: object):
        raise Problem("invalid_key", "No such API key.")

    monkeypatch.setattr(intake, "by_key", unknown)
    status, headers, problem = unread(**world.headers())
    assert (status, problem["code"]) == (503, "unavailable")
    assert headers["retry-after"]
    assert not Prediction.objects.exists()


def test_a_strangers_form_may_be_small(world):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    small = run(ask("POST", "/accounts/login", headers=form, body=b"login=a&password=" + b"x" * 1000))
    assert small.status == 403  # it was read, and lacks the token
    for more in ({}, {"Cookie": "sessionid=nobody"}):
        status, _, problem = unread("/accounts/login", SMALL + 1, **more)
        assert (status, problem["code"], problem["max_bytes"]) == (413, "body_too_large", SMALL)

    async def story():
        exchange = announce("/accounts/login", None)
        for _ in range(3):
            give(exchange, b"x" * 30_000)
        return (await exchange.start())[0]

    assert run(story()) == 413


def test_who_is_signed_in_may_send_more(world):
    cookie = sign_in(world.ada, "ada@example.test")
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    big = b'{"model": "' + b"x" * (2 * SMALL) + b'"}'
    for path in (PATH, "/accounts/profile"):
        assert run(ask("POST", path, headers=headers, body=big)).status == 403  # it lacks the token
    for body, wanted in ((b"{}", 401), (big, 401)):
        headers["Cookie"] = "sessionid=nobody"
        assert run(ask("POST", PATH, headers=headers, body=body)).status == wanted


def test_a_body_of_a_request_that_takes_none_is_passed_by(world):
    plain = run(ask("GET", "/api/v1/balance", headers=world.headers()))
    answer = run(ask("GET", "/api/v1/balance", headers=world.headers(), body=b'{"a": 1}'))
    assert (answer.status, answer.json()) == (200, plain.json())
    assert unread("/api/v1/balance", SMALL + 1, method="GET", **world.headers())[0] == 413


@pytest.fixture
def narrow(settings):
    """Room for 24,000 bytes, of which a caller may have 10,000."""
    settings.MAX_BODY_BYTES, settings.BODY_ROOM_BYTES = 10_000, 24_000


def test_one_caller_cannot_take_all_the_room(world, narrow):
    async def story():
        first = announce(length=8_000, **world.headers())
        give(first, b"{")
        await until_taken("all", 8_000)
        refused = await answer_of(announce(length=5_000, **world.headers()))
        growing = announce(length=None, **world.headers())
        give(growing, b"x" * 1_000)
        give(growing, b"x" * 4_000)
        grown = await answer_of(growing)
        other = announce(length=9_000, **world.headers(world.mal_key))
        give(other, b"x" * 9_000, more=False)
        another = await answer_of(other)
        await first.leave()
        return refused, grown, another, intake._room.taken("all")

    refused, grown, another, left = run(story())
    for status, headers, problem in (refused, grown):
        assert (status, problem["code"]) == (429, "throttled")
        assert int(headers["retry-after"]) > 0
    assert another[0] == 415  # it was read: it says not of what type it is
    assert left == 0


def test_when_all_room_is_taken_everybody_waits(world, narrow):
    _, third = keys.make(world.ada, name="another")

    async def story():
        held = [announce(length=9_000, **world.headers(key)) for key in (world.ada_key, world.mal_key)]
        await until_taken("all", 18_000)
        refused = await answer_of(announce(length=9_000, **world.headers(third)))
        for one in held:
            await one.leave()
        return refused

    status, headers, problem = run(story())
    assert (status, problem["code"]) == (503, "unavailable")
    assert int(headers["retry-after"]) > 0


def test_strangers_leave_room_for_callers(world, settings):
    settings.MAX_BODY_BYTES, settings.BODY_ROOM_BYTES = 10_000, 160_000

    async def story():
        first = announce("/accounts/login", 6_000)
        await until_taken("strangers", 6_000)
        refused = await answer_of(announce("/accounts/login", 6_000))  # of the same address
        own = announce(length=10_000, **world.headers())
        give(own, b"x" * 10_000, more=False)
        answered = await answer_of(own)
        await first.leave()
        return refused, answered

    (status, _, problem), answered = run(story())
    assert (status, problem["code"]) == (429, "throttled")
    assert answered[0] == 415  # it was read: it says not of what type it is


def test_room_is_given_back_when_the_body_is_dealt_with(world):
    body = json.dumps({"model": world.model, "input": {"prompt": "a vase"}}).encode()

    async def story():
        exchange = begin(
            "POST",
            PATH,
            headers={**world.headers(), "Content-Type": "application/json", "Prefer": "wait=60"},
            body=body,
        )
        await do(until, Prediction.objects.exists)
        await until_taken("all", 0)
        assert exchange.received.empty()  # and waits on
        await exchange.leave()

    run(story())


async def until_taken(owner: str, size: int) -> None:
    await do(until, lambda: intake._room.taken(owner) == size)


def test_who_stops_amid_a_body_is_told(world, monkeypatch):
    monkeypatch.setattr(intake, "GRACE_SECONDS", 0.1)

    async def story():
        exchange = announce(**world.headers())
        give(exchange, b"{")
        return await answer_of(exchange)

    status, _, problem = run(story())
    assert (status, problem["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(("path", "code"), [(PATH, "request_timeout"), ("/api/v1/assets", "upload_stalled")])
def test_who_trickles_is_told(world, monkeypatch, path, code):
    monkeypatch.setattr(intake, "PACE_BYTES", 10**9)
    monkeypatch.setattr(intake, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(intake, "STALL_SECONDS", 0.5)

    async def story():
        exchange = announce(path, 100_000, **world.headers())
        while exchange.received.empty():
            give(exchange, b"x")
            await asyncio.sleep(0.05)
        return await answer_of(exchange)

    status, _, problem = run(story())
    assert (status, problem["code"]) == (408, code)
    assert "slower" in problem["detail"]
