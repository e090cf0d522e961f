"""What Stripe tells: believed if it is signed, kept once, followed until it is done."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from billing import arrivals, topups
from billing.gateway import events
from billing.models.credit import StripeEvent
from tests.billing.buyers import (
    USD,
    available,
)


def test_only_stripe_is_believed(stripe_sandbox, ada, client):
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id)
    event = next(one for one in stripe_sandbox.things("event") if one["type"] == "checkout.session.completed")
    body, headers = stripe_sandbox.signed(event["id"])
    given = {"content_type": "application/json", "HTTP_STRIPE_SIGNATURE": headers["Stripe-Signature"]}

    def post(data, **more):
        return client.post("/stripe/webhook", data, **{**given, **more}).status_code

    assert post(body.replace(b"2500", b"9900")) == 400
    assert post(body, HTTP_STRIPE_SIGNATURE="t=1,v1=00") == 400
    assert post(body, HTTP_STRIPE_SIGNATURE="") == 400
    assert post(body, HTTP_STRIPE_SIGNATURE="x" * 5000) == 400
    assert post(body, HTTP_STRIPE_SIGNATURE="t=" + "9" * 400 + ",v1=00") == 400
    assert post(b"\xff\xfe") == 400
    assert client.get("/stripe/webhook").status_code == 405
    assert not StripeEvent.objects.exists()
    assert post(body) == 200
    assert post(body) == 200
    assert StripeEvent.objects.get().deliveries == 2


def test_a_replay_after_five_minutes_is_refused(stripe_sandbox, ada, client):
    import stripe
    from django.conf import settings

    body = json.dumps({"id": "evt_1", "object": "event", "type": "x", "livemode": False})
    old = stripe.WebhookSignature.generate_signature_header(
        body, settings.STRIPE_WEBHOOK_SECRETS[-1], 1_700_000_000
    )
    answer = client.post("/stripe/webhook", body, content_type="application/json", HTTP_STRIPE_SIGNATURE=old)
    assert answer.status_code == 400


@pytest.mark.django_db
def test_events_of_the_other_book_and_of_no_shape():
    good = {"id": "evt_1", "object": "event", "type": "x", "livemode": False}
    for wrong in (
        {"livemode": True},
        {"id": None},
        {"id": "a\n"},
        {"id": "x" * 300},
        {"type": ""},
        {"type": 5},
    ):
        with pytest.raises(events.Refused):
            events.store({**good, **wrong})
    assert not StripeEvent.objects.exists()
    odd = {"created": 10**30, "data": [], "account": {"no": "text"}, "related_object": "none"}
    assert events.store({**good, **odd})
    assert not events.store({**good, **odd})


def test_who_cannot_follow_tries_again_and_says_so(stripe_sandbox, ada):
    row = topups.begin(ada, 25 * USD, by=None)
    stripe_sandbox.pay(row.session_id)
    stripe_sandbox.deliver()
    name = StripeEvent.objects.get(type="checkout.session.completed").event_id
    stripe_sandbox.fault("error", "get", "/v1/checkout/sessions/{session}", times=3)
    assert not events.follow(name, arrivals.follow)
    kept = StripeEvent.objects.get(event_id=name)
    assert kept.tries == 1
    assert "Unreachable" in kept.last_error
    assert not events.follow(name, arrivals.follow)  # not due yet
    assert events.follow(name, arrivals.follow, now=timezone.now() + timedelta(seconds=10))
    assert available(ada) == 25 * USD
    assert events.stuck(before=timezone.now()) != []  # the others, which nobody followed yet


def test_no_stripe_call_is_made_inside_a_transaction(stripe_sandbox, ada):
    """The gateway refuses it, so everything above would have failed; this shows that it does."""
    from django.db import transaction

    from billing.gateway.client import InTransaction

    with pytest.raises(InTransaction), transaction.atomic():
        topups.begin(ada, 25 * USD, by=None)
