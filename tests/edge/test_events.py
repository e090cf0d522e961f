"""Server-sent events: who may see them, what they look like, when they end."""

from __future__ import annotations

import asyncio

import pytest

from playground.edge import events
from tests.edge.asgi import ask, begin, run
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_stream_tells_the_whole_life_and_ends(world):
    row = cast.submit(world.ada)

    async def story():
        exchange = begin("GET", f"/api/v1/predictions/{row.uid}/events", headers=world.headers())
        status, headers = await exchange.start()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert headers["cache-control"] == "no-store"
        assert headers["x-request-id"]
        told = []
        async for event in exchange.events():
            told.append(event)
            if len(told) == 1:
                (job,) = await do(cast.claim)
                await do(cast.step, job, 1)
                await do(cast.succeed, job)
        return told

    told = run(story())
    assert told[0]["status"] == "queued"
    assert told[-1]["status"] == "succeeded"
    assert told[-1]["output"]["images"][0]["url"].endswith(".png")
    assert [one["seq"] for one in told] == sorted(one["seq"] for one in told)
    assert {one["type"] for one in told} == {"state"}
    assert all("workspace" not in one for one in told)


def test_an_eventsource_that_comes_back_after_the_end_is_told_to_stay_away(world):
    row = cast.submit(world.ada)
    (job,) = cast.claim()
    cast.succeed(job)
    path = f"/api/v1/predictions/{row.uid}/events"

    async def story():
        first = await ask("GET", path, headers=world.headers())
        seq = int(first.body.split(b"\n")[0].removeprefix(b"id: "))
        again = await ask("GET", path, headers={**world.headers(), "Last-Event-ID": str(seq)})
        odd = await ask("GET", path, headers={**world.headers(), "Last-Event-ID": "9" * 5000})
        assert odd.body == (await ask("GET", path, headers={**world.headers(), "Last-Event-ID": "\xb2"})).body
        return first, again, odd

    first, again, odd = run(story())
    assert first.body.count(b"data: ") == 1
    assert (again.status, again.body) == (204, b"")
    assert odd.body == first.body


def test_silence_is_filled(world, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    row = cast.submit(world.ada)

    async def story():
        exchange = begin("GET", f"/api/v1/predictions/{row.uid}/events", headers=world.headers())
        await exchange.start()
        async with asyncio.timeout(20):
            while (await exchange.next())["body"] != b":\n\n":
                pass
        await exchange.leave()

    run(story())


@pytest.mark.parametrize("scheme", ["Bearer", "Key", "Token", "X-API-Key"])
def test_every_spelling_of_a_key_and_an_id_is_understood(world, scheme):
    row = cast.submit(world.ada)
    (job,) = cast.claim()
    cast.succeed(job)
    sent = (
        {"X-API-Key": world.ada_key}
        if scheme == "X-API-Key"
        else {"Authorization": f"{scheme} {world.ada_key}"}
    )

    async def story():
        for spelling in (row.uid, row.uid.removeprefix("p_"), str(row.public_id)):
            answer = await ask("GET", f"/api/v1/predictions/{spelling}/events", headers=sent)
            assert answer.status == 200

    run(story())


def test_strangers_are_told_nothing(world):
    row = cast.submit(world.ada)
    path = f"/api/v1/predictions/{row.uid}/events"

    async def story():
        mal = await ask("GET", path, headers=world.headers(world.mal_key))
        never = await ask(
            "GET", f"/api/v1/predictions/p_{'0' * 26}/events", headers=world.headers(world.mal_key)
        )
        odd = await ask("GET", "/api/v1/predictions/%00/events", headers=world.headers())
        nobody = await ask("GET", path)
        broken = await ask(
            "GET", path, headers={"Authorization": "Bearer nonsense", "X-Request-Id": "mine-1234"}
        )
        return mal, never, odd, nobody, broken

    mal, never, odd, nobody, broken = run(story())
    assert mal.status == never.status == odd.status == 404
    assert {**mal.json(), "request_id": ""} == {**never.json(), "request_id": ""}
    assert (nobody.status, nobody.json()["code"]) == (401, "not_authenticated")
    assert (broken.status, broken.json()["code"]) == (401, "invalid_key")
    assert broken.headers["content-type"] == "application/problem+json"
    assert broken.headers["www-authenticate"].startswith("Bearer")
    assert broken.json()["request_id"] == broken.headers["x-request-id"] == "mine-1234"


def test_a_key_without_the_scope_is_refused(world):
    from marketplace import keys

    row = cast.submit(world.ada)
    _, narrow = keys.make(world.ada, name="narrow", scopes=["models:read"])

    async def story():
        return await ask("GET", f"/api/v1/predictions/{row.uid}/events", headers=world.headers(narrow))

    answer = run(story())
    assert (answer.status, answer.json()["needed_scope"]) == (403, "predictions:read")


def test_a_revoked_key_is_forgotten(world, monkeypatch):
    from django.utils import timezone

    from marketplace import keys
    from marketplace.models import ApiKey
    from playground.edge import callers

    monkeypatch.setattr(callers, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(keys, "KEEP_SECONDS", 0.0)
    row = cast.submit(world.ada)
    (job,) = cast.claim()
    cast.succeed(job)
    path = f"/api/v1/predictions/{row.uid}/events"

    async def story():
        before = await ask("GET", path, headers=world.headers())
        await do(ApiKey.objects.filter(workspace=world.ada).update, revoked_at=timezone.now())
        return before, await ask("GET", path, headers=world.headers())

    before, after = run(story())
    assert (before.status, after.status) == (200, 401)


def test_trouble_of_the_database_is_told_and_not_shown(world, monkeypatch):
    from django.db import OperationalError

    from playground.edge import callers

    def down(session_key):
        raise OperationalError("secret of the house")

    monkeypatch.setattr(callers, "_person", down)
    row = cast.submit(world.ada)

    async def story():
        return await ask("GET", f"/api/v1/predictions/{row.uid}/events", headers={"Cookie": "sessionid=x"})

    answer = run(story())
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "2")
    assert b"secret" not in answer.body


def test_a_workspace_has_so_many_streams(world, monkeypatch):
    monkeypatch.setattr(events._crowd, "limit", 1)
    row = cast.submit(world.ada)
    path = f"/api/v1/predictions/{row.uid}/events"

    async def story():
        first = begin("GET", path, headers=world.headers())
        await first.start()
        refused = await ask("GET", path, headers=world.headers())
        await first.leave()
        (job,) = await do(cast.claim)
        await do(cast.succeed, job)
        return refused, await ask("GET", path, headers=world.headers())

    refused, later = run(story())
    assert (refused.status, refused.json()["code"]) == (429, "throttled")
    assert refused.headers["retry-after"]
    assert later.status == 200
