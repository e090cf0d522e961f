"""Polling: the same answers as Django's, from Redis."""

from __future__ import annotations

import asyncio

import pytest

from playground import live, predictions
from playground.edge import polls
from tests.edge.asgi import ask, run
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"


@pytest.fixture
def by_django(world):
    """What Django answers: the edge leaves to it what comes without a key it can read, as a session's."""

    async def get(row):
        return predictions.as_json(await do(cast.again, row))

    return get


async def poll(world, row, key=None):
    return await ask("GET", f"{PATH}/{row.uid}", headers=world.headers(key))


def test_every_moment_of_a_life_is_told_as_django_tells_it(world, by_django):
    row = cast.submit(world.ada)

    async def story():
        for act in (None, cast.claim, "step", "succeed"):
            if act is cast.claim:
                (job,) = await do(cast.claim)
            elif act is not None:
                await do(getattr(cast, act), job, *([2] if act == "step" else []))
            for _ in range(2):  # read, and kept
                answer = await poll(world, row)
                assert answer.headers["cache-control"] == "no-store"
                assert answer.json() == await by_django(row)
        return answer

    answer = run(story())
    assert answer.json()["status"] == "succeeded"
    assert "allow" not in answer.headers  # which Django would have sent


def test_addresses_are_those_of_each_who_asks_behind_a_proxy(world, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    path = f"/v1/predictions/{cast.submit(world.ada).uid.removeprefix('p_')}"

    async def story():
        told = []
        for scheme in ("https", "http", "https"):
            headers = {**world.headers(), "Host": "localhost", "X-Forwarded-Proto": scheme}
            told.append((await ask("GET", path, headers=headers)).json()["urls"]["get"])
        return told

    assert run(story()) == [f"{scheme}://localhost{path}" for scheme in ("https", "http", "https")]


def test_others_are_left_to_django_and_told_nothing(world):
    row = cast.submit(world.ada)

    async def story():
        await poll(world, row)
        return [
            (await poll(world, row, world.mal_key)).status,
            (await poll(world, row, "vt_nonsense")).status,
            (await ask("GET", f"{PATH}/{row.uid}")).status,
            (await ask("GET", f"{PATH}/p_{'0' * 26}", headers=world.headers())).status,
        ]

    assert run(story()) == [404, 401, 401, 404]


def test_an_end_that_was_never_announced_is_found(world, monkeypatch):
    monkeypatch.setattr(polls, "STILL_SECONDS", 0.0)
    row = cast.submit(world.ada)

    async def story():
        (job,) = await do(cast.claim)
        assert (await poll(world, row)).json()["status"] == "running"
        monkeypatch.setattr(live, "publish", lambda states: None)
        await do(cast.succeed, job)
        while (await poll(world, row)).json()["status"] != "succeeded":  # noqa: ASYNC110 - polling is what is tested
            await asyncio.sleep(0.02)

    run(story())


def test_without_a_live_state_django_answers(world):
    from marketplace.dispatch import redis_client

    row = cast.submit(world.ada)
    redis_client().delete(live.key_of(row.public_id))

    async def story():
        return await poll(world, row)

    answer = run(story())
    assert (answer.status, answer.json()["status"]) == (200, "queued")
    assert "allow" in answer.headers


def test_polls_count_as_requests_of_their_key(world, settings):
    settings.API_REQUESTS_PER_MINUTE = 5
    row = cast.submit(world.ada)

    async def story():
        return [(await poll(world, row)).status for _ in range(7)]

    statuses = run(story())
    assert statuses[:4] == [200] * 4  # the window may turn in between
    assert statuses == [200] * 5 + [429] * 2 or 429 not in statuses[:5]
