"""Truth under crashes: processes are killed and frozen for real, and nothing is lost or charged twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Page

from tests.conftest import PROJECT, Stack, run_stack
from tests.stack.api import MODEL, SMALL, Api
from tests.until import until

LONG = 40  # steps


def children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def make_key(stack: Stack, workspace: str, credit: str) -> Api:
    return Api(stack.url, stack.manage("create_key", workspace, "--credit", credit).strip().splitlines()[-1])


def assert_books_are_exact(stack: Stack) -> None:
    stack.manage("ledger", "verify")


def niceness(pid: int) -> dict[int, int]:
    """Of each thread of a process, see proc(5)."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found[int(task.name)] = int((task / "stat").read_text().rpartition(")")[2].split()[16])
    return found


def test_what_computes_gives_way_to_what_tells_and_settles(stack: Stack) -> None:
    api = make_key(stack, "crash-nice", "1.00")
    assert api.wait(api.submit(num_inference_steps=4)["id"])["status"] == "succeeded"
    parent = stack.pid_of("engine")
    [child] = [one.pid for one in psutil.Process(parent).children()]
    base, found = niceness(parent)[parent], niceness(child)
    assert found[child] == min(19, base + 5)
    assert base in found.values()


def test_a_killed_engine_costs_an_attempt_and_nothing_else(stack: Stack) -> None:
    api = make_key(stack, "crash-one", "1.00")
    run = api.submit(num_inference_steps=LONG)
    api.until(run["id"], lambda found: found["status"] == "running" and found["step"] >= 2)
    os.kill(stack.pid_of("engine"), signal.SIGKILL)
    again = api.until(run["id"], lambda found: found["attempt"] == 2)
    assert again["status"] == "running"
    done = api.wait(run["id"])
    assert done["status"] == "succeeded"
    assert done["attempt"] == 2
    assert done["cost_micros"] == done["quote"]["amount_micros"]
    balance = api.balance()
    assert balance["available_micros"] == 1_000_000 - done["cost_micros"]
    assert balance["held_micros"] == 0
    assert_books_are_exact(stack)


def test_the_open_page_says_what_happened_to_the_engine(page: Page, stack: Stack) -> None:
    api = Api(stack.url, stack.key)
    run = api.submit(num_inference_steps=LONG, num_images=2)
    page.goto(f"{stack.url}/p/{run['id']}")
    api.until(run["id"], lambda found: found["status"] == "running" and found["step"] >= 2)
    os.kill(stack.pid_of("engine"), signal.SIGKILL)
    page.get_by_text("An earlier attempt was lost; this is attempt 2.").wait_for(timeout=60_000)
    page.wait_for_selector("article[data-status=succeeded] .made img", timeout=120_000)
    assert "attempt 2" in page.locator("article").inner_text()


def test_the_open_page_outlives_its_server_and_a_call_that_waited_is_not_made_twice(
    page: Page, stack: Stack
) -> None:
    api, caller = Api(stack.url, stack.key), make_key(stack, "waits", "1.00")
    run = api.submit(num_inference_steps=LONG, num_images=4)
    page.goto(f"{stack.url}/p/{run['id']}")
    page.wait_for_selector("article[data-status=running]", timeout=60_000)

    def call() -> (
        httpx.Response
    ):  # of a client that neither names its requests nor says that it sends one again
        sent = {"prompt": "one call", **SMALL, "num_inference_steps": 4}
        return caller.http.post(f"{stack.url}/fal/run/{MODEL}", json=sent)

    def made() -> list[str]:
        return [one["id"] for one in caller.http.get("/predictions").json()["results"]]

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call)
        [mine] = until(made)
        os.kill(stack.pid_of("web"), signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            waiting.result()
    page.wait_for_selector("article[data-status=succeeded] .made img", timeout=120_000)
    assert "charged" in page.locator("article").inner_text()
    again = call()
    assert (again.status_code, again.headers["x-vitrine-prediction"]) == (200, mine), again.text
    assert again.headers["idempotent-replayed"] == "true"
    assert made() == [mine]


def test_everything_killed_with_nine_in_hand(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with run_stack(folder) as stack:
        api = make_key(stack, "nine", "1.00")
        runs = [api.submit(num_inference_steps=LONG)]
        runs += [api.submit(num_inference_steps=4, guidance_scale=1.5 + n / 2) for n in range(8)]
        api.until(runs[0]["id"], lambda found: found["status"] == "running" and found["step"] >= 1)
        doomed = [psutil.Process(stack.pid), *children(stack.pid)]
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)
    with run_stack(folder) as stack:
        api = Api(stack.url, api.http.headers["Authorization"].removeprefix("Bearer "))
        done = [api.wait(run["id"]) for run in runs]
        assert [run["status"] for run in done] == ["succeeded"] * 9
        assert api.balance()["available_micros"] == 1_000_000 - sum(run["cost_micros"] for run in done)
        assert api.balance()["held_micros"] == 0
        assert_books_are_exact(stack)


@contextlib.contextmanager
def another_engine(stack: Stack) -> Iterator[None]:
    """A second machine on the same lane."""
    command = "celery -A marketplace.dispatch worker -P prefork -c 1 -Q lane.cpu -n second@%h"
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()],
        env=stack.env,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        for child in [*children(process.pid), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()


def test_a_frozen_engine_that_wakes_changes_nothing(stack: Stack) -> None:
    api = make_key(stack, "frozen", "1.00")
    run = api.submit(num_inference_steps=LONG)
    api.until(run["id"], lambda found: found["status"] == "running" and found["step"] >= 1)
    engine = psutil.Process(stack.pid_of("engine"))
    frozen = [engine, *engine.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        with another_engine(stack):
            done = api.wait(run["id"])
            assert done["status"] == "succeeded"
            assert done["attempt"] == 2
            picture = api.media(done["output"]["images"][0]["url"])
            for process in frozen:
                process.resume()
            other = api.run(num_inference_steps=4)  # somebody works again, so the frozen one had its say
            assert other["status"] == "succeeded"
            time.sleep(3)
    finally:
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    after = api.get(run["id"])
    assert {name: after[name] for name in ("attempt", "cost_micros", "finished_at", "status")} == {
        name: done[name] for name in ("attempt", "cost_micros", "finished_at", "status")
    }
    assert api.media(after["output"]["images"][0]["url"]) == picture
    assert api.balance()["available_micros"] == 1_000_000 - done["cost_micros"] - other["cost_micros"]
    assert_books_are_exact(stack)


def test_alone_and_again_alone_the_same_bytes(stack: Stack) -> None:
    api = make_key(stack, "same-bytes", "1.00")
    pictures = {
        api.media(api.run(seed=482193, num_inference_steps=8)["output"]["images"][0]["url"]) for _ in range(2)
    }
    assert len(pictures) == 1


def test_another_workspace_sees_nothing(stack: Stack) -> None:
    owner, outsider = make_key(stack, "owner", "1.00"), make_key(stack, "outsider", "1.00")
    run = owner.run(num_inference_steps=4)
    for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "/events")):
        answer = outsider.http.request(method, f"/predictions/{run['id']}{path}")
        assert answer.status_code == 404, (path, answer.status_code)
    assert run["id"] not in outsider.http.get("/predictions").text
    forged = run["output"]["images"][0]["url"].replace("/media/", "/media/A")
    assert outsider.http.get(forged).status_code == 404
