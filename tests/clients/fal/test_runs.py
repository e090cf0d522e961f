"""The run and queue faces in this process: what is answered when, by which address, and to whom."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.db import OperationalError

from marketplace import catalog, keys
from marketplace.models import Listing
from playground.edge import held
from playground.facades.fal import dialect
from playground.models import Asset, Prediction
from tests.clients.fal.asked import VASE, begin, get, path_of, sent, submit
from tests.edge.asgi import ask, run
from tests.edge.test_waits import is_watched, work_off
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_is_answered_with_what_it_made(world):
    async def story():
        asked = asyncio.ensure_future(ask("POST", "/fal/run/kiln/vase", **sent(world)))
        await is_watched()
        await work_off()
        return await asked

    answer = run(story())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    row = Prediction.objects.get()
    assert answer.headers["x-fal-request-id"] == str(row.public_id)
    assert (row.via, row.asked["dialect"]) == ("fal", "fal")
    (image,) = answer.json()["images"]
    assert image["url"].startswith("http")
    assert (answer.json()["seed"], answer.json()["prompt"]) == (7, "a vase")


def test_a_run_that_takes_too_long_goes_on_and_says_where(world, monkeypatch):
    monkeypatch.setattr(dialect, "RUN_SECONDS", 0.1)

    async def story():
        late = await ask("POST", "/fal/run/kiln/vase", **sent(world))
        await work_off()
        return late, await get(world, path_of(late.json()["response_url"]))

    late, found = run(story())
    assert (late.status, late.headers["x-fal-request-timeout-type"]) == (504, "user")
    assert (found.status, len(found.json()["images"])) == (200, 1)


@pytest.mark.parametrize(
    ("host", "base"), [("localhost", "/fal/queue"), ("queue.fal.run", ""), ("queue.fal.run:8443", "")]
)
def test_a_request_of_the_queue_from_its_start_to_its_result(world, host, base):
    async def story():
        made = await submit(world, base=base, Host=host)
        at = f"http://{host}{base}/kiln/vase/requests/{made.json()['request_id']}"
        urls = {name: made.json()[name] for name in ("response_url", "status_url", "cancel_url")}
        assert urls == {"response_url": at, "status_url": f"{at}/status", "cancel_url": f"{at}/cancel"}
        seen = [made]
        path = path_of(at)
        seen.append(await get(world, f"{path}/status", Host=host))
        seen.append(await get(world, path, Host=host))
        (job,) = await do(cast.claim)
        await do(cast.step, job, 2)
        seen.append(await get(world, f"{path}/status?logs=true", Host=host))
        await do(cast.succeed, job)
        ends = ("/status?logs=1", "/status?logs=0", "", "/response")
        seen += [await get(world, f"{path}{end}", Host=host) for end in ends]
        full_id = path.replace("/kiln/vase", "/kiln/vase/some/path")
        seen.append(await get(world, f"{full_id}/status", Host=host))
        # The package `fal` writes a slash behind.
        seen += [await get(world, f"{path}{end}", Host=host) for end in ("/status/?logs=0", "/")]
        strangers = [
            await get(world, f"{path}/status", Host=host, key=world.mal_key),
            await get(world, path.replace("vase", "jug"), Host=host),
        ]
        return seen, strangers

    seen, strangers = run(story())
    named = seen[0].json()["request_id"]
    assert [one.status for one in seen] == [200, 202, 400, 202, 200, 200, 200, 200, 200, 200, 200]
    assert {one.headers["x-fal-request-id"] for one in seen} == {named}
    states = [seen[n].json() for n in (0, 1, 3, 4, 5, 8)]
    assert [one["status"] for one in states] == ["IN_QUEUE"] * 2 + ["IN_PROGRESS"] + ["COMPLETED"] * 3
    assert [one["queue_position"] for one in states[:2]] == [0, 0]
    assert (states[2]["logs"], states[4]["logs"]) == ([], None)
    assert [line["message"] for line in states[3]["logs"]] == ["done"]
    assert seen[6].json() == seen[7].json() == seen[10].json()
    assert seen[9].json() == seen[5].json()
    assert [seen[n].headers.get("x-fal-billable-units") for n in (3, 6)] == [None, "1"]
    assert len(seen[6].json()["images"]) == 1
    assert [one.status for one in strangers] == [404, 404]
    assert strangers[0].json()["status"] == "NOT_FOUND"
    assert all(one.headers["x-fal-request-id"] for one in strangers)


def test_the_place_in_the_queue_is_told(world):
    async def story():
        await submit(world)
        second = await submit(world, {**VASE, "prompt": "another"})
        polls = [await get(world, path_of(second.json()["status_url"])) for _ in range(2)]
        return [one.json()["queue_position"] for one in (second, *polls)]

    assert run(story()) == [1, 1, 1]


def test_what_beside_the_input_is_wished_for_is_done(world):
    wishes = {
        "X_Fal_Queue_Priority": "low",
        "X_Fal_Request_Timeout": "30.0",
        "X_Fal_Store_IO": "0",
        "X_Fal_Object_Lifecycle_Preference": '{"expiration_duration_seconds": 3600}',
        "X_Fal_No_Retry": "1",
    }

    async def story():
        made = await submit(world, **wishes)
        row = await do(Prediction.objects.get)
        await work_off()
        return made, row, await get(world, path_of(made.json()["response_url"]))

    made, before, found = run(story())
    assert before.priority == -1
    assert (before.start_by - before.created_at).total_seconds() == 30
    assert before.input["prompt"] == "a vase"
    assert "X-Fal-No-Retry" in made.headers["x-vitrine-ignored"]
    after = Prediction.objects.get()
    assert (after.input, found.status) == ({}, 200)
    (asset,) = Asset.objects.all()
    assert (asset.expires_at - after.finished_at).total_seconds() == 3600


def test_media_come_in_the_answer_where_that_is_wished_for(world):
    async def story():
        asked = asyncio.ensure_future(
            ask("POST", "/fal/run/kiln/vase", **sent(world, {**VASE, "sync_mode": True}))
        )
        await is_watched()
        await work_off()
        ran = await asked
        named = ran.headers["x-fal-request-id"]
        return ran, await get(world, f"/fal/queue/kiln/vase/requests/{named}")

    for answer in run(story()):
        assert answer.json()["images"][0]["url"].startswith("data:image/png;base64,iVBOR")


def test_a_run_can_be_asked_for_by_its_query(world):
    async def story():
        path = "/fal/run/kiln/vase?prompt=12&num_images=2&seed=7"
        asked = [asyncio.ensure_future(get(world, path)) for _ in range(2)]
        await is_watched()
        row = await do(Prediction.objects.get)
        await work_off()
        # What is only read is read again by whoever likes to, and is no second run.
        ran = [*(await asyncio.gather(*asked)), await get(world, path)]
        queued = [await get(world, "/fal/queue/kiln/vase?prompt=13", Host="localhost") for _ in range(2)]
        return row.input, ran, queued

    asked, ran, queued = run(story())
    assert [one.status for one in (*ran, *queued)] == [200] * 5
    assert (asked["prompt"], asked["num_images"], asked["seed"]) == ("12", 2, 7)
    for same in (ran, queued):
        assert len({one.headers["x-fal-request-id"] for one in same}) == 1
        assert same[-1].headers["idempotent-replayed"] == "true"
    assert queued[0].json()["status"] == "IN_QUEUE"
    assert Prediction.objects.count() == 2
    cast.money_is_right()


def test_cancelling_says_what_became_of_it(world):
    async def cancel(made, key=""):
        headers = {"Authorization": f"Key {key or world.ada_key}", "Content-Type": "application/json"}
        return await ask("PUT", path_of(made.json()["cancel_url"]), headers=headers)

    async def story():
        made = await submit(world)
        answers = [await cancel(made, world.mal_key), await cancel(made), await cancel(made)]
        status = await get(world, path_of(made.json()["status_url"]))
        return answers, status, await get(world, path_of(made.json()["response_url"]))

    answers, status, result = run(story())
    assert [one.status for one in answers] == [404, 202, 400]
    words = ["NOT_FOUND", "CANCELLATION_REQUESTED", "ALREADY_COMPLETED"]
    assert [one.json()["status"] for one in answers] == words
    assert (status.status, status.json()["status"]) == (200, "COMPLETED")
    assert (status.json()["error_type"], result.status) == ("client_cancelled", 499)


def test_what_cannot_be_run_is_refused_in_fals_words(world):
    async def story():
        run_, queue = "/fal/run/kiln/vase", "/fal/queue/kiln/vase"
        return {
            "no key": await ask("POST", queue, **sent(world, key=None)),
            "wrong key": await ask("POST", run_, **sent(world, key="no:key")),
            "no app": await ask("POST", "/fal/queue/kiln/jug", **sent(world)),
            "no id": await ask("POST", "/fal/run/vase", **sent(world)),
            "path": await ask("POST", f"{queue}/dev", **sent(world)),
            "workflow": await ask("POST", "/fal/queue/workflows/acme/flow", **sent(world)),
            "fields": await ask("POST", queue, **sent(world, {"num_images": 9})),
            "list": await ask("POST", run_, **sent(world, [1])),
            "timeout": await ask("POST", queue, **sent(world, X_Fal_Request_Timeout="soon")),
            "method": await ask("PUT", queue, **sent(world)),
            "workflow's path": await ask("POST", "/fal/run/workflows/acme/flow/stream", **sent(world)),
            "no app's path": await ask("POST", "/fal/queue/kiln/jug/dev", **sent(world)),
            "broken": await ask("POST", queue, headers=sent(world)["headers"], body=b"{"),
        }

    found = run(story())
    statuses = {
        "no key": 401, "wrong key": 401, "no app": 404, "no id": 404, "path": 404, "workflow": 404, "fields": 422,
        "list": 422, "timeout": 422, "method": 405, "broken": 400, "workflow's path": 404, "no app's path": 404,
    }  # fmt: skip
    assert {name: one.status for name, one in found.items()} == statuses
    assert all(one.headers["x-fal-request-id"] for one in found.values())
    assert {one.headers["x-fal-retryable"] for one in found.values()} == {"false"}
    assert all(one.json()["detail"] and one.json()["message"] for one in found.values())
    assert "/text-to-image, which is the same" in found["path"].json()["detail"]
    assert found["no app's path"].json()["detail"] == found["no app"].json()["detail"]
    fields = {tuple(one["loc"]): one["type"] for one in found["fields"].json()["detail"]}
    assert fields == {("body", "prompt"): "missing", ("body", "num_images"): "less_than_equal"}
    assert not Prediction.objects.exists()


def test_an_endpoint_is_below_its_app_by_its_name_and_its_requests_are_not(world):
    async def story():
        path = "/kiln/vase/text-to-image"
        stream = begin("POST", f"/fal/run{path}/stream", **sent(world))
        started = await stream.start()
        await work_off()
        assert await stream.body()
        made = await ask("POST", f"/fal/queue{path}", **sent(world))
        await work_off()
        return made, started, await get(world, path_of(made.json()["response_url"]))

    made, started, found = run(story())
    assert (made.status, started[0], found.status) == (200, 200, 200)
    at = f"http://localhost/fal/queue/kiln/vase/requests/{made.json()['request_id']}"
    assert made.json()["response_url"] == at


def test_a_queue_can_be_too_long_for_whoever_asks(world):
    async def story():
        answers = [await submit(world, query="?fal_max_queue_length=0")]
        answers.append(await submit(world, {**VASE, "prompt": "next"}, query="?fal_max_queue_length=0"))
        answers.append(await submit(world, {**VASE, "prompt": "third"}, query="?fal_max_queue_length=1"))
        # Of a model that they cannot see nobody learns that there is a queue.
        await do(Listing.objects.filter(name="vase").update, visibility="private")
        await do(catalog.forget)
        strange = sent(world, key=world.mal_key)
        answers.append(await ask("POST", "/fal/queue/kiln/vase?fal_max_queue_length=0", **strange))
        return answers

    answers = run(story())
    assert [one.status for one in answers] == [200, 429, 200, 404]
    assert answers[1].json()["error_type"] == "queue_full"


def test_the_state_is_streamed_and_each_line_of_the_log_once(world):
    async def story():
        made = await submit(world, {**VASE, "enable_safety_checker": True})
        exchange = begin(
            "GET",
            f"{path_of(made.json()['status_url'])}/stream?logs=1",
            headers={"Authorization": f"Key {world.ada_key}"},
        )
        status, headers = await exchange.start()
        events = exchange.events()
        seen = [await anext(events)]
        await work_off()
        seen += [one async for one in events]
        return made, status, headers, seen

    made, status, headers, seen = run(story())
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert headers["x-fal-request-id"] == made.json()["request_id"]
    assert seen[0]["status"] == "IN_QUEUE"
    assert (seen[-1]["status"], seen[-1]["status_url"]) == ("COMPLETED", made.json()["status_url"])
    told = [line["message"] for one in seen for line in one.get("logs") or ()]
    assert len([line for line in told if "enable_safety_checker" in line]) == 1


def test_a_run_is_streamed_up_to_what_it_made(world):
    async def story():
        exchange = begin("POST", "/fal/run/kiln/vase/stream", **sent(world, Accept="text/event-stream"))
        status, headers = await exchange.start()
        await is_watched()
        events = asyncio.ensure_future(collect(exchange))
        await work_off()
        refused = await ask("POST", "/fal/run/kiln/vase/stream", **sent(world, {"num_images": 9}))
        return status, headers, await events, refused

    async def collect(exchange):
        return [one async for one in exchange.events()]

    status, headers, events, refused = run(story())
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert headers["x-fal-request-id"] == str(Prediction.objects.get().public_id)
    assert (len(events[-1]["images"]), events[-1]["seed"]) == (1, 7)
    assert (refused.status, refused.headers["content-type"]) == (422, "application/json")
    assert json.loads(refused.body)["detail"]


@pytest.mark.parametrize("query", ["", "?fal_max_queue_length=0"])
def test_a_publishable_key_learns_nothing_of_models_that_it_does_not_run(world, query):
    other = cast.shelve(name="jug")
    origin = "https://shop.example"
    chosen = {"scopes": keys.PUBLISHABLE_SCOPES, "origins": [origin], "model_ids": [world.model]}
    _, key = keys.make(world.ada, name="shop", **chosen)
    asked = sent(world, {"image_url": "https://x.test/a.png"}, key=key, Origin=origin)
    refused = run(ask("POST", f"/fal/queue/{other}{query}", **asked))
    assert (refused.status, "image" in refused.body.decode()) == (403, False)
    allowed = run(ask("POST", f"/fal/queue/{world.model}{query}", **asked))
    assert (allowed.status, "image" in allowed.body.decode()) == (422, True)


def test_a_stream_that_is_asked_for_its_headers_ends_with_them(world):
    async def story():
        made = await submit(world)
        path = f"{path_of(made.json()['status_url'])}/stream"
        return await ask("HEAD", path, headers=sent(world)["headers"])

    answer = run(story())
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_run_is_not_begun_by_asking_for_headers(world):
    answer = run(ask("HEAD", "/fal/run/kiln/vase?prompt=x", headers=sent(world)["headers"]))
    assert answer.status == 405
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("face", ["run", "queue"])
def test_a_form_is_no_input(world, face):
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nGIF\r\n--x--\r\n'
    who = {**sent(world)["headers"], "Content-Type": "multipart/form-data; boundary=x"}
    assert run(ask("POST", f"/fal/{face}/kiln/vase", headers=who, body=body)).status == 415
    assert not Prediction.objects.exists()


def test_a_browser_streams_with_a_token_for_this_app_and_no_other(world):
    async def story():
        wanted = {"allowed_apps": ["vase"], "token_expiration": 120}
        token = (await ask("POST", "/fal/rest/tokens/", **sent(world, wanted))).json()
        refused = await ask(
            "POST", f"/fal/run/kiln/jug/stream?fal_jwt_token={token}", **sent(world, key=None)
        )
        forged = await ask("POST", "/fal/run/kiln/vase/stream?fal_jwt_token=x", **sent(world, key=None))
        path = f"/fal/run/kiln/vase/stream?fal_jwt_token={token}"
        calls = await ask("POST", f"{path}&fal_webhook=https://x.test/", **sent(world, key=None))
        exchange = begin("POST", path, **sent(world, key=None))
        status, _ = await exchange.start()
        await is_watched()
        events = asyncio.ensure_future(collect(exchange))
        await work_off()
        made = await submit(world, {**VASE, "prompt": "another"})
        states = begin("GET", f"{path_of(made.json()['status_url'])}/stream?fal_jwt_token={token}")
        assert (await states.start())[0] == 200
        await work_off()
        assert [one async for one in states.events()][-1]["status"] == "COMPLETED"
        return refused, forged, calls, status, await events

    async def collect(exchange):
        return [one async for one in exchange.events()]

    refused, forged, calls, status, events = run(story())
    assert (refused.status, forged.status, calls.status, status) == (401, 401, 422, 200)
    # Whoever reads the page that the token lies open in has nobody called by us.
    assert calls.json()["detail"][0]["loc"][-1] == "fal_webhook"
    assert len(events[-1]["images"]) == 1


def test_a_run_whose_end_could_not_be_told_is_the_same_when_it_is_asked_for_again(world, monkeypatch):
    async def broken(*_, **named):
        raise OperationalError("the connection is lost")

    async def story():
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(held, "drawn", broken)
            first = asyncio.ensure_future(ask("POST", "/fal/run/kiln/vase", **sent(world)))
            await is_watched()
            await work_off()
            failed = await first
        return failed, await ask("POST", "/fal/run/kiln/vase", **sent(world))

    failed, again = run(story())
    assert (failed.status, again.status) == (503, 200)
    assert Prediction.objects.count() == 1
    cast.money_is_right()


def test_what_a_client_sends_again_because_it_heard_nothing_makes_one_run(world):
    async def story():
        first = begin("POST", "/fal/run/kiln/vase", **sent(world))
        await is_watched()
        await first.leave()
        again = asyncio.ensure_future(ask("POST", "/fal/run/kiln/vase", **sent(world)))
        await is_watched()
        await work_off()
        return await again, [await submit(world) for _ in range(2)]

    again, twice = run(story())
    assert again.status == 200
    ids = {again.headers["x-fal-request-id"], *(one.json()["request_id"] for one in twice)}
    assert len(ids) == Prediction.objects.count() == 3


def test_an_address_that_is_nothing_is_an_error_and_no_page(world):
    async def story():
        paths = [
            ("/fal/rest/storage/other", "localhost"),
            ("/fal/wherever", "localhost"),
            ("/x", "ws.fal.run"),
        ]
        return [await get(world, path, Host=host, Accept="text/html") for path, host in paths]

    room = run(ask("POST", "/workflows/", **sent(world, {}, Host="rest.fal.ai")))
    assert (room.status, room.headers["x-fal-error-type"]) == (501, "not_implemented")
    assert room.json()["message"] == room.json()["detail"]
    assert room.headers["x-fal-request-id"]
    for answer in run(story()):
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
        assert answer.headers["x-fal-request-id"]
        assert answer.json()["detail"].startswith("There is nothing")
