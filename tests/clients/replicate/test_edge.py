"""Replicate's requests that the edge holds, streams or takes a file from."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import urlsplit

import pytest

from playground.edge import media
from playground.edge.multipart import OneFile
from playground.facades.dialect import Scope
from playground.facades.replicate.dialect import DIALECT
from playground.models import Asset, Prediction, Upload
from tests.clients.replicate.test_show import events_of
from tests.edge.asgi import ask, begin, run
from tests.edge.buckets import ORIGIN
from tests.edge.conftest import world
from tests.edge.test_waits import is_watched, work_off
from tests.live.test_hub import do
from tests.predictions import cast

__all__ = ["world"]
PATH = "/v1/models/kiln/vase/predictions"
ONE = "replicate-python/1.0.7"
TWO = "_ModuleClient/Python 2.0.0-beta.4"
JS = "replicate-javascript/1.4.0"
PNG = b"\x89PNG"


def order(world, **more):
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {
        "headers": {**world.headers(), "Content-Type": "application/json", **named},
        "body": json.dumps({"input": {"prompt": "a vase"}}).encode(),
    }


def scope(path: str = PATH, method: str = "POST", **headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": pairs,
    }


@pytest.mark.parametrize(
    ("prefer", "limit", "least", "most"),
    [
        ("wait", None, 50, 60.4),  # version 1 stops listening after 60.5 s
        ("wait=60", None, 55, 60),
        ("wait=5", None, 3, 5),
        ("wait=1", None, 0.5, 1),
        ("wait=999", None, 50, 60),
        ("respond-async, wait=10", None, 8, 10),
        ("wait", "60", 50, 57),  # version 2 says when it does
        ("wait=30", "20", 15, 17),
        ("wait=30", "2", 0.9, 1.1),
        ("wait=30", "soon", 28, 30),
    ],
)
def test_a_wait_ends_before_the_client_stops_listening(prefer, limit, least, most):
    announced = {"x_stainless_read_timeout": limit} if limit else {}
    for path in (PATH, "/v1/predictions"):
        assert least <= DIALECT.waits(scope(path, prefer=prefer, **announced)) <= most


def test_what_does_not_wait():
    assert DIALECT.waits(scope()) is None
    assert DIALECT.waits(scope(prefer="respond-async")) is None
    assert DIALECT.waits(scope(prefer="await=5")) is None
    assert DIALECT.waits(scope("/v1/predictions", "GET", prefer="wait")) is None
    assert DIALECT.waits(scope("/v1/predictions/x/cancel", prefer="wait")) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("agent", "inline"), [(ONE, True), (TWO, True), ("curl/8", False)])
def test_a_wait_is_answered_at_the_end(world, agent, inline):
    """With the files in it for clients that make files of nothing else, where there is no TLS."""

    async def story():
        asked = asyncio.ensure_future(ask("POST", PATH, **order(world, Prefer="wait=30", User_Agent=agent)))
        await is_watched()
        await work_off()
        waited = await asked
        found = await ask("GET", f"/v1/predictions/{waited.json()['id']}", headers=world.headers())
        return waited, found

    waited, found = run(story())
    assert (waited.status, waited.headers["preference-applied"]) == (201, "wait=30")
    body = waited.json()
    assert waited.headers["location"] == body["urls"]["get"]
    assert body["status"] == "succeeded"
    (address,) = body["output"]
    if inline:
        assert address.startswith("data:image/png;base64,")
        assert base64.b64decode(address.partition(",")[2]).startswith(PNG)
    (later,) = found.json()["output"]
    assert later.startswith("http://localhost/media/")
    assert {**found.json(), "output": 0} == {**body, "output": 0}
    assert inline or address == later


@pytest.mark.django_db(transaction=True)
def test_a_wait_that_was_too_short_says_starting(world):
    async def story():
        asked = asyncio.ensure_future(ask("POST", PATH, **order(world, Prefer="wait=1")))
        await is_watched()
        (job,) = await do(cast.claim)
        await do(cast.step, job, 2)
        waited = await asked
        return waited, await ask("GET", f"/v1/predictions/{waited.json()['id']}", headers=world.headers())

    waited, found = run(story())
    assert (waited.status, waited.json()["status"], waited.json()["output"]) == (201, "starting", None)
    assert found.json()["status"] == "processing"


@pytest.mark.django_db(transaction=True)
def test_who_waited_in_vain_is_shown_the_files_when_they_are_there(world):
    """`run` of these clients asks again until the end, and makes files of what that says. Nobody else gets them so."""

    async def poll(created, agent):
        headers = {**world.headers(), "User-Agent": agent}
        (address,) = (await ask("GET", urlsplit(created["urls"]["get"]).path, headers=headers)).json()[
            "output"
        ]
        return address.partition(":")[0]

    async def story():
        waited = (await ask("POST", PATH, **order(world, Prefer="wait=1", User_Agent=ONE))).json()
        created = (await ask("POST", PATH, **order(world, User_Agent=ONE))).json()
        await work_off()
        await work_off()
        agents = (ONE, "curl/8", TWO, "curl/8", JS)
        return waited, [await poll(waited, agent) for agent in agents], await poll(created, ONE)

    waited, shown, created = run(story())
    assert (waited["status"], waited["output"]) == ("starting", None)
    assert shown == ["data", "http", "data", "http", "data"]
    assert created == "http"  # it never waited


@pytest.mark.django_db(transaction=True)
def test_a_client_that_sends_its_request_again_gets_the_first_run(world):
    """Version 2 sends it up to three times, with a count and without a key."""

    async def story():
        answers = []
        for count in ("0", "1", "2"):
            named = order(world, X_Stainless_Retry_Count=count, User_Agent=TWO)
            answers.append((await ask("POST", PATH, **named)).json()["id"])
        another = await ask("POST", PATH, **order(world, X_Stainless_Retry_Count="0", User_Agent=TWO))
        plain = [(await ask("POST", PATH, **order(world))).json()["id"] for _ in range(2)]
        return answers, another.json()["id"], plain

    answers, another, plain = run(story())
    assert len(set(answers)) == 1
    assert len({*answers, another, *plain}) == 4  # who wants the same picture again gets it
    assert Prediction.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_a_run_is_followed_without_a_key(world):
    async def story():
        created = (await ask("POST", PATH, **order(world))).json()
        path = urlsplit(created["urls"]["stream"]).path
        exchange = begin("GET", path, headers={"Accept": "text/event-stream"})
        status, headers = await exchange.start()
        first = await exchange.next()
        await work_off()
        rest = await exchange.body()
        again = await ask("GET", path)
        forged = await ask("GET", path[:-1])
        return status, headers, first["body"] + rest, again, forged

    status, headers, body, again, forged = run(story())
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    told = events_of(body)
    assert [one[0] for one in told if one[0] != "logs"] == ["output", "done"]
    logs = "\n".join(one[2] for one in told if one[0] == "logs").split("\n")
    assert logs[0].startswith("Using seed: ")
    assert [line.partition("|")[0] for line in logs if "%|" in line] == [" 25%", " 50%", " 75%", "100%"]
    assert "done" in logs
    late = events_of(again.body)
    assert [one[0] for one in late] == ["logs", "output", "done"]
    assert (forged.status, forged.json()["title"]) == (404, "Not found")


@pytest.mark.django_db(transaction=True)
def test_who_comes_back_to_a_stream_misses_nothing(world):
    """As an EventSource does when its connection ends: with the id of the last event that it had."""

    async def story():
        created = (await ask("POST", PATH, **order(world))).json()
        path = urlsplit(created["urls"]["stream"]).path
        exchange = begin("GET", path)
        await exchange.start()
        first = events_of((await exchange.next())["body"])
        await exchange.leave()
        await work_off()
        came = [first]
        while came[-1][-1][0] != "done":
            headers = {"Last-Event-ID": came[-1][-1][1]}
            came.append(events_of((await ask("GET", path, headers=headers)).body)[:1])
        over = await ask("GET", path, headers={"Last-Event-ID": came[-1][-1][1]})
        return [one for each in came for one in each], over

    told, over = run(story())
    assert [name for name, _, _ in told] == ["logs", "logs", "output", "done"]
    lines = [line for name, _, data in told if name == "logs" for line in data.split("\n")]
    assert len(lines) == len(set(lines))
    assert [line.partition("|")[0] for line in lines if "%|" in line] == [" 25%", " 50%", " 75%", "100%"]
    assert (over.status, over.body) == (204, b"")


@pytest.mark.django_db(transaction=True)
def test_a_client_that_was_given_the_address_for_another_one_is_answered(world):
    """Version 2 and JavaScript without `/v1`, and version 1 with it: both Pythons read one variable."""

    def named(agent: str):
        return {**world.headers(), "User-Agent": agent}

    async def story():
        made = await ask("POST", PATH.removeprefix("/v1"), **order(world, User_Agent=JS))
        uid = made.json()["id"]
        body, header = form(("content", "in.png", cast.png(3, edge=16)))
        file = await ask("POST", "/files", headers={**named(TWO), **header}, body=body)
        polls = [
            await ask("GET", f"/predictions/{uid}", headers=named(TWO)),
            await ask("GET", f"/v1/v1/predictions/{uid}", headers=named(ONE)),
            await ask("GET", f"/v1/predictions/{uid}", headers=named("curl/8")),
        ]
        return made, file, polls, await ask("GET", "/v1/v1/v1/predictions", headers=named(ONE))

    made, file, polls, nothing = run(story())
    assert (made.status, file.status) == (201, 201)
    assert made.json()["urls"]["get"] == f"http://localhost/v1/predictions/{made.json()['id']}"
    assert [one.status for one in polls] == [200, 200, 200]
    assert len({one.body for one in polls}) == 1
    assert nothing.status == 404


def test_a_wait_at_such_an_address_is_one():
    hub = "unknown/None; hf_hub/2.4.0; python/3.11"
    for path, agent in ((PATH.removeprefix("/v1"), JS), (f"/v1{PATH}", ONE), (f"/replicate{PATH}", hub)):
        asked = scope(path, prefer="wait=10", **{"user-agent": agent})
        DIALECT.lead(asked)
        assert (asked["path"], asked["raw_path"]) == (PATH, PATH.encode())
        assert DIALECT.waits(asked)
    openai = "_ModuleClient/Python 3.54.0"
    others = [("/predictions", "curl/8"), ("/models", openai), ("/models", "OpenAI/Python 3.54.0")]
    paths = ("/accounts/login", "/m/kiln/vase", "/modelsx", "/v1x/v1/predictions", "/")
    for path, agent in (*others, *((path, JS) for path in paths)):
        asked = scope(path, **{"user-agent": agent})
        DIALECT.lead(asked)
        assert asked["path"] == path


@pytest.mark.django_db(transaction=True)
def test_outputs_in_a_bucket_can_be_read_by_every_client(world, settings, tmp_path):
    """Version 1 follows no redirect and sends its key wherever it reads, and `use()` of version 2 reads with a client
    that follows none; the others follow, and send no key."""
    bucket = {"BACKEND": "tests.edge.buckets.Bucket", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "default": bucket}
    settings.MEDIA_BUCKET = "shelf"
    media._known.clear()

    async def story():
        asked = asyncio.ensure_future(ask("POST", PATH, **order(world, Prefer="wait=30", User_Agent=ONE)))
        await is_watched()
        await work_off()
        inlined = (await asked).json()
        polled = await ask("GET", f"/v1/predictions/{inlined['id']}", headers=world.headers())
        path = urlsplit(polled.json()["output"][0]).path
        key = world.headers()
        reads = [await ask(method, path, headers=key) for method in ("GET", "HEAD")]
        reads.append(await ask("GET", path, headers={"User-Agent": "python-httpx/0.28.1"}))
        parts = [
            await ask("GET", path, headers={**key, "Range": wanted})
            for wanted in ("bytes=1-3", "bytes=9999999-")
        ]
        led = await ask("GET", path)
        await do(Asset.objects.update, storage_name="gone.png")
        media._known.clear()
        return inlined, reads, parts, led, await ask("GET", path, headers=key)

    inlined, (whole, head, used), (part, beyond), led, gone = run(story())
    picture = base64.b64decode(inlined["output"][0].partition("data:image/png;base64,")[2])
    assert picture.startswith(PNG)
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, picture, "image/png")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(picture)))
    assert (used.status, used.body) == (200, picture)
    assert (part.status, part.body) == (206, picture[1:4])
    assert part.headers["content-range"] == f"bytes 1-3/{len(picture)}"
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(picture)}")
    assert led.status == 302
    assert led.headers["location"].startswith(ORIGIN)
    assert "image%2Fpng" in led.headers["location"]
    assert gone.status == 404


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form's body and its header; each part has a name, a filename or none, and what it holds."""
    body = b""
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        body += (
            f'--xyz\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
        )
    return body + b"--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


@pytest.mark.django_db(transaction=True)
def test_an_address_that_is_none(world):
    for path in ("/v1/nothing", "/v1/models/kiln", "/v1/predictions/"):
        answer = run(ask("GET", path, headers=world.headers()))
        assert (answer.status, answer.json()["title"]) == (404, "Not found")
        assert answer.headers["content-type"] == "application/problem+json"


FILE = ("content", "in.png", b"")
SAID = [
    ([FILE, ("metadata", None, b'{"shelf": 3}')], {"shelf": 3}, "in.png"),  # version 1
    (
        [("metadata", "blob", b'{"shelf": 3}'), FILE],
        {"shelf": 3},
        "in.png",
    ),  # JavaScript: a part that is a file
    (
        [("filename", None, b"vase.png"), ("metadata[a][b]", None, b"1"), ("type", None, b"image/png"), FILE],
        {"a": {"b": "1"}},
        "vase.png",
    ),  # version 2
    ([FILE], {}, "in.png"),
]
UNUSABLE = [
    ([("content", "a.txt", b"words")], 422),
    ([("content", "a.png", b"")], 422),
    ([("other", "a.png", PNG)], 400),
    ([FILE, FILE], 400),
    ([FILE, ("metadata", None, b"[1]")], 422),
    ([FILE, ("metadata", None, b"{")], 400),
    ([FILE, ("type", None, b"image/jpeg")], 422),
]


def filled(parts, number: int):
    """The parts with a picture where the file stands."""
    return [
        (name, file, cast.png(number, edge=16)) if (name, file, data) == FILE else (name, file, data)
        for name, file, data in parts
    ]


@pytest.mark.django_db(transaction=True)
def test_a_file_comes_with_what_is_said_of_it(world):
    for number, (parts, said, name) in enumerate(SAID):
        body, header = form(*filled(parts, number))
        answer = run(ask("POST", "/v1/files", headers={**world.headers(), **header}, body=body))
        assert answer.status == 201, answer.body
        shown = answer.json()
        assert (shown["metadata"], shown["name"], shown["content_type"]) == (said, name, "image/png")
        assert shown["urls"]["get"] == f"http://localhost/v1/files/{shown['id']}"


@pytest.mark.django_db(transaction=True)
def test_a_file_that_cannot_be_kept(world):
    for number, (parts, status) in enumerate(UNUSABLE):
        body, header = form(*filled(parts, number))
        answer = run(ask("POST", "/v1/files", headers={**world.headers(), **header}, body=body))
        assert (answer.status, answer.json()["status"]) == (status, status), (parts, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
    assert not Asset.objects.exists()
    assert not Upload.objects.exists()


def test_the_file_of_a_form_is_found_however_it_is_cut():
    body, _ = form(
        ("metadata", "blob", b'{"a": 1}'), ("content", "in.png", b"\r\n--xy" * 9), ("type", None, b"x")
    )
    for size in (1, 3, 7, len(body)):
        parser, out = OneFile(b"xyz", name="content"), b""
        for start in range(0, len(body), size):
            out += parser.feed(body[start : start + size])
        parser.end()
        assert out == b"\r\n--xy" * 9
        assert parser.fields == {"metadata": b'{"a": 1}', "type": b"x"}
        assert parser.filename == "in.png"
