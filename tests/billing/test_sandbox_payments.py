"""The sandbox, asked by Stripe's own library over HTTP: customers, cards, checkout and payments."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe
from django.utils import timezone

from billing.sandbox.refusals import Refused

LINE = {
    "quantity": 1,
    "price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Credit"}},
}
CHECKOUT = {
    "mode": "payment",
    "line_items": [LINE],
    "success_url": "http://127.0.0.1/after?session={CHECKOUT_SESSION_ID}",
    "metadata": {"topup": "t_1"},
}


def types(sandbox):
    return [one["type"] for one in sandbox.things("event")]


def test_a_checkout_is_paid_and_told_of(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(
        {
            **CHECKOUT,
            "payment_intent_data": {"setup_future_usage": "off_session", "metadata": {"topup": "t_1"}},
        }
    )
    assert (session.status, session.payment_status, session.amount_subtotal) == ("open", "unpaid", 2500)
    assert session.url == f"{stripe_sandbox.url}/-/stripe/checkout/{session.id}"
    assert stripe_sandbox.pay(session.id, email="ada@example.com") is None

    after = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (after.status, after.payment_status, after.url) == ("complete", "paid", None)
    assert after.payment_intent.status == "succeeded"
    assert after.payment_intent.metadata["topup"] == "t_1"
    entry = client.v1.balance_transactions.retrieve(after.payment_intent.latest_charge.balance_transaction)
    assert (entry.amount, entry.fee, entry.net) == (2500, 103, 2397)
    assert client.v1.balance.retrieve().available[0].amount == 2397
    saved = client.v1.customers.payment_methods.list(after.customer)
    assert [one.card.last4 for one in saved] == ["4242"]
    assert types(stripe_sandbox)[-1] == "checkout.session.completed"
    assert {"charge.succeeded", "payment_intent.succeeded", "payment_method.attached"} <= {
        *types(stripe_sandbox)
    }


def test_a_decline_leaves_the_session_open(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(CHECKOUT)
    why = stripe_sandbox.pay(session.id, "chargeDeclinedInsufficientFunds")
    assert why == "Your card has insufficient funds."
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert stripe_sandbox.pay(session.id) is None
    assert client.v1.checkout.sessions.retrieve(session.id).status == "complete"
    (intent,) = client.v1.payment_intents.list()  # one for both attempts
    assert [one.status for one in client.v1.charges.list({"payment_intent": intent.id})] == [
        "succeeded",
        "failed",
    ]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"mode": "paymnt"}, "mode"),
        ({"succes_url": "http://127.0.0.1/"}, "succes_url"),
        ({"line_items": [{**LINE, "quantity": "many"}]}, "line_items[0][quantity]"),
        (
            {"line_items": [{"quantity": 1, "price_data": {"unit_amount": 5}}]},
            "line_items[0][price_data][currency]",
        ),
        ({"metadata": {"n" * 41: "long"}}, "metadata"),
        ({"expires_at": 12}, "expires_at"),
        ({"automatic_tax": {"liability": {"type": "self"}}}, "automatic_tax[enabled]"),
    ],
)
def test_what_the_library_would_not_take_is_refused(stripe_sandbox, wrong, param):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        stripe_sandbox.client().v1.checkout.sessions.create({**CHECKOUT, **wrong})
    assert caught.value.param == param
    assert stripe_sandbox.things("checkout.session") == []


def test_a_key_is_honoured(stripe_sandbox):
    client = stripe_sandbox.client()
    first = client.v1.checkout.sessions.create(CHECKOUT, {"idempotency_key": "topup-1"})
    again = client.v1.checkout.sessions.create(CHECKOUT, {"idempotency_key": "topup-1"})
    assert again.id == first.id
    with pytest.raises(stripe.IdempotencyError):
        client.v1.checkout.sessions.create({**CHECKOUT, "metadata": {}}, {"idempotency_key": "topup-1"})
    assert len(stripe_sandbox.things("checkout.session")) == 1


def saved_card(client, card):
    customer = client.v1.customers.create({"email": "ada@example.com"})
    method = client.v1.payment_methods.attach(f"pm_card_{card}", {"customer": customer.id})
    return customer.id, method.id


def off_session(client, customer, method, **more):
    return client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "off_session": True,
            "confirm": True,
            **more,
        },
        {"idempotency_key": "auto-1"},
    )


def test_a_saved_card_pays_off_session(stripe_sandbox):
    client = stripe_sandbox.client()
    assert off_session(client, *saved_card(client, "visa")).status == "succeeded"


@pytest.mark.parametrize(
    ("card", "code", "decline"),
    [
        ("chargeCustomerFail", "card_declined", "generic_decline"),
        ("authenticationRequired", "authentication_required", "authentication_required"),
    ],
)
def test_a_saved_card_that_does_not_pay(stripe_sandbox, card, code, decline):
    client = stripe_sandbox.client()
    customer, method = saved_card(client, card)
    for _ in range(2):  # the second is the same answer again
        with pytest.raises(stripe.CardError) as caught:
            off_session(client, customer, method)
        assert (caught.value.code, caught.value.error.decline_code) == (code, decline)
        assert caught.value.error.payment_intent.status == "requires_payment_method"
    assert len(stripe_sandbox.things("payment_intent")) == 1
    assert types(stripe_sandbox)[-1] == "payment_intent.payment_failed"


def test_the_holder_is_asked(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(CHECKOUT)
    stripe_sandbox.pay(session.id, "authenticationRequired")
    (intent,) = stripe_sandbox.things("payment_intent")
    assert intent["status"] == "requires_action"
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    stripe_sandbox.authenticate(intent["id"])
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


@pytest.mark.parametrize(
    ("card", "last", "status"),
    [
        ("slow", "checkout.session.async_payment_succeeded", "paid"),
        ("slowFails", "checkout.session.async_payment_failed", "unpaid"),
    ],
)
def test_a_bank_that_answers_later(stripe_sandbox, card, last, status):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(CHECKOUT)
    stripe_sandbox.pay(session.id, card)
    found = client.v1.checkout.sessions.retrieve(session.id)
    assert (found.status, found.payment_status) == ("complete", "unpaid")
    stripe_sandbox.advance(timezone.now() + timedelta(minutes=1))
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == status
    assert types(stripe_sandbox)[-1] == last


def test_a_session_that_nobody_pays_ends(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(CHECKOUT)
    stripe_sandbox.advance(timezone.now() + timedelta(hours=25))
    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert types(stripe_sandbox) == ["checkout.session.expired"]


def test_who_comes_back_from_the_bank_after_the_page_is_over_pays_nothing(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(CHECKOUT)
    stripe_sandbox.pay(session.id, "authenticationRequired")
    stripe_sandbox.advance(timezone.now() + timedelta(hours=25))
    (intent,) = client.v1.payment_intents.list()
    assert (intent.status, intent.cancellation_reason) == ("canceled", "expired")
    with pytest.raises(Refused):
        stripe_sandbox.authenticate(intent.id)
    assert stripe_sandbox.things("charge") == []
    assert types(stripe_sandbox)[-2:] == ["payment_intent.canceled", "checkout.session.expired"]


def test_tax_and_invoice(stripe_sandbox):
    client = stripe_sandbox.client()
    session = client.v1.checkout.sessions.create(
        {**CHECKOUT, "automatic_tax": {"enabled": True}, "invoice_creation": {"enabled": True}}
    )
    stripe_sandbox.pay(session.id, email="ada@example.com", country="DE")
    after = client.v1.checkout.sessions.retrieve(session.id)
    assert (after.amount_subtotal, after.amount_total, after.total_details.amount_tax) == (2500, 2975, 475)
    invoice = client.v1.invoices.retrieve(after.invoice)
    assert (invoice.status, invoice.total, invoice.amount_paid) == ("paid", 2975, 2975)
    assert client.v1.payment_intents.retrieve(after.payment_intent).amount == 2975


def test_a_card_is_saved_without_a_payment(stripe_sandbox):
    client = stripe_sandbox.client()
    customer = client.v1.customers.create({"email": "ada@example.com"})
    session = client.v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer.id, "currency": "usd", "success_url": "http://127.0.0.1/"}
    )
    stripe_sandbox.pay(session.id, "authenticationRequiredOnSetup")
    stripe_sandbox.authenticate(stripe_sandbox.things("setup_intent")[0]["id"])
    after = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert after.status == "complete"
    assert off_session(client, customer.id, after.setup_intent.payment_method).status == "succeeded"
