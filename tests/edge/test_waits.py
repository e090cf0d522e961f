"""Waiting in the request: `Prefer: wait` and `?wait=`."""

from __future__ import annotations

import asyncio
import json

import pytest

from playground.edge import own
from playground.edge.hub import hub
from playground.live import MAX_LOG_LINES
from tests.edge.asgi import ask, begin, run
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/predictions"


def order(world, **more):
    return {
        "headers": {**world.headers(), "Content-Type": "application/json", **more},
        "body": json.dumps({"model": world.model, "input": {"prompt": "a vase"}}).encode(),
    }


async def work_off():
    """Be the engine for one run, once there is one."""
    while not (jobs := await do(cast.claim)):  # noqa: ASYNC110 - the queue has no event for tests
        await asyncio.sleep(0.02)
    await do(cast.step, jobs[0], 2)
    await do(cast.succeed, jobs[0])


async def is_watched():
    while not hub()._topics:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def test_a_submit_that_waits_is_answered_at_the_end(world):
    async def story():
        asked = asyncio.ensure_future(ask("POST", PATH, **order(world, Prefer="wait=30")))
        await is_watched()
        await work_off()
        waited = await asked
        found = await ask("GET", f"{PATH}/{waited.json()['id']}", headers=world.headers())
        return waited, found

    waited, found = run(story())
    assert waited.status == 201
    assert waited.headers["preference-applied"] == "wait=30"
    assert waited.headers["content-type"] == "application/json"
    assert int(waited.headers["content-length"]) == len(waited.body)
    assert waited.json()["status"] == "succeeded"
    assert waited.json() == found.json()


def test_logs_beyond_what_a_state_carries_come_whole(world):
    lines = [f"line {n}" for n in range(MAX_LOG_LINES + 50)]

    async def story():
        asked = asyncio.ensure_future(ask("POST", PATH, **order(world, Prefer="wait=30")))
        await is_watched()
        (job,) = await do(cast.claim)
        await do(
            lambda: cast.work.fail(
                id=job["id"], fence=job["fence"], code="broken", message="No.", retryable=False, logs=lines
            )
        )
        return await asked

    answer = run(story())
    assert answer.json()["status"] == "failed"
    assert answer.json()["logs"].split("\n") == lines


def test_who_waited_long_enough_gets_the_present(world):
    async def story():
        return await ask("POST", PATH, **order(world, Prefer="respond-async, wait=1"))

    answer = run(story())
    assert (answer.status, answer.json()["status"]) == (201, "queued")


def test_a_caller_that_leaves_ends_the_waiting_not_the_run(world):
    async def story():
        exchange = begin("POST", PATH, **order(world, Prefer="wait"))
        await is_watched()
        await exchange.leave()
        assert not hub()._topics
        assert exchange.received.empty()
        await work_off()

    run(story())
    assert [row.status for row in cast.Prediction.objects.of(world.ada)] == ["succeeded"]


def test_a_get_waits_too(world):
    row = cast.submit(world.ada)

    async def story():
        asked = asyncio.ensure_future(ask("GET", f"{PATH}/{row.uid}?wait=30", headers=world.headers()))
        await is_watched()
        await work_off()
        at_end = await asked
        again = await ask("GET", f"{PATH}/{row.uid}?wait=30", headers=world.headers())
        other = await ask("GET", f"{PATH}/{row.uid}?wait=30", headers=world.headers(world.mal_key))
        return at_end, again, other

    at_end, again, other = run(story())
    assert at_end.json()["status"] == again.json()["status"] == "succeeded"
    assert other.status == 404


def test_refusals_do_not_wait(world):
    async def story():
        bad = order(world, Prefer="wait=60")
        bad["body"] = b'{"model": "kiln/vase", "input": {}}'
        return await ask("POST", PATH, **bad)

    answer = run(story())
    assert answer.status == 422
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("wait", 60),
        ("wait=5", 5),
        ("wait=0", 1),
        ("wait=600", 60),
        ("respond-async, wait=7", 7),
        ("handling=lenient; wait=9", 9),
        ('wait="8"', 8),
        ("wait=abc", None),
        ("waiting", None),
        ("", None),
        ("wait=-1", None),
        ("wait=99999999999999999999", None),
    ],
)
def test_what_the_preference_means(sent, seconds):
    assert own.preferred({"headers": [(b"prefer", sent.encode())]}) == seconds


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("wait=5", 5),
        ("wait=100", 60),
        ("wait=0", None),
        ("wait=", None),
        ("wait=x", None),
        ("", None),
        ("wait=%C2%B2", None),
        ("wait=" + "9" * 5000, None),
    ],
)
def test_what_the_query_means(query, seconds):
    assert own.queried({"query_string": query.encode("utf-8")}) == seconds
