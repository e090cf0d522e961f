"""Realtime connections in this process: who is let in, one run for each message, and what is told when it cannot be."""

from __future__ import annotations

import asyncio
import json

import msgpack
import pytest

from marketplace import keys
from playground.edge import talks
from playground.edge.heard import Heard
from playground.facades.fal import limits, realtime, tokens
from playground.facades.fal.proxy import target
from playground.models import Prediction
from tests.clients.fal.asked import sent
from tests.edge.asgi import Exchange, ask, run
from tests.live.test_hub import do
from tests.predictions import cast

database = pytest.mark.django_db(transaction=True)
PATH = "/fal/run/kiln/vase/realtime"


def opened(query: str = "", *, path: str = PATH, **headers: str) -> Exchange:
    """Open a connection."""
    from playground.asgi import application

    named = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
        "subprotocols": [],
        "client": ("127.0.0.1", 1),
    }
    exchange = Exchange()
    exchange.sent.put_nowait({"type": "websocket.connect"})
    exchange.task = asyncio.ensure_future(application(scope, exchange.sent.get, exchange.received.put))
    return exchange


def say(exchange: Exchange, message: object) -> None:
    exchange.sent.put_nowait({"type": "websocket.receive", "bytes": msgpack.packb(message)})


async def heard(exchange: Exchange) -> object:
    """The next message: unpacked, or read as JSON; or the code that the connection is closed with."""
    message = await exchange.next()
    if message["type"] == "websocket.close":
        return message["code"]
    assert message["type"] == "websocket.send", message
    return json.loads(message["text"]) if "text" in message else msgpack.unpackb(message["bytes"])


async def accepted(exchange: Exchange) -> Exchange:
    assert (await exchange.next())["type"] == "websocket.accept"
    return exchange


async def token_of(world, *apps: str, key: str = "") -> str:
    body = {"allowed_apps": list(apps), "token_expiration": 120}
    answer = await ask("POST", "/fal/rest/tokens/", **sent(world, body, key=key))
    assert answer.status == 201, answer.body
    assert isinstance(answer.json(), str)
    return answer.json()


async def there(count: int) -> None:
    """Wait until so many runs came to be."""
    while await do(Prediction.objects.count) < count:  # noqa: ASYNC110 - the database tells nobody
        await asyncio.sleep(0.01)


async def made(count: int, **named) -> None:
    """A worker that makes `count` runs as they come."""
    while count:
        jobs = await do(cast.claim, limit=count)
        for job in jobs:
            await do(cast.succeed, job, **named)
        count -= len(jobs)
        await asyncio.sleep(0.01)


@database
def test_each_message_is_one_run_answered_in_order(world):
    async def story():
        token = await token_of(world, "vase")
        exchange = await accepted(opened(f"fal_jwt_token={token}"))
        for number in range(3):
            say(exchange, {"prompt": "cat", "request_id": str(number), "seed": number})
        await made(3)
        answers = [await heard(exchange) for _ in range(6)]
        await exchange.leave_socket()
        return answers

    answers = run(story())
    results, times = answers[::2], answers[1::2]
    assert [one["request_id"] for one in results] == ["0", "1", "2"]
    assert all(one["images"][0]["url"].startswith("http") for one in results)
    assert all(one["type"] == "x-fal-message" and one["action"] == "timings" for one in times)
    rows = Prediction.objects.order_by("id")
    assert [(row.via, row.workspace, row.input["seed"]) for row in rows] == [
        ("fal", world.ada, number) for number in range(3)
    ]
    cast.money_is_right()


@database
def test_runs_of_several_connections_share_a_batch(world):
    async def story():
        key = {"Authorization": f"Key {world.ada_key}"}
        both = [await accepted(opened(**key)) for _ in range(2)]
        for number, exchange in enumerate(both):
            say(exchange, {"prompt": "cat", "seed": number})
        await there(2)
        jobs = await do(cast.claim, limit=4)
        for job in jobs:
            await do(cast.succeed, job)
        told = [await heard(exchange) for exchange in both]
        for exchange in both:
            await exchange.leave_socket()
        return len(jobs), told

    together, told = run(story())
    assert together == 2
    assert all(one["images"] for one in told)


@database
@pytest.mark.parametrize("apps", [["vase"], ["kiln/vase"], ["kiln/vase/realtime"], ["jug", "kiln/vase"]])
def test_a_token_opens_its_app_by_any_of_its_names(world, apps):
    async def story():
        exchange = await accepted(opened(f"fal_jwt_token={await token_of(world, *apps)}"))
        say(exchange, {"prompt": 1})
        told = await heard(exchange)
        await exchange.leave_socket()
        return told

    told = run(story())
    assert (told["type"], told["status"]) == ("x-fal-error", 422)


@database
def test_who_is_not_let_in_is_told_so(world):
    _, weak = keys.make(world.ada, name="weak", scopes=["predictions:read"])

    async def refused(query: str = "", **headers: str):
        exchange = await accepted(opened(query, **headers))
        return [await heard(exchange), await heard(exchange)]

    async def story():
        elsewhere = await token_of(world, "jug")
        key, _ = await do(keys.make, world.ada, name="over")
        over, _ = await do(lambda: tokens.issue(tokens.Purpose.REALTIME, key, seconds=-1, apps=["vase"]))
        upload, _ = await do(lambda: tokens.issue(tokens.Purpose.UPLOAD, key, seconds=60, apps=["vase"]))
        return [
            await refused(),
            await refused("fal_jwt_token=nonsense"),
            await refused(f"fal_jwt_token={over}"),
            await refused(f"fal_jwt_token={upload}"),
            await refused(Authorization="Key a:b"),
            await refused(f"fal_jwt_token={elsewhere}"),
            await refused(Authorization=f"Key {weak}"),
            await refused("max_buffering=61", Authorization=f"Key {world.ada_key}"),
        ]

    *strangers, elsewhere, weak_one, too_many = run(story())
    assert strangers == [[{"status": "error", "error": "Unauthorized"}, 1008]] * 5
    assert [one[0]["error"] for one in (elsewhere, weak_one, too_many)] == [
        "FORBIDDEN",
        "FORBIDDEN",
        "BAD_REQUEST",
    ]
    assert not Prediction.objects.exists()


@database
def test_what_a_message_asks_wrongly_is_told_and_the_next_one_answered(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        exchange.sent.put_nowait({"type": "websocket.receive", "bytes": b"\xc1"})
        say(exchange, ["a list"])
        say(exchange, {"prompt": "cat", "steps": 4000, "request_id": "wrong"})
        say(exchange, {"prompt": "cat", "sync_mode": "yes"})
        exchange.sent.put_nowait(
            {"type": "websocket.receive", "text": '{"prompt": "in JSON", "request_id": 5}'}
        )
        await made(1)
        told = [await heard(exchange) for _ in range(5)]
        await exchange.leave_socket()
        return told

    *wrong, good = run(story())
    assert [one["error"] for one in wrong[:2]] == ["BAD_REQUEST", "BAD_REQUEST"]
    assert (wrong[2]["request_id"], wrong[2]["detail"][0]["loc"]) == ("wrong", ["body", "steps"])
    assert wrong[3]["detail"][0]["loc"] == ["body", "sync_mode"]
    assert (good["request_id"], good["prompt"]) == (5, "in JSON")


@database
def test_what_means_nothing_is_told_and_pictures_come_along_where_they_are_wanted(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        say(exchange, {"prompt": "cat", "sync_mode": True, "enable_safety_checker": True, "request_id": "a"})
        await made(1)
        told = [await heard(exchange), await heard(exchange)]
        await exchange.leave_socket()
        return told

    note, result = run(story())
    assert (note["action"], note["fields"], note["request_id"]) == ("ignored", ["enable_safety_checker"], "a")
    assert result["images"][0]["url"].startswith("data:image/png;base64,")


@database
def test_a_run_that_fails_is_an_error_of_its_message(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        say(exchange, {"prompt": "cat", "request_id": "a"})
        await there(1)
        jobs = await do(cast.claim)
        await do(cast.fail, jobs[0])
        told = await heard(exchange)
        await exchange.leave_socket()
        return told

    told = run(story())
    assert (told["type"], told["request_id"], told["reason"]) == ("x-fal-error", "a", "It broke.")
    cast.money_is_right()


@database
def test_of_what_waits_the_newest_is_kept_and_the_rest_told(world):
    async def story():
        exchange = await accepted(opened("max_buffering=1", Authorization=f"Key {world.ada_key}"))
        say(exchange, {"prompt": "first", "request_id": "1"})
        await there(1)
        jobs = await do(cast.claim)
        for number in ("2", "3", "4"):
            say(exchange, {"prompt": "later", "request_id": number})
        dropped = [await heard(exchange), await heard(exchange)]
        await do(cast.succeed, jobs[0])
        working = asyncio.ensure_future(made(1))
        told = [await heard(exchange) for _ in range(4)]
        await working
        await exchange.leave_socket()
        return dropped, told

    dropped, told = run(story())
    assert [(one["action"], one["request_id"]) for one in dropped] == [("dropped", "2"), ("dropped", "3")]
    assert [one["request_id"] for one in told[::2]] == ["1", "4"]
    assert Prediction.objects.count() == 2


@database
def test_whoever_leaves_has_what_was_not_answered_cancelled(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        say(exchange, {"prompt": "cat"})
        await there(1)
        await exchange.leave_socket()

    run(story())
    assert Prediction.objects.get().status == "canceled"
    cast.money_is_right()


@database
def test_an_idle_connection_is_closed_kindly(world, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.05)

    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        return [await heard(exchange), await heard(exchange)]

    error, code = run(story())
    assert (error["type"], error["error"], code) == ("x-fal-error", "TIMEOUT", 1000)


@database
def test_a_key_that_is_revoked_ends_the_connection_at_its_next_message(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        await do(lambda: keys.revoke(keys.resolve(world.ada_key)))
        say(exchange, {"prompt": "cat"})
        return [await heard(exchange), await heard(exchange)]

    assert run(story()) == [{"status": "error", "error": "Unauthorized"}, 1008]
    assert not Prediction.objects.exists()


@database
def test_a_key_that_loses_its_scope_ends_the_connection_at_its_next_message(world):
    async def story():
        exchange = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        say(exchange, "nothing")
        await heard(exchange)  # it was let in
        await do(lambda: keys.change(keys.resolve(world.ada_key), scopes=["predictions:read"]))
        say(exchange, {"prompt": "cat"})
        return [await heard(exchange), await heard(exchange)]

    assert run(story()) == [{"status": "error", "error": "Unauthorized"}, 1008]
    assert not Prediction.objects.exists()


@database
def test_a_workspace_has_so_many_connections(world, monkeypatch):
    monkeypatch.setattr(talks._crowd, "limit", 1)

    async def story():
        first = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        say(first, "nothing")
        await heard(first)  # it has its place
        second = await accepted(opened(Authorization=f"Key {world.ada_key}"))
        told = [await heard(second), await heard(second)]
        await first.leave_socket()
        return told

    told, code = run(story())
    assert (told["error"], code) == ("TOO_MANY_CONNECTIONS", 1013)


@database
def test_addresses_without_a_connection_are_refused_before_they_are_opened(world):
    async def story():
        paths = ("/fal/run/kiln/vase/ws", "/fal/run/kiln/vase/dev/realtime", "/fal/queue/kiln/vase/realtime")
        return [(await opened(path=path, origin="http://localhost").next())["type"] for path in paths]

    assert run(story()) == ["websocket.close"] * 3


def test_bytes_in_a_message_are_a_file():
    message = realtime.read(msgpack.packb({"image": cast.png(), "request_id": "a"}))
    assert message.input["image"].startswith("data:image/png;base64,")
    assert message.request_id == "a"


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan")},
        {"a": "\0"},
        {1: "a"},
        {"a": b"MZ"},
        {"request_id": ["a"]},
        {"request_id": "a" * 201},
        {"a": msgpack.Timestamp(1)},
        {"a": msgpack.ExtType(5, b"x")},
        "text",
        None,
    ],
)
def test_messages_that_are_refused(value):
    with pytest.raises(realtime.Malformed):
        realtime.read(msgpack.packb(value))


def test_no_more_is_read_while_much_waits():
    class Line:
        is_read = True

        def pauseProducing(self):  # noqa: N802 - Twisted's word
            self.is_read = False

        def resumeProducing(self):  # noqa: N802
            self.is_read = True

    async def story():
        line = Line()
        ear = Heard(line, 10_000)
        for _ in range(4):
            ear.put_nowait({"type": "websocket.receive", "bytes": b"x" * 4000})
        held = line.is_read
        for _ in range(4):
            await ear.get()
        return held, line.is_read

    assert asyncio.run(story()) == (False, True)


def test_what_waits_is_bounded_by_its_bytes_too(monkeypatch):
    monkeypatch.setattr(limits, "BUFFER_BYTES", 1000)
    small, large = realtime.Message({}, "small", 10), realtime.Message({}, "large", 600)
    every, newest = realtime.Buffer(None), realtime.Buffer(60)
    assert [every.put(one) for one in (small, large)] == [[], []]
    assert not every.is_full
    every.put(large)
    assert every.is_full
    every.take(), every.take()
    assert not every.is_full
    assert [newest.put(one) for one in (small, large, large)] == [[], [], [small, large]]
    assert len(newest) == 1
    assert realtime.read(b"\x81\xa1a\x01").size == 4


@pytest.mark.parametrize(
    "frame",
    [
        b"\xdd" + (2**20).to_bytes(4, "big") + b"\x01" * 2**20,
        msgpack.packb({"a": [[[]] * 1000] * 1000}),
        msgpack.packb({"a": [{str(n): {} for n in range(1000)}] * 1000}),
    ],
)
def test_a_message_has_so_many_values(frame, monkeypatch):
    monkeypatch.setattr(realtime, "walk", lambda value: pytest.fail("it was taken in whole"))
    with pytest.raises(realtime.Malformed):
        realtime.read(frame)


def test_depth_is_bounded():
    value: object = 1
    for _ in range(60):
        value = {"a": value}
    for frame in (msgpack.packb(value), json.dumps(value), b"\x91" * 2000, "[" * 100_000):
        with pytest.raises(realtime.Malformed):
            realtime.read(frame)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (
            "https://queue.fal.run/kiln/vase/requests/1/status?logs=1",
            "/fal/queue/kiln/vase/requests/1/status",
        ),
        ("https://fal.run/kiln/vase", "/fal/run/kiln/vase"),
        ("https://rest.fal.ai/tokens/", "/fal/rest/tokens/"),
        ("https://v3.fal.media/files/upload", "/fal/cdn/files/upload"),
        ("https://api.fal.ai/v1/models", "/fal/v1/models"),
        ("https://queue.fal.run:443/kiln/vase", "/fal/queue/kiln/vase"),
    ],
)
def test_where_the_proxy_leads(wanted, path):
    found = target("POST", "/api/fal/proxy", wanted)
    assert found is not None
    assert found[0].inside == path
    assert found[1] == (b"logs=1" if "?" in wanted else b"")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "http://fal.run/kiln/vase",
        "https://fal.run.evil.example/kiln/vase",
        "https://evil.example/?https://fal.run/",
        "https://evil@fal.run/kiln/vase",
        "https://fal.run:8443/kiln/vase",
        "https://fal.run/../api/v1/keys",
        "https://fal.run/%2e%2e/api/v1/keys",
        "https://fal.ai/models",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://[fal.run/x",
        "https://fal.run\\@evil.example/",
        "https://fal.run/a b",
        "https://fal.run/\r\nHost: evil",
        "file:///etc/passwd",
        "//fal.run/kiln/vase",
        "https://fal.run/" + "a" * 3000,
        "https://ｆal.run/kiln/vase",
    ],
)
def test_where_the_proxy_does_not_lead(wanted):
    assert target("POST", "/api/fal/proxy", wanted) is None
    assert target("DELETE", "/api/fal/proxy", "https://fal.run/kiln/vase") is None
    assert target("POST", "/fal/queue/kiln/vase", "https://fal.run/kiln/vase") is None


@database
def test_the_proxy_answers_as_the_target_does(world):
    def through(wanted: str, method: str = "POST", **headers: str):
        given = sent(world, {"prompt": "a vase"}, X_Fal_Target_Url=wanted, **headers)
        if method == "GET":
            given["body"] = b""
        return run(ask(method, "/api/fal/proxy", **given))

    made_one = through("https://queue.fal.run/kiln/vase")
    assert made_one.status == 200, made_one.body
    assert made_one.json()["status_url"].startswith("http://localhost/fal/queue/kiln/vase/requests/")
    status = f"https://queue.fal.run/kiln/vase/requests/{made_one.json()['request_id']}/status?logs=1"
    assert through(status, "GET").json()["status"] == "IN_QUEUE"
    assert through("https://evil.example/x").status == 400
    assert through("").status == 400
    stranger = run(
        ask(
            "POST",
            "/api/fal/proxy",
            headers={"X-Fal-Target-Url": "https://queue.fal.run/kiln/vase"},
            body=b"{}",
        )
    )
    assert stranger.status == 401
    assert Prediction.objects.count() == 1
