"""Webhooks of the whole product: told by the control process, also after it is killed while it tells."""

from __future__ import annotations

import contextlib
import html
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from tests.conftest import Stack
from tests.predictions.cast import SHELVE_CARD
from tests.until import until
from tests.webhooks.receiver import Receiver, running, say

RUN = {"model": "vitrine/card", "input": {"prompt": "a vase", "steps": 1}}
LET_CLAIMS_RUN_OUT = """
from playground.models import Delivery
from django.utils import timezone
Delivery.objects.filter(claimed_until__isnull=False).update(claimed_until=None, next_attempt_at=timezone.now())
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Of a workspace in which nobody else runs anything; there is a card to be had."""
    stack.manage("shell", "--no-imports", "-c", SHELVE_CARD)
    return stack.manage("create_key", "told", "--credit", "1").splitlines()[-1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as one:
        yield one


@contextlib.contextmanager
def api_of(stack: Stack, key: str) -> Iterator[httpx.Client]:
    who = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{stack.url}/api/v1/", headers=who, timeout=90, trust_env=False) as client:
        yield client


def test_a_run_is_told_at_its_end(stack: Stack, key: str, receiver: Receiver) -> None:
    with api_of(stack, key) as api:
        hook = api.post("webhooks", json={"url": f"{receiver.url}/all"}).json()
        run = api.post(
            "predictions", json={**RUN, "webhook": f"{receiver.url}/one"}, headers={"Prefer": "wait=60"}
        ).json()
        assert run["status"] == "succeeded"
        (told,) = until(lambda: receiver.at("/all"))
        (single,) = until(lambda: receiver.at("/one"))
        assert Verifier(hook["secret"]).verify(told.body, told.headers)["data"]["id"] == run["id"]
        secret = api.get("webhooks/request-secret").json()["secret"]
        assert Verifier(secret).verify(single.body, single.headers)["type"] == "prediction.succeeded"
        api.delete(f"webhooks/{hook['id']}")


def test_killed_while_it_tells_it_tells_again_under_the_same_id(
    stack: Stack, key: str, receiver: Receiver
) -> None:
    release = threading.Event()
    receiver.behaviour = lambda handler, message: (release.wait(300), say(204)(handler, message))[1]
    with api_of(stack, key) as api:
        hook = api.post("webhooks", json={"url": f"{receiver.url}/all"}).json()
        run = api.post("predictions", json=RUN, headers={"Prefer": "wait=60"}).json()
        until(lambda: receiver.at("/all"))
        os.kill(stack.pid_of("control"), signal.SIGKILL)
        release.set()
        stack.manage("shell", "--no-imports", "-c", LET_CLAIMS_RUN_OUT)
        first, second = until(lambda: len(receiver.at("/all")) > 1 and receiver.at("/all"))
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body

        def delivered():
            (sent,) = api.get(f"webhooks/{hook['id']}/deliveries").json()["results"]
            return sent if sent["status"] == "delivered" else None

        sent = until(delivered)
        assert (sent["prediction"], len(sent["attempts"])) == (run["id"], 1)
        api.delete(f"webhooks/{hook['id']}")


@pytest.mark.parametrize("language", ["curl", "python"])
def test_the_quickstart_runs_as_pasted(stack: Stack, language: str, tmp_path) -> None:
    page = httpx.get(f"{stack.url}/docs?l={language}", trust_env=False, timeout=60).text
    code = html.unescape(re.search(r'<code id="quickstart-code">(.*?)</code>', page, re.DOTALL)[1])
    command = {"curl": ["bash", "-c", code], "python": ["python3", "-c", code]}[language]
    env = {**os.environ, "VITRINE_API_KEY": stack.key}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"succeeded"' in done.stdout or "saved as" in done.stdout
