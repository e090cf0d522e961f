"""The hub: the newest state to each viewer, whatever was lost on the way, and the end last."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from playground import live, predictions
from playground.edge import hub as hub_module
from playground.edge.hub import Gone, hub
from tests.edge.asgi import run
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def model(transactional_db):
    from marketplace.dispatch import redis_client

    redis_client().flushdb()
    yield cast.shelve()
    redis_client().flushdb()


async def do(function, *args, **named):
    """A blocking call, as another process would make it."""
    from playground.edge.threads import in_thread

    return await in_thread(function, *args, **named)


async def until(watcher, wanted):
    """The first present state that `wanted` is true of."""
    async with asyncio.timeout(50):
        async for present in watcher:
            if wanted(present):
                return present
    raise AssertionError("the watcher ended before")


def status(name):
    return lambda present: present.state["status"] == name


def whole_life(row):
    (job,) = cast.claim()
    for number in (1, 2, 3, 4):
        cast.step(job, number)
    assert cast.succeed(job)


def test_a_viewer_sees_queue_steps_and_end():
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            first = await anext(watcher)
            assert first.state["status"] == "queued"
            placed = await until(watcher, lambda present: present.position is not None)
            assert placed.position == 0
            assert "No worker is running on lane test" in placed.reason
            (job,) = await do(cast.claim)
            await until(watcher, status("running"))
            await do(cast.step, job, 2)
            stepped = await until(watcher, lambda present: present.state["step"] == 2)
            assert stepped.position is None
            await do(cast.succeed, job)
            return [present async for present in watcher]

    seen = run(story())
    assert seen[-1].is_end
    assert seen[-1].state["output"]["images"][0]["content_type"] == "image/png"
    assert [one.is_end for one in seen].count(True) == 1


def test_who_comes_late_sees_the_present_and_who_comes_last_the_end():
    row = cast.submit(cast.payer())

    async def story():
        (job,) = await do(cast.claim)
        await do(cast.step, job, 3)
        async with hub().watch(row.public_id) as watcher:
            present = await anext(watcher)
            assert (present.state["status"], present.state["step"]) == ("running", 3)
        await do(cast.succeed, job)
        async with hub().watch(row.public_id) as watcher:
            everything = [present async for present in watcher]
        assert [one.state["status"] for one in everything] == ["succeeded"]

    run(story())


def test_a_slow_viewer_skips_and_still_sees_the_end():
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as slow, hub().watch(row.public_id) as quick:
            await anext(slow)
            (job,) = await do(cast.claim)
            for number in range(1, 5):
                await do(cast.step, job, number)
                await until(quick, lambda present, n=number: present.state["step"] == n)
            await do(cast.succeed, job)
            await until(quick, status("succeeded"))
            return [present async for present in slow]

    rest = run(story())
    assert [one.state["status"] for one in rest] == ["succeeded"]


def test_an_announcement_that_was_lost_is_made_up_for(monkeypatch):
    monkeypatch.setattr(hub_module, "ROWS_SECONDS", 0.2)
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            await until(watcher, lambda present: present.position is not None)
            monkeypatch.setattr(live, "publish", lambda states: None)
            (job,) = await do(cast.claim)
            running = await until(watcher, status("running"))
            await do(cast.succeed, job)
            end = await until(watcher, status("succeeded"))
            assert end.seq > running.seq
            with pytest.raises(StopAsyncIteration):
                await anext(watcher)

    run(story())


def test_without_redis_the_rows_tell(monkeypatch, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            assert (await anext(watcher)).state["status"] == "queued"
            (job,) = await do(cast.claim)
            await until(watcher, status("running"))
            await do(cast.succeed, job)
            await until(watcher, status("succeeded"))

    run(story())


def test_a_lost_connection_comes_back_and_what_was_said_meanwhile_is_read():
    from marketplace.dispatch import redis_client

    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            await until(watcher, lambda present: present.position is not None)
            await do(redis_client().client_kill_filter, _type="pubsub")
            (job,) = await do(cast.claim)
            await until(watcher, status("running"))
            await do(cast.step, job, 1)
            await until(watcher, lambda present: present.state["step"] == 1)

    run(story())


def test_a_state_behind_the_row_never_takes_a_viewer_back():
    row = cast.submit(cast.payer())
    early = predictions.state_of(row)

    async def story():
        (job,) = await do(cast.claim)
        await do(cast.succeed, job)
        async with hub().watch(row.public_id) as watcher:
            assert (await anext(watcher)).is_end
            await do(live.publish, [early])
            with pytest.raises(StopAsyncIteration):
                await anext(watcher)

    run(story())


def test_a_lost_attempt_says_why_it_waits_again():
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            (job,) = await do(cast.claim)
            await until(watcher, status("running"))
            await do(cast.release, job)
            back = await until(watcher, lambda p: p.is_queued and p.position is not None)
            assert back.reason.startswith("The worker is restarting.")

    run(story())


def test_places_of_all_that_wait_come_from_one_statement(django_assert_max_num_queries):
    workspace = cast.payer()
    rows = [cast.submit(workspace) for _ in range(5)]
    asked = []
    real = predictions.queue_position

    def counting(ids):
        asked.append(len(ids))
        return real(ids)

    async def story():
        predictions.queue_position = counting
        try:
            async with contextlib.AsyncExitStack() as stack:
                watchers = [await stack.enter_async_context(hub().watch(row.public_id)) for row in rows]
                for place, watcher in enumerate(watchers):
                    present = await until(watcher, lambda p: p.position is not None)
                    assert present.position == place
        finally:
            predictions.queue_position = real

    import contextlib

    run(story())
    assert max(asked) == 5


def test_what_does_not_exist_is_not_found():
    async def story():
        async with hub().watch(uuid4()) as watcher:
            with pytest.raises(predictions.NotFound):
                await anext(watcher)

    run(story())


def test_closing_lets_everybody_go():
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id) as watcher:
            await until(watcher, lambda present: present.position is not None)
            closing = asyncio.ensure_future(hub().close())
            with pytest.raises(Gone):
                await until(watcher, lambda present: False)
            await closing

    run(story())


def test_events_carry_each_log_line_once():
    row = cast.submit(cast.payer())

    async def story():
        import json

        lines, before = [], None
        async with hub().watch(row.public_id) as watcher:
            (job,) = await do(cast.claim)
            for number in range(1, 5):
                report = {"id": job["id"], "fence": job["fence"], "step": number, "steps": 4, "preview": None}
                await do(cast.work.step, reports=[{**report, "logs": [f"line {n}" for n in range(number)]}])
            await do(cast.succeed, job)
            async for present in watcher:
                event = json.loads(present.event(before))
                lines += event["logs"]
                before = present
        return event

    event = run(story())
    assert list(event) == [
        *("type", "seq", "id", "status", "attempt", "step", "steps", "queue_position", "reason", "preview"),
        *("elapsed_ms", "logs", "output", "error", "cost_micros"),
    ]
    assert event["id"] == row.uid
    assert event["cost_micros"] == cast.PRICE_MICROS


def test_who_joins_waiters_sees_the_present_and_not_what_they_saw_last():
    row = cast.submit(cast.payer())

    async def story():
        async with hub().watch(row.public_id, only_end=True) as waiter:
            assert (await anext(waiter)).state["status"] == "queued"
            (job,) = await do(cast.claim)
            await do(cast.step, job, 2)
            await asyncio.sleep(0.1)  # told, and passed over
            async with hub().watch(row.public_id) as follower:
                first = (await anext(follower)).state
            await do(cast.succeed, job)
            ends = [present.state["status"] async for present in waiter]
            return first, ends

    first, ends = run(story())
    assert (first["status"], first["step"]) == ("running", 2)
    assert ends[-1] == "succeeded"
