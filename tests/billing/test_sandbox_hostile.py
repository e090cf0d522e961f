"""The sandbox against who should not be there, and against requests that are none."""

from __future__ import annotations

import pytest
import stripe
from django.conf import settings
from django.test import Client
from django.utils import timezone

from billing.sandbox import asking, rooms  # noqa: F401
from billing.sandbox.models import Asked, Thing
from tests.at_once import at_once

FORM = "application/x-www-form-urlencoded"


def ask(path, given, verb="post", **more):
    return asking.answer(verb, path, given, now=timezone.now(), is_text=False, **more)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/customers", {"name": "a\x00b"}),
        ("/v1/customers", {"metadata": {"a\x00b": "c"}}),
        ("/v1/customers", {"metadata": {"a": "\ud800"}}),
        ("/v1/customers/cus_\x00", {}),
        ("/v1/customers", {"metadata": {"a": {"b": "c"}}}),
        ("/v1/customers", {"metadata": []}),
        ("/v1/customers", {"address": "here"}),
        ("/v1/refunds", {"charge": "ch_1", "amount": -5}),
        ("/v1/payment_intents", {"amount": 10**12, "currency": "usd"}),
        ("/v1/payment_intents", {"amount": 500, "currency": "xau"}),
        ("/v1/payment_intents", {"amount": True, "currency": "usd"}),
        ("/v1/customers", {"tax_exempt": "always"}),
        (
            "/v1/customers",
            {"cash_balance": {"settings": {"reconciliation_mode": "manual"}}},
        ),  # known, not played
        ("/v1/nothing", {}),
        ("/v1/treasury/financial_accounts", {}),
        ("//v1/customers", {}),
    ],
)
def test_what_is_no_request_changes_nothing(path, given):
    answer = ask(path, given)
    assert answer.status in {400, 404}
    assert answer.body["error"]["message"]
    assert not Thing.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [0, -1, 101, 10**12])
@pytest.mark.parametrize("path", ["/v1/customers", "/v2/core/accounts", "/v2/core/events"])
def test_pages_are_bounded(path, limit):
    assert ask(path, {"limit": limit}, "get").status == 400


@pytest.mark.django_db
def test_a_long_key_and_a_deep_expansion_are_refused():
    assert ask("/v1/customers", {}, key="k" * 256).body["error"]["type"] == "idempotency_error"
    assert ask("/v1/customers", {"expand": ["a.b.c.d.e"]}).status == 400
    assert ask("/v1/customers", {"expand": ["nothing"]}).status == 400
    assert not Thing.objects.filter(kind="customer").exists()
    assert not Asked.objects.exists()


def knock(path="/-/stripe/v1/customers", body="", kind=FORM, **headers):
    given = {"Authorization": f"Bearer {settings.STRIPE_SECRET_KEY}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Client(enforce_csrf_checks=True).post(path, body, content_type=kind, headers=given)


@pytest.mark.django_db
def test_who_has_no_key_is_told_nothing():
    for given in (
        "",
        "Bearer ",
        "Bearer sk_test_guessed",
        "Basic !!",
        "Basic c2tfdGVzdF9ndWVzc2VkOg==",
        "Bearer ä",
    ):
        answer = knock(Authorization=given)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")
    assert settings.STRIPE_SECRET_KEY not in answer.content.decode()
    assert not Thing.objects.exists()


@pytest.mark.django_db
def test_bodies_that_are_none():
    assert knock().status_code == 200
    assert knock(body="name=%ff").status_code == 400
    assert knock(body=b"\xff\xfe").status_code == 400
    assert knock(body="{}", kind="application/json").status_code == 415
    assert knock(Stripe_Version="2020-08-27").status_code == 400
    v2 = "/-/stripe/v2/core/accounts"
    for body in ("[", "[]", "null", "[" * 100_000, '{"a": 1}', '{"identity": {"country": 1}}'):
        assert knock(v2, body, "application/json").status_code == 400, body[:20]
    assert Thing.objects.filter(kind="customer").count() == 1


def test_one_key_at_once_makes_one(stripe_sandbox):
    client = stripe_sandbox.client()

    def make():
        return client.v1.customers.create({"email": "ada@example.com"}, {"idempotency_key": "ada"}).id

    assert len(set(at_once(*[make] * 12))) == 1
    assert len(stripe_sandbox.things("customer")) == 1


def test_one_balance_at_once_is_spent_once(stripe_sandbox):
    client = stripe_sandbox.client()
    stripe_sandbox.add_funds(1000)

    def pay_out():
        try:
            return client.v1.payouts.create({"amount": 300, "currency": "usd"}).amount
        except stripe.InvalidRequestError as error:
            return error.code

    found = sorted(map(str, at_once(*[pay_out] * 6)))
    assert found == ["300"] * 3 + ["balance_insufficient"] * 3


def test_a_card_that_was_taken_away_pays_nothing(stripe_sandbox):
    client = stripe_sandbox.client()
    customer = client.v1.customers.create({"payment_method": "pm_card_visa"})
    (card,) = client.v1.customers.payment_methods.list(customer.id)
    client.v1.payment_methods.detach(card.id)
    given = {"amount": 500, "currency": "usd", "payment_method": card.id, "customer": customer.id}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.create({**given, "off_session": True, "confirm": True})
    assert caught.value.code == "payment_method_unexpected_state"
    other = client.v1.customers.create({"payment_method": "pm_card_visa"})
    (theirs,) = client.v1.customers.payment_methods.list(other.id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.create({**given, "payment_method": theirs.id})
    assert caught.value.code == "payment_method_customer_mismatch"
