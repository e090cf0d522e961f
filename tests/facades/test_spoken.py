"""What every protocol has from the edge and the base view: waiting, polling, events, errors, repeats, files."""

from __future__ import annotations

import asyncio
import json

import pytest

from marketplace.dispatch import redis_client
from playground.edge import events, held
from playground.edge.hub import hub
from playground.predictions import repeats
from tests.edge.asgi import ask, begin, run
from tests.live.test_hub import do
from tests.predictions import cast

pytestmark = pytest.mark.django_db(transaction=True)
RUNS = "/plain/runs"


def order(world, body=None, *, host="localhost", **headers):
    said = {"model": world.model, "input": {"prompt": "a vase"}, **(body or {})}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "headers": {**world.headers(), "Content-Type": "application/json", **named},
        "body": json.dumps(said).encode(),
    }


async def work_off():
    while not (jobs := await do(cast.claim)):  # noqa: ASYNC110 - the queue has no event for tests
        await asyncio.sleep(0.02)
    await do(cast.step, jobs[0], 2)
    await do(cast.succeed, jobs[0])


async def is_watched():
    while not hub()._topics:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def test_a_run_is_taken_in_translated_and_shown(world, plain):
    said = {"input": {"text": "a vase", "n": 2, "num_inference_steps": 6, "wobble": 1}, "note": "mine"}
    made = run(ask("POST", RUNS, **order(world, said)))
    assert made.status == 201, made.body
    assert made.headers["x-vitrine-ignored"] == "wobble"
    row = cast.Prediction.objects.with_model().get()
    assert made.headers["x-vitrine-prediction"] == row.uid == made.json()["run"]
    assert (row.via, row.input["num_images"], row.input["steps"]) == ("replicate", 2, 6)
    assert row.asked["note"] == "mine"
    assert [one["field"] for one in row.asked["ignored"]] == ["wobble"]
    assert made.json()["asked"] == row.asked
    assert made.headers["access-control-allow-origin"] == "*"
    assert "ratelimit-remaining" in made.headers


def test_what_is_wrong_is_told_in_the_callers_words_and_the_protocols_shape(world, plain):
    async def story():
        bad = await ask("POST", RUNS, **order(world, {"input": {"n": 9, "text": 7}}))
        nobody = await ask("GET", f"{RUNS}/p_{'0' * 26}")
        missing = await ask("GET", f"{RUNS}/p_{'0' * 26}", headers=world.headers())
        broken = order(world)
        large = begin("POST", RUNS, headers={**broken["headers"], "Content-Length": "99999999"}, body=None)
        size = await large.start()
        broken["body"] = b"{"
        return bad, nobody, missing, size, await ask("POST", RUNS, **broken)

    bad, nobody, missing, size, broken = run(story())
    assert (bad.status, bad.json()["wrong"]) == (422, "invalid_input")
    assert set(bad.json()["fields"]) == {"input.n", "input.text"}
    assert (nobody.status, nobody.json()["wrong"]) == (401, "not_authenticated")
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert (missing.status, missing.json()["wrong"]) == (404, "not_found")
    assert (size[0], size[1]["x-plain"]) == (413, "yes")
    assert (broken.status, broken.json()["wrong"]) == (400, "malformed_request")


def test_who_waits_is_answered_at_the_end_or_when_it_is_due(world, plain):
    async def story():
        due = await ask("POST", RUNS, **order(world, X_Patience="0.2"))
        asked = asyncio.ensure_future(ask("POST", RUNS, **order(world, X_Patience="30")))
        await is_watched()
        await work_off()
        await work_off()
        return due, await asked

    due, ended = run(story())
    assert (due.json()["is"], due.json()["late"]) == ("queued", True)
    assert (ended.json()["is"], ended.json()["late"], ended.status) == ("succeeded", False, 201)
    assert int(ended.headers["content-length"]) == len(ended.body)


def test_polls_know_the_place_in_the_queue_and_each_address_its_own(world, plain):
    cast.submit(world.mal)
    row = cast.submit(world.ada)

    async def story():
        first = await ask("GET", f"{RUNS}/{row.uid}", headers=world.headers())
        again = await ask("GET", f"{RUNS}/{row.uid}", headers=world.headers())
        other = await ask("GET", f"/runs/{row.uid}", headers={**world.headers(), "Host": "plain.test"})
        strange = await ask("GET", f"{RUNS}/{row.uid}", headers=world.headers(world.mal_key))
        await work_off()
        await work_off()
        return first, again, other, strange, await ask("GET", f"{RUNS}/{row.uid}", headers=world.headers())

    first, again, other, strange, end = run(story())
    assert first.json() == again.json()
    assert (first.json()["is"], first.json()["ahead"]) == ("queued", 1)
    assert first.json()["at"] == f"http://localhost{RUNS}/{row.uid}"
    assert "allow" not in first.headers  # which Django would have sent
    assert strange.status == 404
    assert (end.json()["is"], end.json()["ahead"]) == ("succeeded", None)
    assert other.json()["at"] == f"http://plain.test/runs/{row.uid}"


def test_events_are_in_the_protocols_words(world, plain):
    async def story():
        exchange = begin("POST", RUNS, **order(world, {"stream": True}))
        status, headers = await exchange.start()
        await work_off()
        return status, headers, await exchange.body()

    status, headers, body = run(story())
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "x-vitrine-prediction" in headers
    lines = body.decode().splitlines()
    assert lines[0] == "1 queued 0 0"
    assert lines[-1].split()[1] == "succeeded"


def test_the_same_request_again_is_one_run_if_its_client_says_so_or_left_unheard(world, plain):
    def runs():
        return cast.Prediction.objects.of(world.ada).count()

    async def story():
        counts = []
        for again in (None, None, "no", "yes", "yes", "no"):
            answer = await ask("POST", RUNS, **order(world, **({"X_Again": again} if again else {})))
            counts.append((await do(runs), answer.headers.get("idempotent-replayed")))
        exchange = begin("POST", RUNS, **order(world, {"input": {"prompt": "left"}}, X_Patience="30"))
        await is_watched()
        await exchange.leave()
        heard = await ask("POST", RUNS, **order(world, {"input": {"prompt": "left"}}))
        counts.append((await do(runs), heard.headers.get("idempotent-replayed")))
        return counts

    assert run(story()) == [
        *((1, None), (2, None), (3, None)),
        *((3, "true"), (3, "true"), (4, None), (5, "true")),
    ]


def test_who_is_told_no_moment_of_a_run_has_not_heard_of_it(world, plain, monkeypatch):
    wanted = order(world, {"stream": True})

    async def story():
        with monkeypatch.context() as full:
            full.setattr(events._crowd, "limit", 0)
            refused = await ask("POST", RUNS, **wanted)
        exchange = begin("POST", RUNS, **wanted)
        status, headers = await exchange.start()
        await exchange.leave()
        return refused.status, status, headers.get("idempotent-replayed")

    assert run(story()) == (429, 200, "true")
    assert cast.Prediction.objects.of(world.ada).count() == 1


def test_a_request_is_one_run_also_where_the_process_that_was_to_answer_it_died(world, plain, monkeypatch):
    async def nothing(*_, **__):
        return

    def another_process(name):
        monkeypatch.setattr(repeats._here, "own", name * 32)
        monkeypatch.setattr(repeats._here, "name", "")

    def left(text):
        return order(world, {"input": {"prompt": text}}, X_Patience="30")

    async def dying(text):
        exchange = begin("POST", RUNS, **left(text))
        await is_watched()
        await exchange.leave()
        return await do(cast.Prediction.objects.latest, "pk")

    async def asked(text):
        answer = await ask("POST", RUNS, **order(world, {"input": {"prompt": text}}))
        return answer.headers["x-vitrine-prediction"], answer.headers.get("idempotent-replayed")

    async def another_lives():
        exchange = begin("POST", RUNS, **left("two"))
        await is_watched()
        another_process("c")
        repeats.note_seen(is_seen=True)
        found = await asked("two")
        await exchange.leave()
        return found

    monkeypatch.setattr(held, "_note_leaving", nothing)  # who is killed notes nothing
    first, (heard, _) = run(dying("a vase")), run(asked("a jug"))
    another_process("b")
    assert run(asked("a vase")) == (first.uid, "true")
    assert run(asked("a vase")) == (first.uid, "true")  # several may have waited
    assert run(asked("a jug"))[0] != heard
    assert run(another_lives())[1] is None
    assert cast.Prediction.objects.of(world.ada).count() == 5
    redis_client().delete(repeats.left_key(first.public_id))  # as its time would
    assert run(asked("a vase"))[1] is None


def test_any_page_may_ask_with_whatever_headers_its_client_sends(world, plain):
    headers = {
        "Origin": "https://app.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-fal-queue-priority",
    }
    answer = run(ask("OPTIONS", RUNS, headers=headers))
    assert answer.status == 204
    assert "x-fal-queue-priority" in answer.headers["access-control-allow-headers"]


def test_files_and_odd_methods(world, plain):
    async def story():
        sent = await ask("POST", "/plain/files", headers=world.headers(), body=cast.png())
        return sent, await ask("QUERY", RUNS, headers=world.headers())

    sent, looked = run(story())
    assert (sent.status, sent.json()["file"][:2]) == (200, "a_"), sent.body
    assert looked.json() == {"looked": True}
