"""Publishable keys at the edge: what it answers itself, and remembers, is held to origin and ownership too."""

from __future__ import annotations

import json

import pytest

from marketplace import keys
from marketplace.ids import encode, parse
from playground.edge import callers
from playground.models import Prediction
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


def at(path: str, public_id) -> str:
    return path.format(bare=encode(public_id), uuid=public_id)


FAL = "/fal/queue/kiln/vase/requests/{uuid}"


@pytest.mark.parametrize("path", ["/v1/predictions/{bare}", FAL, f"{FAL}/status", f"{FAL}/status/stream"])
def test_in_other_protocols_it_sees_its_own_run_and_no_other(world, text, path):
    foreign = cast.submit(world.ada).public_id

    async def story():
        own = parse((await submit(world, text)).json()["id"], "p")
        for _ in range(4):
            for job in await do(cast.claim, limit=2):
                await do(cast.succeed, job)
        asked = [(own, text, ORIGIN), (foreign, world.ada_key, None)]  # the edge has seen both
        asked += [(own, text, ORIGIN), (foreign, text, ORIGIN), (own, text, "https://evil.example")]
        return [(await ask("GET", at(path, one), headers=headers(*who))).status for one, *who in asked]

    assert run(story()) == [200, 200, 200, 404, 403]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/predictions/{bare}/cancel"), ("PUT", f"{FAL}/cancel")]
)
def test_in_other_protocols_it_cancels_no_run_but_its_own(world, text, method, path):
    foreign = cast.submit(world.ada)

    async def story():
        own = parse((await submit(world, text)).json()["id"], "p")
        return [
            (await ask(method, at(path, one), headers=headers(text))).status
            for one in (own, foreign.public_id)
        ]

    canceled, missing = run(story())
    assert (canceled < 300, missing, cast.again(foreign).status) == (True, 404, "queued")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/predictions", {"version": "kiln/vase", "webhook": "https://x.test/"}),
        ("/v1/models/kiln/vase/predictions", {"webhook_completed": "https://x.test/"}),
        ("/fal/queue/kiln/vase?fal_webhook=https://x.test/", None),
        ("/fal/run/kiln/vase?fal_webhook=https://x.test/", None),
    ],
)
def test_in_other_protocols_it_has_nobody_called(world, text, path, more):
    given = {"prompt": "a vase"}
    body = json.dumps(given if more is None else {"input": given, **more}).encode()
    answer = run(ask("POST", path, headers=headers(text), body=body))
    assert (answer.status, b"publishable" in answer.body) == (422, True)
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/fal/rest/tokens/"),
        ("GET", "/fal/v1/models/requests/by-endpoint?endpoint_id=kiln/vase"),
        ("GET", "/fal/v1/models/requests/search"),
        ("POST", "/fal/v1/storage/files/sign?url=x"),
        ("DELETE", "/fal/v1/models/requests/0/payloads"),
        ("POST", "/fal/rest/storage/auth/token"),
        ("GET", "/v1/files"),
        ("GET", "/v1/webhooks/default/secret"),
        ("GET", "/openai/v1/videos"),
        ("POST", "/openai/v1/images/generations"),
        ("POST", "/hf/kiln/vase"),
    ],
)
def test_in_other_protocols_it_comes_no_further(world, text, method, path):
    body = b"{}" if method == "POST" else b""
    assert run(ask(method, path, headers=headers(text), body=body)).status == 403
