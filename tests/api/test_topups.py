"""Credit over the API: what there is, what was bought, and pages where people pay. No program pays."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from billing import topups
from playground.api import openapi
from tests.api.shapes import assert_problem
from tests.billing.buyers import available

USD = 1_000_000
BUY = {"amount_micros": 25 * USD}


@pytest.fixture
def shop(stripe_sandbox, transactional_db, world):
    """The world with somewhere to pay."""
    world.sandbox = stripe_sandbox
    return world


def assert_is(name: str, value) -> None:
    document = openapi.document()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    Draft202012Validator(schema).validate(value)


def test_a_page_is_opened_once_and_paid_by_a_person(shop):
    before = available(shop.workspace)
    answers = [shop.ada.post("billing/topups", BUY, Idempotency_Key="order-1") for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    first, again = (one.json() for one in answers)
    assert first == again
    assert ["Idempotent-Replayed" in one.headers for one in answers] == [False, True]
    assert answers[0].headers["Location"] == first["urls"]["get"]
    assert_is("TopUp", first)
    assert (first["status"], first["amount_micros"], first["paid_micros"]) == ("open", 25 * USD, 0)
    assert first["urls"]["pay"].startswith(shop.sandbox.url)
    assert available(shop.workspace) == before
    assert_problem(
        shop.ada.post("billing/topups", {"amount_micros": USD}, Idempotency_Key="order-1"),
        "idempotency_conflict",
    )

    row = topups.of(shop.workspace).get()
    shop.sandbox.pay(row.session_id)
    assert topups.look(row).is_paid
    paid = shop.ada.get(f"billing/topups/{row.uid}").json()
    assert_is("TopUp", paid)
    assert (paid["status"], paid["paid_micros"], paid["urls"]["pay"]) == ("paid", 25 * USD, None)
    assert shop.ada.get("billing/topups").json()["results"] == [paid]
    told = shop.ada.get("billing").json()
    assert_is("Billing", told)
    assert told["available_micros"] == before + 25 * USD
    assert told["is_test"] is True

    assert shop.mal.get("billing/topups").json()["results"] == []
    assert_problem(shop.mal.get(f"billing/topups/{row.uid}"), "not_found")


@pytest.mark.parametrize("amount", [1, 10_000, 25 * USD + 1, 2**52])
def test_so_much_cannot_be_bought(world, amount):
    assert_problem(world.ada.post("billing/topups", {"amount_micros": amount}), "topup_refused")
    assert not topups.of(world.workspace).exists()


def test_where_nobody_takes_money_it_is_said(world, settings):
    settings.STRIPE_SECRET_KEY, settings.STRIPE_SANDBOX = "", False
    answer = world.ada.post("billing/topups", BUY)
    assert_problem(answer, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
