"""The operator's page of the books: what audits and comparisons found, and asking for one now."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from billing import arrivals, auditor, topups
from billing.gateway import events
from billing.models import Audit
from billing.models.credit import Reconciliation
from billing.models.payouts import Payout
from marketplace import dispatch
from marketplace.models import User
from tests.billing.cast import new_publisher
from tests.pages.test_access import INLINE

BOOKS, RUN, EVENT = "/-/books", "/-/books/run", "/-/books/event"


def text_of(answer) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


@pytest.fixture
def boss(db) -> Client:
    dispatch.redis_client().flushdb()
    user = User.objects.create_user("boss@example.test", "a long password")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    client = Client()
    client.force_login(user)
    yield client
    dispatch.redis_client().flushdb()


def test_before_anything_was_looked_at(boss, settings):
    page = boss.get(BOOKS)
    assert "The first audit is still to come" in text_of(page)
    assert "The first comparison is still to come" in text_of(page)
    assert INLINE.search(page.content.decode()) is None
    settings.STRIPE_SECRET_KEY = ""
    assert "no key of it is set" in text_of(boss.get(BOOKS))
    assert boss.post(RUN, {"act": "compare"}).status_code == 404


def test_what_was_found(boss):
    now = timezone.now()
    auditor.run(now=now - timedelta(days=2))
    Audit.objects.create(started_at=now - timedelta(days=1))
    bad = [{"check": "a balance is the sum of its entries", "detail": f"account {n}"} for n in range(30)]
    Audit.objects.create(started_at=now - timedelta(hours=9), finished_at=now, problem_count=30, problems=bad)
    Audit.objects.create(started_at=now - timedelta(minutes=1))
    Reconciliation.objects.create(
        book="test",
        since=now - timedelta(days=3),
        until=now,
        figures={"fee_cents": 1234, "events": 5, "stripe_clearing_micros": 25_000_000, "odd_cents": 1},
        differences=["tu_1: 500 cents came at Stripe, the row is open"],
        made_at=now,
    )
    Reconciliation.objects.create(book="live", since=now, until=now, differences=["of the other book"])
    page = text_of(boss.get(BOOKS))
    for words in (
        "30 problems",
        "account 19",
        "running",
        "broken off",
        "nothing",
        "500 cents came at Stripe",
        "Stripe’s fees $12.3400",
        "at Stripe, by our books $25.0000",
        "odd $0.0100",
    ):
        assert words in page, words
    assert "account 20" not in page
    assert "of the other book" not in page


def test_one_is_asked_for_and_made(boss, monkeypatch, stripe_sandbox):
    sent = []
    monkeypatch.setattr(dispatch.app, "send_task", lambda task, **named: sent.append((task, named["kwargs"])))
    for act in ("audit", "audit", "compare", "compare"):
        assert boss.post(RUN, {"act": act}).status_code == 302
    assert sent == [(auditor.ASK_TASK, {"key": "now"}), ("billing.reconcile_stripe", {"key": "now"})]
    for task, named in sent.copy():  # as control does
        dispatch.app.tasks[task](**named)
    assert Audit.objects.get().problem_count == 0
    assert len(topups.reconciliations(5)) == 1
    page = text_of(boss.get(BOOKS))
    assert "clean" in page
    assert "agree" in page
    assert boss.post(RUN, {"act": "burn"}).status_code == 404
    assert boss.get(RUN).status_code == 405


def test_a_payout_that_strayed_is_shown_with_what_to_do_about_it(boss):
    assert "although they had failed" not in text_of(boss.get(BOOKS))
    at = timezone.now()
    made = {
        "book": "test",
        "method": "stripe",
        "kind": "requested",
        "destination": "acct_1",
        "settled_at": at,
    }
    Payout.objects.create(
        publisher=new_publisher(), status="failed", amount_micros=25_000_000, stray_id="tr_<i>1</i>", **made
    )
    page = boss.get(BOOKS)
    assert "tr_<i>1</i>" in text_of(page)
    assert "$25" in text_of(page)
    assert "then reverse the whole transfer at Stripe" in text_of(page)
    assert INLINE.search(page.content.decode()) is None


def test_what_stripe_told_and_was_put_aside_is_tried_again_or_done_with(boss):
    name = "evt_<b>1</b>"
    told = {"id": name, "object": "event", "type": "payment_intent.succeeded", "livemode": False, "data": {}}
    assert "put aside" not in text_of(boss.get(BOOKS))
    assert events.store(told)
    assert not events.follow(name, arrivals.follow)
    page = boss.get(BOOKS)
    assert "Mismatch: a payment_intent.succeeded that names no object tried 1 time" in text_of(page)
    assert name in text_of(page)
    assert INLINE.search(page.content.decode()) is None
    outsider = Client()
    outsider.force_login(User.objects.create_user("mal@example.test", "a long password"))
    for who, act, name_of, status in (
        (outsider, "again", name, 404),
        (outsider, "drop", name, 404),
        (Client(enforce_csrf_checks=True), "drop", name, 403),
        (boss, "burn", name, 404),
        (boss, "drop", "evt_2", 302),
        (boss, "again", "evt_\0", 302),
    ):
        assert who.post(EVENT, {"act": act, "event": name_of}).status_code == status, act
    assert boss.get(EVENT).status_code == 405
    assert events.aside(5) != []
    assert "followed once more" in text_of(boss.post(EVENT, {"act": "again", "event": name}, follow=True))
    assert events.aside(5) == []
    assert events.hint_waiting() == 1
    assert not events.follow(name, arrivals.follow)
    assert "aside for good" in text_of(boss.post(EVENT, {"act": "drop", "event": name}, follow=True))
    assert events.aside(5) == events.stuck(before=timezone.now()) == []
    again = boss.post(EVENT, {"act": "again", "event": name}, follow=True)
    assert "It is not put aside any more" in text_of(again)
