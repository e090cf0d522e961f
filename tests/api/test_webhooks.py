"""Webhooks through the API: making, changing, removing, the log; as owner, outsider, member of each role, nobody."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from marketplace.models import Membership, User
from playground import webhooks
from playground.models import Delivery, Event, Prediction, Webhook
from tests.api.shapes import assert_problem

URL = "https://example.test/hooks"


@pytest.fixture
def hook(world):
    return webhooks.make(world.workspace, url=URL)


@pytest.fixture
def delivery(hook):
    return webhooks.send_test(hook)


def change(who, path, body, method="patch"):
    data = json.dumps(body).encode()
    return who.client.generic(
        method.upper(), f"/api/v1/{path}", data=data, content_type="application/json", headers=who.headers({})
    )


def test_made_shown_once_changed_and_removed(world):
    made = world.ada.post("webhooks", {"url": URL, "events": ["prediction.failed", "prediction.failed"]})
    body = made.json()
    assert (made.status_code, made.headers["Location"]) == (201, body["urls"]["get"])
    assert body["secret"].startswith("whsec_")
    assert body["events"] == ["prediction.failed"]
    path = f"webhooks/{body['id']}"
    shown = world.ada.get(path).json()
    assert shown == {**body, "secret": None}
    assert world.ada.get("webhooks").json()["results"] == [shown]
    changed = change(world.ada, path, {"is_enabled": False, "description": "ours"}).json()
    assert (changed["is_enabled"], changed["description"], changed["url"]) == (False, "ours", URL)
    rotated = world.ada.post(f"{path}/rotate").json()
    assert rotated["secret"] not in {None, body["secret"]}
    assert rotated["previous_secret_until"]
    assert change(world.ada, path, {}, "delete").status_code == 204
    assert_problem(world.ada.get(path), "not_found")
    assert not Webhook.objects.exists()


def test_made_once_under_a_key(world):
    one = world.ada.post("webhooks", {"url": URL}, Idempotency_Key="one")
    two = world.ada.post("webhooks", {"url": URL}, Idempotency_Key="one")
    assert one.json() == two.json()
    assert two.headers["Idempotent-Replayed"] == "true"
    assert Webhook.objects.count() == 1
    assert_problem(
        world.ada.post("webhooks", {"url": URL + "2"}, Idempotency_Key="one"), "idempotency_conflict"
    )
    assert_problem(
        world.ada.post(
            "predictions", {"model": "kiln/vase", "input": {"prompt": "x"}}, Idempotency_Key="one"
        ),
        "idempotency_conflict",
    )
    assert world.mal.post("webhooks", {"url": URL}, Idempotency_Key="one").status_code == 201
    assert not Prediction.objects.exists()


def test_what_a_key_made_and_is_deleted_is_not_made_again(world):
    """As with a run that was deleted: the key is spent, and says so."""
    made = world.ada.post("webhooks", {"url": URL}, Idempotency_Key="one").json()
    assert change(world.ada, f"webhooks/{made['id']}", {}, "delete").status_code == 204
    refused = world.ada.post("webhooks", {"url": URL}, Idempotency_Key="one")
    assert_problem(refused, "idempotency_conflict")
    assert "deleted" in refused.json()["detail"]
    assert not Webhook.objects.exists()
    assert world.ada.post("webhooks", {"url": URL}, Idempotency_Key="two").status_code == 201


def test_a_run_names_its_own_address(world):
    run = world.ada.run(webhook=URL, webhook_events_filter=["prediction.failed"])
    assert run.json()["webhook"] == URL
    assert Prediction.objects.get().webhook == {"url": URL, "events": ["prediction.failed"]}
    for wrong in ("ftp://x/", "", 7, "https://u@x/", ["https://x/"]):
        assert_problem(world.ada.run(webhook=wrong), "invalid_input", field="webhook")
    for wrong in ([], ["other"], "prediction.failed", [1], [["prediction.failed"]]):
        assert_problem(
            world.ada.run(webhook=URL, webhook_events_filter=wrong),
            "invalid_input",
            field="webhook_events_filter",
        )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "http:///"}, "url"),
        ({"url": "https://a.test/" + "x" * 2048}, "url"),
        ({"url": URL, "events": ["webhook.test"]}, "events"),
        ({"url": URL, "description": "x" * 201}, "description"),
        ({"url": URL, "secret": "whsec_mine"}, "secret"),
        ({"url": URL, "events": {"a": 1}}, "events"),
    ],
)
def test_what_cannot_be_taken(world, body, field):
    assert_problem(world.ada.post("webhooks", body), "invalid_input", field=field)
    assert not Webhook.objects.exists()


def test_there_are_only_so_many(world):
    for _ in range(webhooks.MAX_WEBHOOKS):
        webhooks.make(world.workspace, url=URL)
    assert_problem(world.ada.post("webhooks", {"url": URL}), "too_many")


def test_the_log(world, hook, delivery):
    path = f"webhooks/{hook.uid}/deliveries"
    (shown,) = world.ada.get(path).json()["results"]
    assert (shown["id"], shown["event"], shown["status"]) == (delivery.uid, "webhook.test", "pending")
    assert shown["payload"]["data"]["message"] == "It works."
    assert world.ada.get(f"{path}?status=delivered").json()["results"] == []
    assert_problem(world.ada.get(f"{path}?status=lost"), "invalid_input", field="status")
    Delivery.objects.update(status="failed", next_attempt_at=None, tries=8)
    again = world.ada.post(f"{path}/{delivery.uid}/redeliver")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    assert Delivery.objects.get().tries == 0


def test_a_test_event_is_one_under_a_key(world, hook):
    sent = [world.ada.post(f"webhooks/{hook.uid}/test", Idempotency_Key="t").json()["id"] for _ in range(2)]
    assert sent[0] == sent[1]
    assert Delivery.objects.count() == 1


def ways(hook, delivery):
    path = f"webhooks/{hook.uid}"
    return [
        ("get", path, {}),
        ("patch", path, {"description": "x"}),
        ("get", f"{path}/deliveries", {}),
        ("post", f"{path}/test", {}),
        ("post", f"{path}/rotate", {}),
        ("post", f"{path}/deliveries/{delivery.uid}/redeliver", {}),
        ("delete", path, {}),
    ]


def ask(who, method, path, body):
    return who.get(path) if method == "get" else change(who, path, body, method)


def test_to_others_there_is_none(world, hook, delivery):
    own = webhooks.make(world.other, url=URL)
    before = hook.secret
    for method, path, body in ways(hook, delivery):
        assert_problem(ask(world.mal, method, path, body), "not_found")
        assert_problem(ask(world.nobody, method, path, body), "not_authenticated")
    assert_problem(world.mal.post(f"webhooks/{own.uid}/deliveries/{delivery.uid}/redeliver"), "not_found")
    hook.refresh_from_db()
    assert (hook.secret, hook.description) == (before, "")
    assert [one["id"] for one in world.mal.get("webhooks").json()["results"]] == [own.uid]


def test_scopes(world, hook, delivery, key_with):
    reader, none = key_with(scopes=["webhooks:read"]), key_with(scopes=["predictions:write"])
    for method, path, body in ways(hook, delivery):
        assert_problem(ask(none, method, path, body), "missing_scope")
        answer = ask(reader, method, path, body)
        if method == "get":
            assert answer.status_code == 200
            assert "whsec_" not in answer.text
        else:
            assert_problem(answer, "missing_scope")


@pytest.mark.parametrize(("role", "may"), [("owner", 1), ("admin", 1), ("developer", 1), ("billing", 0)])
def test_roles(world, hook, role, may):
    user = User.objects.create_user(f"{role}@example.test", "a long password")
    Membership.objects.create(workspace=world.workspace, user=user, role=role)
    client = Client()
    client.force_login(user)
    answer = client.post("/api/v1/webhooks", {"url": URL}, content_type="application/json")
    assert answer.status_code == (201 if may else 403)
    assert client.get(f"/api/v1/webhooks/{hook.uid}").status_code == 200


def test_a_session_needs_its_token(world, hook):
    user = User.objects.create_user("owner@example.test", "a long password")
    Membership.objects.create(workspace=world.workspace, user=user)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert_problem(client.delete(f"/api/v1/webhooks/{hook.uid}"), "forbidden")
    assert Webhook.objects.exists()


def test_the_request_secret(world):
    one = world.ada.get("webhooks/request-secret").json()
    assert world.ada.get("webhooks/request-secret").json() == one
    two = world.ada.post("webhooks/request-secret").json()
    assert two["secret"] != one["secret"]
    assert two["previous_secret_until"]
    assert world.mal.get("webhooks/request-secret").json()["secret"] != two["secret"]


def test_all_events_by_default(world):
    assert world.ada.post("webhooks", {"url": URL}).json()["events"] == list(Event.values)
