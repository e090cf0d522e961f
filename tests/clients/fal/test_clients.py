"""fal's own clients, unmodified, over their whole run and queue surface against a whole Vitrine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import running
from tests.clients.fal.receiving import is_genuine
from tests.conftest import Stack
from tests.until import until
from tests.webhooks.receiver import Receiver
from tests.webhooks.receiver import running as receiving_at

HERE = Path(__file__).parent
APPS = ("vitrine/card", "vitrine/slow-card", "vitrine/nobodys-card")
SHELVE = """
from marketplace import catalog
from marketplace.models import Publisher
from tests.predictions import cast
house = Publisher.objects.get(name="vitrine")
card = {"family": "testcard", "weights": ""}
steps = {"num_inference_steps": {"type": "integer", "default": 4, "minimum": 1, "maximum": 40},
         "step_seconds": {"type": "number", "default": 0.15, "minimum": 0, "maximum": 1}}
for name, lane, fields in (("card", "cpu", {}), ("slow-card", "cpu", steps), ("nobodys-card", "nobodys", {})):
    made = cast.manifest(name=name, lane=lane, recipe=card)
    made["endpoint"]["input"]["properties"] |= fields
    catalog.publish(house, made)
"""
IGNORED = "enable_safety_checker"


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Of a workspace in which nobody else runs anything."""
    stack.manage("shell", "--no-imports", "-c", SHELVE)
    return stack.manage("create_key", "moved-here", "--credit", "5").splitlines()[-1]


def check_python(seen: dict[str, Any], base: str) -> None:
    """What a program in Python must have seen, however it was led here."""
    (image,) = seen["run"]["images"]
    assert image["url"].startswith(base)
    assert (image["content_type"], seen["run"]["seed"]) == ("image/png", 7)
    assert seen["sync_mode"] == "data:image/png;base64,"
    assert len(seen["subscribe"]["images"]) == 1
    assert seen["enqueued"] == 1
    assert set(seen["updates"]) <= {"Queued", "InProgress", "Completed"}
    assert {"InProgress", "Completed"} <= set(seen["updates"])
    assert any(IGNORED in one["message"] for one in seen["logs"])
    assert seen["metrics"]["inference_time"] > 0
    assert len(seen["got"]["images"]) == 1
    assert seen["by_id"]
    assert seen["by_full_id"]
    assert seen["status"] == "Completed"
    assert seen["cancel_late"][0] == 400
    assert seen["position"] == 0
    assert seen["canceled"] == ["The request was cancelled.", "client_cancelled"]
    assert seen["canceled_result"][:2] == [499, "client_cancelled"]
    assert seen["late"][:2] == [504, "request_timeout"]
    *partial, last = seen["stream"]
    assert partial
    assert all(one["images"][0]["url"].startswith("data:image/webp") for one in partial)
    assert last["images"][0]["url"].startswith(base)
    status, kind, message, _ = seen["wrong_field"]
    assert (status, kind, message[0]["loc"]) == (422, "invalid_input", ["body", "num_images"])
    assert [one["loc"] for one in seen["no_prompt"][2]] == [["body", "prompt"]]
    assert seen["below"] == 7
    for name in ("no_app", "no_path", "workflow", "comfy", "no_request"):
        assert seen[name][0] == 404, name
    assert seen["no_key"][:2] == [401, "unauthorized"]
    assert seen["full_queue"] == [429, "queue_full"]
    refused = (
        "cancel_late",
        "canceled_result",
        "late",
        "wrong_field",
        "no_prompt",
        "no_app",
        "workflow",
        "no_key",
    )
    assert all(seen[name][3] for name in refused), "each error names its request"
    assert seen["async"] == [1, 1, 1]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving_at() as one:
        yield one


def told_of(stack: Stack, receiver: Receiver, path: str) -> dict[str, Any]:
    """What the webhook said, which is checked as its receivers are told to check it."""
    (message,) = until(lambda: receiver.at(path))
    jwks = httpx.get(f"{stack.url}/fal/rest/.well-known/jwks.json", trust_env=False).json()
    assert is_genuine(message, jwks)
    said: dict[str, Any] = json.loads(message.body)
    assert message.headers["x-fal-webhook-request-id"] == said["request_id"]
    message.headers["x-fal-webhook-request-id"] = "another"
    assert not is_genuine(message, jwks)
    return said


def test_python_with_its_constants_pointed_here(stack: Stack, key: str, receiver: Receiver) -> None:
    pointed = {"FAL_BASE": stack.url, "FAL_KEY": key, "RECEIVER": receiver.url}
    seen = running.python(HERE / "surface.py", pointed, *APPS)
    check_python(seen, stack.url)
    said = told_of(stack, receiver, "/python?for=us")
    assert (said["request_id"], said["status"], said["payload"]["seed"]) == (seen["told"][0], "OK", 7)
    (shown,), (sent,) = seen["told"][1]["images"], said["payload"]["images"]
    assert {**sent, "url": ""} == {**shown, "url": ""}  # an address of a file may be another one later


def test_javascript(stack: Stack, key: str, receiver: Receiver) -> None:
    pointed = {"FAL_BASE": stack.url, "FAL_KEY": key, "RECEIVER": receiver.url}
    seen = running.javascript(HERE / "surface.mjs", pointed, *APPS)
    said = told_of(stack, receiver, "/javascript?for=us")
    assert [said["request_id"], said["error"], said["status"]] == [*seen["told"], "OK"]
    assert seen["below"] == 7
    assert seen["run"]["named"]
    assert seen["run"]["data"]["images"][0]["url"].startswith(stack.url)
    assert seen["get"] == 7
    for mode in ("polling", "streaming"):
        assert seen[mode]["images"] == 1
        assert seen[mode]["enqueued"]
        assert seen[mode]["states"][-1] == "IN_QUEUE" or "IN_PROGRESS" in seen[mode]["states"]
        assert "COMPLETED" in seen[mode]["states"]
        assert len([one for one in seen[mode]["logs"] if IGNORED in one]) == 1, "a line is told once"
        assert seen[mode]["metrics"] == "number"
    assert {"cancel_url", "queue_position", "response_url", "status", "status_url"} <= set(seen["submitted"])
    assert (seen["status"], seen["result"], seen["position"]) == ("COMPLETED", 1, 0)
    assert (seen["late"]["kind"], seen["late"]["status"]) == ("ApiError", 400)
    assert seen["canceled"] == ["COMPLETED", "client_cancelled"]
    assert seen["canceledResult"]["status"] == 499
    assert (seen["deadline"]["status"], seen["deadline"]["user"]) == (504, True)
    assert seen["stream"]["partial"] > 0
    assert (seen["stream"]["images"], seen["stream"]["named"]) == (1, True)
    assert (seen["wrongField"]["kind"], seen["wrongField"]["fields"]) == (
        "ValidationError",
        [["body", "num_images"]],
    )
    assert (seen["noApp"]["kind"], seen["noApp"]["status"]) == ("ApiError", 404)
    assert "nothing" in seen["noApp"]["message"]
    assert all(seen[name]["named"] for name in ("late", "canceledResult", "deadline", "wrongField", "noApp"))
    assert seen["noRequest"]["status"] == 404


def check_led_here(seen: dict[str, Any], stack: Stack, queue: str) -> None:
    assert seen["run"].startswith(stack.url)
    assert all(one.startswith(f"{queue}/vitrine/card/requests/") for one in seen["urls"])
    assert seen["statuses"][-1] == "Completed"
    assert [seen[name] for name in ("result", "by_id", "stream", "async")] == [1] * 4
    assert seen["error"] == [404, True]


def trusting(stack: Stack, key: str) -> dict[str, str]:
    return {"FAL_KEY": key, "SSL_CERT_FILE": str(stack.data / "tls" / "ca.pem")}


def test_python_with_two_host_names(stack: Stack, key: str) -> None:
    here = f"127.0.0.1:{stack.tls_port}/fal"
    hosts = {"FAL_RUN_HOST": f"{here}/run", "FAL_QUEUE_RUN_HOST": f"{here}/queue"}
    seen = running.python(HERE / "led_here.py", {**trusting(stack, key), **hosts}, APPS[0])
    check_led_here(seen, stack, f"https://{here}/queue")


def test_python_with_a_proxy_and_no_other_word(stack: Stack, key: str) -> None:
    proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{stack.connect_port}"}
    seen = running.python(HERE / "led_here.py", {**trusting(stack, key), **proxy}, APPS[0], "everything")
    check_led_here(seen, stack, "https://queue.fal.run")
    assert seen["upload"].endswith(".png")
    assert seen["realtime"] == "1"


def test_javascript_with_a_proxy_and_no_other_word(stack: Stack, key: str) -> None:
    version = running.node_version()
    if version < (22, 21) or (23,) <= version < (24, 5):
        pytest.skip("this Node does not take its proxy from the environment")
    proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{stack.connect_port}", "NODE_USE_ENV_PROXY": "1"}
    trusted = {"FAL_KEY": key, "NODE_EXTRA_CA_CERTS": str(stack.data / "tls" / "ca.pem")}
    seen = running.javascript(HERE / "led_here.mjs", {**proxy, **trusted}, APPS[0])
    assert seen["run"].startswith(stack.url)
    assert seen["at"].startswith("https://queue.fal.run/vitrine/card/requests/")
    assert [seen[name] for name in ("result", "subscribe", "stream")] == [1] * 3
    assert seen["error"] == [True, 404]
    assert (seen["upload"][0].startswith(stack.url), seen["upload"][1], seen["realtime"]) == (True, True, "1")
