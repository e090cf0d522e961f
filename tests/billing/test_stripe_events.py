"""What Stripe tells: believed if it is signed, kept once, followed until it is done."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

import pytest
import stripe
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from billing import arrivals, ledger, topups
from billing.gateway import calls, events
from billing.models.credit import StripeEvent
from tests.billing.buyers import USD, available, bought, follow_all


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


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd", [r'"\u0000"', r'"\ud800"', "1e999", "NaN", "9" * 5000, "[" * 90_000 + "]" * 90_000]
)
def test_what_no_database_holds_is_refused_although_it_is_signed(client, settings, odd):
    body = f'{{"id": "evt_1", "object": "event", "type": "x", "livemode": false, "data": {odd}}}'
    header = stripe.WebhookSignature.generate_signature_header(body, settings.STRIPE_WEBHOOK_SECRETS[-1])
    given = {"content_type": "application/json", "HTTP_STRIPE_SIGNATURE": header}
    assert client.post("/stripe/webhook", body, **given).status_code == 400
    assert client.post("/stripe/webhook", body.replace(odd, "{}"), **given).status_code == 400
    for other in ("[]", '{"id": "evt_1", "object": "charge", "type": "x", "livemode": false}'):
        signed = stripe.WebhookSignature.generate_signature_header(other, settings.STRIPE_WEBHOOK_SECRETS[-1])
        assert (
            client.post("/stripe/webhook", other, **given | {"HTTP_STRIPE_SIGNATURE": signed}).status_code
            == 400
        )
    assert not StripeEvent.objects.exists()


def test_a_replay_after_five_minutes_is_refused(stripe_sandbox, ada, client):
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
        {"id": "x" * 256},
        {"type": ""},
        {"type": "x" * 121},
        {"type": 5},
    ):
        with pytest.raises(events.Refused):
            events.store({**good, **wrong})
    assert not StripeEvent.objects.exists()
    odd = {"created": 10**30, "data": [], "account": {"no": "text"}, "related_object": "none"}
    assert events.store({**good, **odd})
    assert not events.store({**good, **odd})
    assert events.store({**good, "id": "x" * 255, "type": "x" * 120})
    for body, header in ((b" " * (events.MAX_BYTES + 1), ""), (b"{}", "x" * (events.MAX_HEADER + 1))):
        with pytest.raises(events.Refused, match="too long"):
            events.receive(body, header)


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


def put(kind, thing, **more):
    """Keep an event about an object, as Stripe would tell it; its name."""
    event = {"id": f"evt_{uuid4().hex}", "object": "event", "type": kind, "livemode": False, **more}
    assert events.store({"data": {"object": thing}, **event})
    return event["id"]


@pytest.mark.django_db
@pytest.mark.parametrize("carried", [{}, {"id": 7}, {"id": "x" * 300}, "text", None, [1]])
def test_what_names_no_object_is_put_aside_at_once_and_told(carried, capsys):
    name = put("payment_intent.succeeded", carried)
    assert not events.follow(name, arrivals.follow)
    later = timezone.now() + timedelta(days=400)
    assert events.hint_waiting(now=later) == 0
    assert not events.follow(name, arrivals.follow, now=later)
    row = StripeEvent.objects.get()
    assert (row.tries, row.handled_at) == (1, None)
    ((told, _, why),) = events.stuck(before=row.received_at)
    assert (told, "names no object" in why) == (name, True)
    call_command("credit", "events")
    assert name in capsys.readouterr().out
    call_command("credit", "follow", name)
    assert "could not be followed" in capsys.readouterr().out
    call_command("credit", "drop", name)
    row.refresh_from_db()
    assert row.handled_at
    assert events.stuck(before=later) == []
    for act in ("follow", "drop"):
        with pytest.raises(CommandError):
            call_command("credit", act, name)


@pytest.mark.django_db
def test_what_fails_here_is_put_aside_after_some_tries_and_silence_never_is():
    def broken(hint):
        raise KeyError("amount")

    def silent(hint):
        raise calls.Unreachable("no answer")

    for act, is_aside in ((broken, True), (silent, False)):
        name, now = put("refund.updated", {"id": "re_1"}), timezone.now()
        for _ in range(events.MOST_TRIES + 3):
            now += timedelta(days=2)
            assert not events.follow(name, act, now=now)
        row = StripeEvent.objects.get(event_id=name)
        assert (row.aside_at is not None) is is_aside
        assert row.tries == (events.MOST_TRIES if is_aside else events.MOST_SILENT)
        if not is_aside:
            assert row.due_at == now + timedelta(seconds=events.BACKOFF_SECONDS[row.tries - 1])
    assert events.again(StripeEvent.objects.get(aside_at__isnull=False).event_id, now=now)
    assert events.hint_waiting(now=now + timedelta(days=2)) == 2


@pytest.mark.django_db
def test_after_a_long_silence_one_fault_of_ours_is_tried_again():
    def silent(hint):
        raise calls.Unreachable("no answer")

    def broken(hint):
        raise KeyError("amount")

    name, now = put("refund.updated", {"id": "re_1"}), timezone.now()
    for act in [silent] * 20 + [broken]:
        now += timedelta(days=2)
        assert not events.follow(name, act, now=now)
    assert StripeEvent.objects.get().aside_at is None
    assert events.follow(name, lambda hint: None, now=now + timedelta(days=2))
    # What was followed is hinted at no more, and forgotten when it is old; what was not stays.
    assert events.hint_waiting(now=now + timedelta(days=99)) == 0
    waits, came = put("refund.updated", {"id": "re_2"}), timezone.now()
    assert events.tidy(now=came + events.KEPT - timedelta(hours=1)) == 0
    assert events.tidy(now=came + events.KEPT + timedelta(hours=1)) == 1
    assert StripeEvent.objects.get().event_id == waits


def paid_in(sandbox, currency, row):
    """The same page as a top-up's, in other money, and paid."""
    price = {"currency": currency, "unit_amount": row.cents, "product_data": {"name": "Credit"}}
    session = sandbox.client().v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [{"quantity": 1, "price_data": price}],
            "metadata": {"topup": row.uid},
            "payment_intent_data": {"metadata": {"topup": row.uid}},
            "success_url": "http://127.0.0.1/",
        }
    )
    assert sandbox.pay(session.id) is None
    return session.id


def test_other_money_books_nothing_and_is_told(stripe_sandbox, ada):
    row = topups.attempt(ada, 25 * USD, by=None)
    session = paid_in(stripe_sandbox, "eur", row)
    intent = stripe_sandbox.thing(session)["payment_intent"]
    stripe_sandbox.deliver(copies=2, order="random", seed=2)
    follow_all()
    charge = stripe_sandbox.thing(intent)["latest_charge"]
    stripe_sandbox.client().v1.refunds.create({"charge": charge, "amount": 100})
    stripe_sandbox.dispute(charge)
    stripe_sandbox.deliver(copies=2, order="random", seed=3)
    follow_all()
    row.refresh_from_db()
    assert (row.status, available(ada), ledger.totals()["stripe_clearing"]) == ("new", 0, 0)
    aside = StripeEvent.objects.filter(aside_at__isnull=False)
    assert aside.exists()
    assert all("in eur" in why for why in aside.values_list("last_error", flat=True))
    report = topups.reconcile()
    assert any("eur" in one for one in report.differences)
    assert (available(ada), ledger.totals()["stripe_clearing"], ledger.verify()) == (0, 0, [])


def test_objects_of_the_other_mode_book_nothing(stripe_sandbox, ada):
    row = bought(stripe_sandbox, ada)
    other = topups.begin(ada, 10 * USD, by=None)
    stripe_sandbox.pay(other.session_id)
    session = calls.session(other.session_id)
    refund = topups.refunds.start(row, 5 * USD, by=None)
    acts = (
        lambda: topups.settling.take_session({**session, "livemode": True}),
        lambda: topups.settling.take_intent({**session["payment_intent"], "livemode": True}),
        lambda: topups.disputes.take_dispute(
            {"id": "dp_1", "payment_intent": row.intent_id, "amount": 100, "livemode": True}
        ),
        lambda: topups.refunds.take_refund(
            {"id": "re_1", "metadata": {"refund": refund.uid}, "amount": 500, "livemode": True}
        ),
        lambda: topups.refunds.take_refund(
            {"id": "re_2", "payment_intent": row.intent_id, "amount": 500, "livemode": True}
        ),
    )
    for act in acts:
        with pytest.raises(calls.Mismatch, match="other mode"):
            act()
    assert available(ada) == 20 * USD
    assert ledger.verify() == []
