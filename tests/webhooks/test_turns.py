"""Many deliveries and many who deliver: each is taken once, in turn, and nobody waits for another."""

from __future__ import annotations

import datetime as dt
import functools
import threading

import pytest
from django.utils import timezone

from playground import webhooks
from playground.models import Delivery, Webhook
from playground.webhooks import claims, outcome, postman
from tests.at_once import at_once
from tests.predictions import cast
from tests.until import until
from tests.webhooks import receiver as servers
from tests.webhooks import story


@pytest.mark.django_db(transaction=True)
def test_pausing_recording_and_deleting_at_once_wait_for_nobody_in_a_ring():
    owner = cast.payer(name="busy")
    for _ in range(5):
        hook = webhooks.make(owner, url="https://example.test/in")
        for _ in range(20):
            webhooks.send_test(hook)
        missed = outcome.Attempt(at=timezone.now(), url=hook.url, duration_ms=1, status=500)
        pause, enable = (functools.partial(webhooks.change, hook, is_enabled=one) for one in (False, True))
        record = [functools.partial(outcome.record, claim, missed) for claim in claims.take(2)]
        acts = [pause, enable, pause, *record, functools.partial(webhooks.remove, hook), enable, pause]
        wrong = [one for one in at_once(*acts) if isinstance(one, Exception)]
        assert all(isinstance(one, webhooks.NotFound) for one in wrong), wrong
        assert not Webhook.objects.exists()


def test_a_crash_between_sending_and_recording_sends_once_more(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    story.ended(ada)
    (claim,) = claims.take(10)
    row = story.only()
    now = timezone.now()
    proof = postman.proof_of(row, now=now)
    postman.attempt(row, url=receiver.url, proof=proof, at=now)  # and the process dies
    assert story.deliver() == 0
    story.let_pass(seconds=claims.LEASE.total_seconds() + 1)
    assert story.deliver() == 1
    assert [one.headers["webhook-id"] for one in receiver.messages] == [row.message_id] * 2
    # The dead one was only slow: what it records now counts for nothing.
    outcome.record(claim, outcome.Attempt(at=dt.datetime.now(dt.UTC), url="x", duration_ms=1, status=500))
    assert [one["status"] for one in story.only().attempts] == [204]


def test_nobody_is_crowded_and_nobody_waits_for_another(ada, receiver):
    mal = cast.payer(name="mal")
    slow = webhooks.make(mal, url=f"{receiver.url}/slow")
    other = webhooks.make(mal, url=f"{receiver.url}/other")
    for _ in range(20):
        webhooks.send_test(slow)
    webhooks.send_test(other)
    fast = webhooks.make(ada, url=f"{receiver.url}/fast")
    webhooks.send_test(fast)
    taken = claims.take(100)
    by_target = list(
        Delivery.objects.filter(pk__in=[one.delivery for one in taken]).values_list("target", flat=True)
    )
    assert sorted(by_target) == sorted([slow.uid] * claims.PER_TARGET + [other.uid, fast.uid])
    assert claims.take(100) == []
    # With one free place, it is for who has least under way.
    third = cast.payer(name="third")
    late = webhooks.make(third, url=f"{receiver.url}/late")
    webhooks.send_test(webhooks.make(mal, url=f"{receiver.url}/more"))
    webhooks.send_test(late)
    (one,) = claims.take(1)
    assert Delivery.objects.get(pk=one.delivery).webhook_id == late.pk


@pytest.mark.django_db(transaction=True)
def test_many_at_once_take_each_delivery_once(transactional_db, ada, receiver):
    hooks = [webhooks.make(ada, url=f"{receiver.url}/{n}") for n in range(4)]
    for hook in hooks:
        webhooks.send_test(hook)
    taken = [one.delivery for some in at_once(*[functools.partial(claims.take, 10)] * 6) for one in some]
    assert sorted(taken) == sorted(Delivery.objects.values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_the_postman_goes_round_while_one_is_slow(transactional_db, ada, receiver, monkeypatch):
    release = threading.Event()
    receiver.by_path["/slow"] = lambda handler, message: (
        release.wait(300),
        servers.say(200)(handler, message),
    )
    slow, fast = (
        webhooks.make(ada, url=f"{receiver.url}/slow"),
        webhooks.make(ada, url=f"{receiver.url}/fast"),
    )
    for _ in range(6):
        webhooks.send_test(slow)
    stop = threading.Event()
    at_work = threading.Thread(target=webhooks.keep_delivering, args=[stop])
    at_work.start()
    for _ in range(6):
        webhooks.send_test(fast)
    postman.wake()
    try:
        until(lambda: len(receiver.at("/fast")) == 6)
        until(lambda: len(receiver.at("/slow")) == claims.PER_TARGET)
    finally:
        release.set()
    try:
        until(lambda: not Delivery.objects.exclude(status="delivered").exists())
    finally:
        stop.set()
        at_work.join(60)
    assert len(receiver.at("/slow")) == 6
