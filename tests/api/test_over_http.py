"""The API as programs meet it: over HTTP, against all processes, many at once."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.predictions.cast import SHELVE_CARD

RUN = {"model": "vitrine/card", "input": {"prompt": "a vase", "steps": 1}}
PRICE = 4_000


@pytest.fixture(scope="module")
def program(stack):
    """A program of a new workspace with this much credit."""
    stack.manage("shell", "--no-imports", "-c", SHELVE_CARD)
    made: list[httpx.Client] = []

    def make(name: str, credit: str) -> httpx.Client:
        key = stack.manage("create_key", name, "--credit", credit).splitlines()[-1]
        limits = httpx.Limits(max_connections=50)
        made.append(
            httpx.Client(
                base_url=f"{stack.url}/api/v1/",
                headers={"Authorization": f"Bearer {key}"},
                timeout=120,
                limits=limits,
                trust_env=False,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


def finished(client: httpx.Client) -> dict[str, int]:
    """The balance when nothing is held any more."""
    for _ in range(600):
        balance = client.get("balance").json()
        if not balance["held_micros"]:
            return balance
        time.sleep(0.2)
    pytest.fail(f"still held: {balance}")


def test_two_hundred_at_once_against_a_balance_for_fifty(program, stack):
    ada = program("http-fifty", "0.2")

    def submit(_: int) -> httpx.Response:
        return ada.post("predictions", json=RUN)

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(submit, range(200)))
    assert Counter(one.status_code for one in answers) == {201: 50, 402: 150}
    assert {one.json()["code"] for one in answers if one.status_code == 402} == {"insufficient_credit"}
    assert finished(ada)["balance_micros"] == 0
    seen, path = Counter(), "predictions?limit=100"
    while path:
        page = ada.get(path).json()
        seen.update((one["status"], one["cost_micros"]) for one in page["results"])
        path = page["next"]
    assert seen == {("succeeded", PRICE): 50}
    assert "clean" in stack.manage("ledger", "verify")


def test_the_same_key_at_once_is_one_run(program):
    ada = program("http-same", "1")

    def submit(_: int) -> httpx.Response:
        for _ in range(50):
            answer = ada.post("predictions", json=RUN, headers={"Idempotency-Key": "order 1"})
            if answer.status_code != 409:
                return answer
            assert answer.json()["code"] == "idempotency_in_flight"
            time.sleep(float(answer.headers["Retry-After"]) / 10)
        pytest.fail("always in flight")

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(submit, range(40)))
    assert {one.status_code for one in answers} == {201}
    assert len({one.json()["id"] for one in answers}) == 1
    assert sum("Idempotent-Replayed" not in one.headers for one in answers) == 1
    assert finished(ada)["balance_micros"] == 1_000_000 - PRICE


def test_create_and_wait_in_one_call(program):
    ada = program("http-wait", "1")
    done = ada.post("predictions", json=RUN, headers={"Prefer": "wait=60"}).json()
    assert (done["status"], done["cost_micros"]) == ("succeeded", PRICE)
    assert set(done) == set(ada.post("predictions", json=RUN).json())
    assert set(done) == set(ada.get(f"predictions/{done['id']}").json())
    picture = httpx.get(done["output"]["images"][0]["url"], trust_env=False, timeout=60)
    assert picture.headers["Content-Type"] == done["output"]["images"][0]["content_type"]
    assert len(picture.content) == done["output"]["images"][0]["size"]


def test_another_workspaces_key_sees_nothing(program):
    ada, mal = program("http-ada", "1"), program("http-mal", "1")
    run = ada.post("predictions", json=RUN).json()["id"]
    answers = [
        mal.get(f"predictions/{run}"),
        mal.post(f"predictions/{run}/cancel"),
        mal.get(f"predictions/{run}/events"),
    ]
    assert [one.status_code for one in answers] == [404, 404, 404]
    assert {one.headers["Content-Type"] for one in answers} == {"application/problem+json"}
    assert ada.get(f"predictions/{run}").status_code == 200
    finished(ada)
