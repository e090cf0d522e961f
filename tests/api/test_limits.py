"""Spend limits over the API, and what they refuse."""

from __future__ import annotations

import pytest

from billing import ledger, limits
from marketplace import keys
from marketplace.ids import encode
from marketplace.models import Membership, Outbox, User
from playground import webhooks
from playground.models import Delivery
from playground.webhooks import events
from tests.api.programs import Caller
from tests.api.shapes import assert_problem
from tests.predictions import cast

MONTH = {"scope": "workspace", "period": "month", "limit_micros": 5_000}


def test_a_limit_from_its_making_to_its_end(world):
    made = world.ada.post(
        "limits", {**MONTH, "scope": "model", "target": "kiln/vase", "alert_at": [90, 50, 90]}
    )
    assert made.status_code == 200
    body = made.json()
    assert (body["scope"], body["target"], body["alert_at"]) == ("model", "kiln/vase", [50, 90])
    assert (
        world.ada.post("limits", {**MONTH, "scope": "model", "target": "kiln/vase"}).json()["id"]
        == body["id"]
    )
    path = f"limits/{body['id']}"
    assert world.ada.get(path).json()["alert_at"] == [50, 90]
    assert world.ada.run().status_code == 201
    assert world.ada.get(path).json()["spent_micros"] == 4_000
    refused = assert_problem(world.ada.run(), "limit_reached")
    assert (refused["scope"], refused["period"], refused["spent_micros"]) == ("model", "month", 4_000)
    assert world.ada.get(path).json()["is_reached"]
    changed = world.ada.patch(path, {"alert_at": []}).json()
    assert (changed["alert_at"], changed["limit_micros"]) == ([], 5_000)
    [listed] = world.ada.get("limits").json()["results"]
    assert listed == changed
    assert world.mal.get("limits").json()["results"] == []
    for method in ("get", "patch", "delete"):
        args = [path, {"limit_micros": 1}] if method == "patch" else [path]
        assert_problem(getattr(world.mal, method)(*args), "not_found")
    assert world.ada.delete(path).status_code == 204
    assert_problem(world.ada.get(path), "not_found")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": "galaxy"}, "scope"),
        ({"period": "year"}, "period"),
        ({"limit_micros": -1}, "limit_micros"),
        ({"limit_micros": 2**60}, "limit_micros"),
        ({"limit_micros": 1.5}, "limit_micros"),
        ({"limit_micros": None}, "limit_micros"),
        ({"alert_at": [0]}, "alert_at"),
        ({"alert_at": "50"}, "alert_at"),
        ({"scope": "key", "target": "k_none"}, "target"),
        ({"scope": "model", "target": "kiln/none"}, "target"),
        ({"more": 1}, "more"),
    ],
)
def test_bodies_that_are_no_limit(world, change, field):
    body = assert_problem(world.ada.post("limits", {**MONTH, **change}), "invalid_input")
    assert field in {error["field"].split("[")[0].split(".")[0] for error in body["errors"]}
    assert limits.of(world.workspace) == []


def test_a_program_is_bound_by_what_a_person_set(world):
    key, text = keys.make(world.workspace, name="bound", scopes=["billing:read", "billing:write"])
    bound = limits.put(world.workspace, kind="key", target=key.uid, period="day", limit_micros=100)
    program = Caller(text)
    assert program.patch(f"limits/{bound.uid}", {"limit_micros": 50}).status_code == 200
    assert_problem(program.patch(f"limits/{bound.uid}", {"limit_micros": 51}), "forbidden")
    assert_problem(program.delete(f"limits/{bound.uid}"), "forbidden")
    again = {"scope": "key", "target": key.uid, "period": "day", "limit_micros": 10**9}
    assert_problem(program.post("limits", again), "forbidden")
    assert limits.find(world.workspace, bound.uid).limit_micros == 50


@pytest.mark.parametrize("kind", ["workspace", "member"])
def test_a_program_lifts_no_limit_of_its_maker(world, kind):
    ada = User.objects.create_user("ada@example.test")
    Membership.objects.create(workspace=world.workspace, user=ada, role="owner")
    _, text = keys.make(world.workspace, name="sly", by=ada, scopes=["billing:read", "billing:write"])
    target = {"workspace": "", "member": encode(ada.public_id, "u")}[kind]
    bound = limits.put(world.workspace, kind=kind, target=target, period="day", limit_micros=100)
    program = Caller(text)
    assert_problem(program.patch(f"limits/{bound.uid}", {"limit_micros": 101}), "forbidden")
    assert_problem(program.delete(f"limits/{bound.uid}"), "forbidden")
    again = {"scope": kind, "target": target, "period": "day", "limit_micros": 10**9}
    assert_problem(program.post("limits", again), "forbidden")
    assert program.patch(f"limits/{bound.uid}", {"limit_micros": 99}).status_code == 200


def test_a_members_keys_spend_what_the_member_may(world):
    ada = User.objects.create_user("ada@example.test")
    Membership.objects.create(workspace=world.workspace, user=ada, role="developer")
    limits.put(
        world.workspace, kind="member", target=encode(ada.public_id, "u"), period="day", limit_micros=5_000
    )
    _, text = keys.make(world.workspace, name="first", by=ada)
    made = Caller(text).post("keys", {"name": "second", "scopes": ["models:read", "predictions:write"]})
    assert Caller(text).run().status_code == 201
    for one in (text, made.json()["key"]):
        assert assert_problem(Caller(one).run(), "limit_reached")["scope"] == "member"
    assert world.ada.run().status_code == 201


def test_a_run_too_many_is_told_when_to_come_again(world, settings):
    settings.MAX_OPEN_RUNS = 1
    assert world.ada.run().status_code == 201
    answer = world.ada.run()
    body = assert_problem(answer, "too_many_runs")
    assert body["max_open_runs"] == 1
    assert answer.headers["Retry-After"] == "5"
    type(world.workspace).objects.filter(pk=world.workspace.pk).update(max_open_runs=2)
    keys.forget()
    assert world.ada.run().status_code == 201
    assert_problem(world.ada.run(), "too_many_runs")
    assert world.mal.run().status_code == 201
    cast.money_is_right()


def test_webhooks_hear_of_a_limit_once(world):
    hook = webhooks.make(world.workspace, url="https://example.test/hook", events=["limit.alert"])
    webhooks.make(world.workspace, url="https://example.test/runs", events=["prediction.failed"])
    limits.put(world.workspace, kind="workspace", period="month", limit_micros=5_000)
    assert world.ada.run().status_code == 201
    limits.find_alerts()
    [row] = Outbox.objects.filter(task=limits.EVENT_TASK)
    payload = dict(row.payload)
    events.limit_alert(row.pk)
    Outbox.objects.create(task=limits.EVENT_TASK, payload=payload)
    events.limit_alert(Outbox.objects.get(task=limits.EVENT_TASK).pk)
    delivery = Delivery.objects.get()
    assert (delivery.webhook, delivery.event) == (hook, "limit.alert")
    shown = world.ada.get(f"webhooks/{hook.uid}/deliveries").json()["results"][0]["payload"]
    assert shown["type"] == "limit.alert"
    assert shown["data"] == {
        "scope": "workspace",
        "target": world.workspace.slug,
        "name": world.workspace.name,
        "period": "month",
        "limit_micros": 5_000,
        "spent_micros": 4_000,
        "percent": 80,
        "is_refusing": False,
        "resets_at": payload["resets_at"],
        "currency": "USD",
    }


def test_single_requests_are_told_of_runs_only(world):
    body = {"webhook": "https://example.test/", "webhook_events_filter": ["limit.alert"]}
    assert_problem(world.ada.run(**body), "invalid_input")


def test_prices_with_tiers_and_the_list_to_come(world):
    from datetime import timedelta
    from decimal import Decimal

    from django.utils import timezone

    from marketplace import catalog
    from marketplace.catalog import Line

    endpoint = catalog.callable_endpoint("kiln/vase", workspace=None, now=timezone.now()).endpoint
    tiers = [Line("image", Decimal("0.004"), {}), Line("image", Decimal("0.003"), {}, 1)]
    catalog.set_prices(endpoint, tiers, by=None)
    later = catalog.set_prices(
        endpoint,
        [Line("image", Decimal("0.01"), {})],
        by=None,
        effective_from=timezone.now() + timedelta(hours=1),
    )
    catalog.forget()
    model = world.ada.get("models/kiln/vase").json()
    assert [line["from_runs"] for line in model["prices"]] == [0, 1]
    assert model["next_prices"]["effective_from"] == later.isoformat()
    assert model["next_prices"]["prices"][0]["unit_price"] == "0.01"
    first, second = world.ada.run().json(), world.ada.run().json()
    assert first["quote"]["amount_micros"] == second["quote"]["amount_micros"] == 4_000  # none is settled yet
    for job in cast.claim(limit=2) + cast.claim(limit=2):
        cast.succeed(job)
    third = world.ada.run().json()
    assert third["quote"]["lines"][0] == {
        "unit": "image",
        "quantity": "1",
        "unit_price": "0.003",
        "amount_micros": 3_000,
        "from_runs": 1,
    }
    assert world.mal.run().json()["quote"]["amount_micros"] == 4_000
    catalog.set_prices(endpoint, [Line("image", Decimal("0.5"), {})], by=None)
    catalog.forget()
    for job in cast.claim(limit=2) + cast.claim(limit=2):
        cast.succeed(job)
    receipt = world.ada.get(f"receipts/{third['id']}").json()
    assert (receipt["charged_micros"], receipt["lines"][0]["from_runs"]) == (3_000, 1)
    assert ledger.verify() == []
