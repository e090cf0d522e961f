"""Publishable keys at the edge: what it answers itself, and remembers, is held to origin and ownership too."""

from __future__ import annotations

import json

import pytest

from marketplace import keys
from playground.edge import callers
from tests.edge.asgi import ask, run
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"
ORIGIN = "https://shop.example"


@pytest.fixture
def text(world):
    return keys.make(
        world.ada,
        name="shop",
        scopes=keys.PUBLISHABLE_SCOPES,
        origins=[ORIGIN],
        model_ids=[world.model],
    )[1]


def headers(text: str, origin: str | None = ORIGIN, **more: str) -> dict[str, str]:
    sent = {"Authorization": f"Bearer {text}", "Content-Type": "application/json", **more}
    return sent if origin is None else {**sent, "Origin": origin}


def order(world, **more):
    return json.dumps({"model": world.model, "input": {"prompt": "a vase"}, **more}).encode()


async def submit(world, text, **more):
    return await ask("POST", PATH, headers=headers(text, **more), body=order(world))


@pytest.mark.parametrize("suffix", ["", "/events", "?wait=1"])
def test_its_own_run_and_no_other(world, text, suffix):
    foreign = cast.submit(world.ada)

    async def story():
        own = (await submit(world, text)).json()["id"]
        for _ in range(4):  # both are ended, so that streams end too
            for job in await do(cast.claim, limit=2):
                await do(cast.succeed, job)
        for uid, key in ((own, text), (foreign.uid, world.ada_key)):  # the edge has seen both
            assert (await ask("GET", f"{PATH}/{uid}{suffix}", headers=headers(key))).status == 200
        return [
            (await ask("GET", f"{PATH}/{uid}{suffix}", headers=headers(text))).status
            for uid in (own, foreign.uid)
        ]

    assert run(story()) == [200, 404]


@pytest.mark.parametrize("suffix", ["", "/events", "?wait=1"])
@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://shop.example"])
def test_another_origin_is_refused_though_the_key_is_remembered(world, text, suffix, origin):
    async def story():
        own = (await submit(world, text)).json()["id"]
        for job in await do(cast.claim):
            await do(cast.succeed, job)
        good = await ask("GET", f"{PATH}/{own}{suffix}", headers=headers(text))
        assert good.status == 200
        assert any(one.origins == {ORIGIN} for _, one in callers._known.values()) or suffix == "?wait=1"
        return await ask("GET", f"{PATH}/{own}{suffix}", headers=headers(text, origin))

    answer = run(story())
    assert answer.status == 403
    assert answer.json()["code"] == "origin_not_allowed"


def test_a_submit_that_waits_is_held_to_model_and_origin(world, text):
    other = cast.shelve(name="bowl")

    async def story():
        body = json.dumps({"model": other, "input": {"prompt": "a bowl"}}).encode()
        wrong = await ask("POST", PATH, headers=headers(text, Prefer="wait=5"), body=body)
        away = await ask(
            "POST", PATH, headers=headers(text, "https://evil.example", Prefer="wait=5"), body=order(world)
        )
        return wrong.json()["code"], away.json()["code"]

    assert run(story()) == ("model_not_allowed", "origin_not_allowed")


def test_a_revoked_key_is_forgotten_after_seconds(world, text, monkeypatch):
    monkeypatch.setattr(callers, "KEEP_SECONDS", 0.0)

    async def story():
        own = (await submit(world, text)).json()["id"]
        assert (await ask("GET", f"{PATH}/{own}", headers=headers(text))).status == 200
        row = await do(keys.resolve, text, origin=ORIGIN)
        await do(keys.revoke, row)
        return (await ask("GET", f"{PATH}/{own}", headers=headers(text))).status

    assert run(story()) == 401
