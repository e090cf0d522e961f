"""Invoices, refunds and the reasons of a charge over the API."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from marketplace.models import User
from playground import refunds
from playground.predictions import cancel
from tests.api.shapes import assert_problem
from tests.predictions import cast

MONTH = f"{datetime.now(UTC):%Y-%m}"


def made(world, pictures=1):
    uid = world.ada.run(input={"num_images": pictures}).json()["id"]
    assert cast.succeed(cast.claim()[0], pictures=pictures)
    return cast.Prediction.objects.get(public_id=refunds_id(uid))


def refunds_id(uid):
    from marketplace.ids import parse

    return parse(uid, "p")


def test_what_was_given_back_stands_on_receipt_usage_and_invoice(world):
    row = made(world, 2)
    user = User.objects.create_user("boss@example.test", "a long password")
    refunds.give_back(row.public_id, 3_000, reason="fault", once=uuid4(), by=user, note="A scratch.")
    told = world.ada.get(f"receipts/{row.uid}").json()
    assert (told["charged_micros"], told["refunded_micros"], told["bought_micros"]) == (8_000, 3_000, 8_000)
    (refund,) = told["refunds"]
    assert (refund["reason"], refund["by"], refund["note"]) == ("fault", "operator", "A scratch.")
    assert "boss" not in str(told)
    assert told["why"] == [
        "It succeeded and its result was stored, so it was charged.",
        "2 images × $0.0040 = $0.0080. The price is the one that was in force when it was asked for.",
        "That is what it was quoted before it began.",
        "It was paid from credit that was bought.",
        told["why"][-1],
    ]
    assert told["why"][-1].startswith("$0.0030 was given back on ")
    assert told["offer"] == {"kind": "lane", "lane": cast.LANE}
    assert (told["attempts"], told["tax_micros"]) == (1, 0)
    assert told["ran_ms"] >= 0
    assert world.ada.get("usage").json()["total"]["refunded_micros"] == 3_000
    invoice = world.ada.get(f"invoices/{MONTH}").json()
    assert (invoice["charged_micros"], invoice["refunded_micros"]) == (8_000, 3_000)
    assert (invoice["is_final"], invoice["number"], invoice["due_micros"]) == (False, None, 0)
    moved = sum(one["amount_micros"] for one in invoice["movements"])
    assert invoice["opening_micros"] + moved + 3_000 - 8_000 == invoice["closing_micros"]
    assert invoice["closing_micros"] == world.ada.get("balance").json()["balance_micros"]
    listed = world.ada.get("invoices").json()["results"]
    assert listed == [{name: invoice[name] for name in listed[0]}]
    assert world.ada.get(f"invoices/{MONTH}/pdf").content.startswith(b"%PDF-")
    assert world.mal.get(f"invoices/{MONTH}").json()["lines"] == []
    assert_problem(world.mal.get(f"receipts/{row.uid}"), "not_found")


def test_why_nothing_was_charged(world):
    failed = world.ada.run().json()["id"]
    cast.fail(cast.claim()[0])
    canceled = world.ada.run().json()["id"]
    cancel(cast.Prediction.objects.get(public_id=refunds_id(canceled)))
    waiting = world.ada.run().json()["id"]
    for uid, words in (
        (failed, "It failed, and no failure is charged: the whole hold went back to the balance."),
        (canceled, "It was canceled while that is free: the whole hold went back to the balance."),
        (waiting, "It is open: $0.0040 is held, and charged only if it succeeds."),
    ):
        told = world.ada.get(f"receipts/{uid}").json()
        assert told["why"] == [words]
        assert (told["charged_lines"], told["refunds"]) == ([], [])


def test_why_a_part_was_charged(world, settings):
    settings.FREE_CANCELS_PER_DAY = 0
    uid = world.ada.run().json()["id"]
    cast.step(cast.claim()[0], 3)
    cancel(cast.Prediction.objects.get(public_id=refunds_id(uid)))
    told = world.ada.get(f"receipts/{uid}").json()
    assert told["charged_micros"] == 3_000
    assert "charged for the part of the work that was done: 75%, 3 of 4 steps." in told["why"][0]
    assert "the other $0.0010 went back to the balance" in told["why"][1]


@pytest.mark.parametrize("wrong", ["2026-13", "x", "1999-01", "2020-01", "2090-01", "%00"])
def test_months_that_are_none(world, wrong):
    assert_problem(world.ada.get(f"invoices/{wrong}"), "not_found")
    assert_problem(world.ada.get(f"invoices/{wrong}/pdf"), "not_found")
