"""Answers that hold what a run made, at its end or while it grows: no thread waits for it, and no client too long."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from playground.facades.huggingface import dialect as huggingface
from playground.predictions import work
from tests.edge.asgi import ask, begin, run
from tests.edge.test_waits import is_watched, work_off
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
IMAGES = "/openai/v1/images/generations"


def order(world, path=IMAGES, *, body=None, headers=None, **fields):
    asked = {"model": world.model, "prompt": "a vase", **fields} if body is None else body
    named = {**world.headers(), "Content-Type": "application/json", **(headers or {})}
    return "POST", path, {"headers": named, "body": json.dumps(asked).encode()}


async def held(world, path=IMAGES, **fields):
    """What is answered to a request while somebody does its work."""
    method, path, named = order(world, path, **fields)
    asked = asyncio.ensure_future(ask(method, path, **named))
    await is_watched()
    await work_off()
    return await asked


def test_the_answer_comes_with_the_picture(committed):
    answer = run(held(committed, n=1, response_format="b64_json"))
    assert answer.status == 200
    assert answer.headers["x-vitrine-prediction"].startswith("p_")
    (one,) = answer.json()["data"]
    assert base64.b64decode(one["b64_json"]) == cast.png()
    assert "url" not in one


def test_who_cannot_be_held_longer_is_asked_to_come_again(committed):
    async def story():
        method, path, named = order(committed, headers={"X-Stainless-Read-Timeout": "1"})
        first = await ask(method, path, **named)
        asked = asyncio.ensure_future(held(committed, headers={"X-Stainless-Retry-Count": "1"}))
        return first, await asked

    first, second = run(story())
    assert (first.status, first.headers["x-should-retry"]) == (504, "true")
    assert first.json()["error"]["code"] == "timeout"
    assert second.status == 200
    assert second.headers["x-vitrine-prediction"] == first.headers["x-vitrine-prediction"]


def test_previews_become_events(committed):
    async def story():
        method, path, named = order(committed, stream=True, partial_images=2)
        exchange = begin(method, path, **named)
        status, headers = await exchange.start()
        (job,) = await do(cast.claim)
        said = []
        for number, preview in ((1, "QQ=="), (2, "Qg=="), (3, "Qw==")):
            report = {**_report(job, number), "preview": f"data:image/webp;base64,{preview}"}
            await do(lambda report=report: work.step(reports=[report]))
            if number > 1:  # a quarter of the way is too early for the first of two
                said.append((await exchange.next())["body"])
        await do(cast.succeed, job)
        return status, headers, said, await exchange.body()

    status, headers, said, end = run(story())
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    partial = [json.loads(one.partition(b"data: ")[2]) for one in said]
    assert [(one["b64_json"], one["partial_image_index"]) for one in partial] == [("Qg==", 0), ("Qw==", 1)]
    finished, done, _ = end.split(b"\n\n")
    assert base64.b64decode(json.loads(finished.partition(b"data: ")[2])["b64_json"]) == cast.png()
    assert done == b"data: [DONE]"


def _report(job, number):
    return {"id": job["id"], "fence": job["fence"], "step": number, "steps": 4, "preview": None, "logs": []}


def test_a_film_is_polled(committed):
    async def story():
        method, path, named = order(committed, "/openai/v1/videos")
        made = (await ask(method, path, **named)).json()
        found = [await ask("GET", f"{path}/{made['id']}", headers=committed.headers()) for _ in range(2)]
        others = await ask("GET", f"{path}/{made['id']}", headers=committed.headers(committed.mal_key))
        await work_off()
        while (last := await ask("GET", f"{path}/{made['id']}", headers=committed.headers())).json()[  # noqa: ASYNC110
            "status"
        ] != "completed":
            await asyncio.sleep(0.02)
        return made, found, others, last

    made, found, others, last = run(story())
    assert [one.json() for one in found] == [made, made]
    assert [one.headers["openai-poll-after-ms"] for one in found] == ["500", "500"]
    assert others.status == 404
    assert others.json()["error"]["param"] == "id"
    assert "openai-poll-after-ms" not in last.headers
    assert last.json()["progress"] == 100


def test_an_answer_may_be_the_file_itself(committed, monkeypatch):
    path, body = f"/hf/{committed.model}", {"inputs": "a vase"}
    answer = run(held(committed, path, body=body))
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", cast.png())
    monkeypatch.setattr(huggingface, "HELD_SECONDS", 0.3)
    method, path, named = order(committed, path, body=body)
    late = run(ask(method, path, **named))
    assert late.status == 504
    assert "is still queued" in late.json()["error"]
