"""Telling: what arrives, how often, signed by whom, and what servers that misbehave can do about it."""

from __future__ import annotations

import datetime as dt
import functools
import json
import threading

import pytest
from django.utils import timezone
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from marketplace.models import Membership, Outbox, User
from playground import predictions, webhooks
from playground.models import Deletion, Delivery, Webhook
from playground.predictions import delete as deletion
from playground.webhooks import claims, outcome, postman, signing
from playground.webhooks.events import MAX_PAYLOAD_BYTES, closed
from tests.at_once import at_once
from tests.people.cast import letters, link_in
from tests.predictions import cast
from tests.webhooks import receiver as servers
from tests.webhooks import story
from tests.webhooks.receiver import until


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_an_end_arrives_signed(ada, receiver, how):
    hook = webhooks.make(ada, url=f"{receiver.url}/in")
    row = story.ended(ada, how)
    assert story.deliver() == 1
    (message,) = receiver.messages
    told = Verifier(hook.secret).verify(message.body, message.headers)
    assert told["type"] == f"prediction.{how}"
    assert told["data"] == json.loads(json.dumps(predictions.as_json(row)))
    assert told["trimmed"] == []
    assert message.headers["content-type"] == "application/json"
    sent = story.only()
    assert (sent.status, sent.last["status"], sent.next_attempt_at) == ("delivered", 204, None)
    assert message.headers["webhook-id"] == sent.message_id
    assert story.deliver() == 0
    with pytest.raises(WebhookVerificationError):
        Verifier(signing.new_secret()).verify(message.body, message.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(hook.secret).verify(message.body.replace(b"vase", b"jug!"), message.headers)


def test_only_what_was_asked_for_and_only_ones_own(ada, receiver):
    mal = cast.payer(name="mal")
    webhooks.make(ada, url=f"{receiver.url}/failures", events=["prediction.failed"])
    webhooks.make(mal, url=f"{receiver.url}/mal")
    paused = webhooks.make(ada, url=f"{receiver.url}/paused")
    webhooks.change(paused, is_enabled=False)
    story.ended(ada)
    story.ended(ada, "failed")
    story.deliver()
    assert [one.path for one in receiver.messages] == ["/failures"]


def test_what_was_deleted_meanwhile_is_not_there(ada):
    hook = webhooks.make(ada, url="https://example.test/in")
    sent = webhooks.send_test(hook)
    webhooks.remove(Webhook.objects.get())
    for act in (webhooks.remove, webhooks.rotate, webhooks.send_test, webhooks.change):
        with pytest.raises(webhooks.NotFound):
            act(hook)
    with pytest.raises(webhooks.NotFound):
        webhooks.redeliver(sent)
    assert not Delivery.objects.exists()


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


def test_without_webhooks_nothing_is_written(ada):
    story.ended(ada)
    assert not Outbox.objects.exists()
    assert not Delivery.objects.exists()


def test_a_request_names_an_address_of_its_own(ada, receiver):
    request = predictions.Request(
        model="kiln/vase",
        input={"prompt": "a vase"},
        webhook=f"{receiver.url}/mine?token=1",
        webhook_events_filter=["prediction.succeeded"],
    )
    story.ended(ada, request=request)
    story.ended(ada, "failed", request=request)
    story.deliver()
    (message,) = receiver.messages
    assert message.path == "/mine?token=1"
    Verifier(webhooks.request_secret(ada).secret).verify(message.body, message.headers)


def test_told_twice_is_one_delivery(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    row = story.ended(ada)
    again = Outbox.objects.create(
        task="playground.prediction_closed", payload={"prediction": row.public_id.hex}
    )
    closed(message_id=again.pk)
    assert not Outbox.objects.exists()
    assert Delivery.objects.count() == 1


def test_both_secrets_sign_for_a_day(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    new = webhooks.rotate(hook)
    story.ended(ada)
    story.deliver()
    for secret in (hook.secret, new.secret):
        Verifier(secret).verify(receiver.messages[0].body, receiver.messages[0].headers)
    Webhook.objects.update(previous_until=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
    webhooks.redeliver(story.only())
    story.deliver()
    last = receiver.messages[-1]
    Verifier(new.secret).verify(last.body, last.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(hook.secret).verify(last.body, last.headers)


def test_tried_again_under_the_same_id_until_it_is_taken(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.say(500, b"<h1>\0no</h1>")
    story.ended(ada)
    story.deliver()
    first = story.only()
    assert (first.status, first.tries, first.last["answer"]) == ("pending", 1, "<h1>�no</h1>")
    wait = (first.next_attempt_at - dt.datetime.fromisoformat(first.last["at"])).total_seconds()
    assert 4 <= wait <= 6
    assert story.deliver() == 0
    hook.refresh_from_db()
    assert hook.state == "failing"
    story.let_pass()
    receiver.behaviour = servers.say(200)
    story.deliver()
    assert len({one.headers["webhook-id"] for one in receiver.messages}) == 1
    assert len({one.body for one in receiver.messages}) == 1
    assert [one["status"] for one in story.only().attempts] == [500, 200]
    hook.refresh_from_db()
    assert hook.state == "enabled"


def test_given_up_in_the_end_and_sent_again_by_hand(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.say(503)
    story.ended(ada)
    while story.deliver():
        story.let_pass()
    sent = story.only()
    assert (sent.status, sent.tries, len(receiver.messages)) == ("failed", 8, 8)
    receiver.behaviour = servers.say(200)
    webhooks.redeliver(sent)
    story.deliver()
    assert story.only().status == "delivered"
    assert receiver.messages[-1].headers["webhook-id"] == sent.message_id


def test_a_server_says_when_to_come_back(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.say(429, Retry_After="600")
    story.ended(ada)
    story.deliver()
    sent = story.only()
    assert (sent.next_attempt_at - dt.datetime.fromisoformat(sent.last["at"])).total_seconds() >= 600


def test_gone_disables(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.say(410)
    story.ended(ada)
    story.deliver()
    hook.refresh_from_db()
    assert (hook.state, story.only().status) == ("disabled", "failed")
    assert "410" in hook.disabled_reason
    story.ended(ada)
    assert Delivery.objects.count() == 1


def test_who_may_mend_a_webhook_is_told_once_that_it_was_disabled(ada, receiver):
    for role in (*Membership.Role.values, "gone"):
        user = User.objects.create_user(f"{role}@example.test", "a long password")
        Membership.objects.create(workspace=ada, user=user, role=role if role != "gone" else "owner")
    User.objects.filter(email="gone@example.test").update(is_active=False)
    hook = webhooks.make(ada, url=f"{receiver.url}/in?token=xyzzy", description="orders")
    receiver.behaviour = servers.say(500)
    story.ended(ada)
    story.deliver()
    assert letters() == []
    Webhook.objects.update(failing_since=dt.datetime.now(dt.UTC) - dt.timedelta(days=5, seconds=1))
    for _ in range(3):
        story.let_pass()
        story.deliver()
    story.ended(ada)
    told = letters()
    assert [one.to for one in told] == [[f"{role}@example.test"] for role in ("owner", "admin", "developer")]
    host = receiver.url.partition("//")[2]
    assert told[0].subject == f"{ada.name}: the webhook to {host} is disabled"
    assert "Nothing was delivered for 5 days." in told[0].body
    assert "orders" in told[0].body
    assert "xyzzy" not in told[0].body  # the address may hold a secret
    assert link_in(told[0]) == f"/dashboard/webhooks/{hook.uid}"
    receiver.behaviour = servers.say(410)
    webhooks.change(hook, is_enabled=True)
    story.deliver()
    assert len(letters()) == 6  # another time, after somebody had enabled it again
    assert "410 Gone" in letters()[-1].body


def test_nobody_is_mailed_of_a_pause(ada):
    user = User.objects.create_user("owner@example.test", "a long password")
    Membership.objects.create(workspace=ada, user=user, role="owner")
    webhooks.change(webhooks.make(ada, url="https://example.test/"), is_enabled=False)
    assert letters() == []


def test_five_days_of_nothing_but_failures_disable_and_hold(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.say(500)
    story.ended(ada)
    story.deliver()
    Webhook.objects.update(failing_since=dt.datetime.now(dt.UTC) - dt.timedelta(days=5, seconds=1))
    story.ended(ada)
    story.deliver()
    hook.refresh_from_db()
    assert "5 days" in hook.disabled_reason
    assert {one.is_held for one in Delivery.objects.all()} == {True}
    story.let_pass()
    assert story.deliver() == 0
    receiver.behaviour = servers.say(200)
    webhooks.change(hook, is_enabled=True)
    assert story.deliver() == 2
    hook.refresh_from_db()
    assert (hook.state, hook.disabled_reason) == ("enabled", "")


def test_a_pause_holds_and_a_test_event_goes_out_nevertheless(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    story.ended(ada)
    hook = webhooks.change(hook, is_enabled=False)
    webhooks.send_test(hook)
    assert story.deliver() == 1
    assert json.loads(receiver.messages[0].body)["type"] == "webhook.test"
    webhooks.change(hook, is_enabled=True)
    assert story.deliver() == 1
    receiver.behaviour = servers.say(500)
    webhooks.send_test(hook)
    story.deliver()
    assert (
        Delivery.objects.filter(event="webhook.test").order_by("pk").values_list("status", flat=True)[1]
        == "failed"
    )


@pytest.mark.parametrize(
    ("behaviour", "status", "said"),
    [
        (servers.say(302, Location="http://127.0.0.1:1/"), 302, "redirect"),
        (servers.reset, None, ""),
        (servers.silent, None, ""),
    ],
)
def test_servers_that_misbehave(ada, receiver, monkeypatch, behaviour, status, said):
    if behaviour is servers.silent:  # the others answer, however long a busy machine takes for it
        monkeypatch.setattr(postman, "ATTEMPT_SECONDS", 1.0)
    webhooks.make(ada, url=receiver.url)
    receiver.behaviour = behaviour
    story.ended(ada)
    story.deliver()
    sent = story.only()
    assert (sent.status, sent.last["status"]) == ("pending", status)
    assert said in sent.last["error"]
    assert sent.last["duration_ms"] < servers.SILENCE_SECONDS * 1000
    assert len(receiver.messages) == 1


def test_an_endless_answer_is_taken_and_its_head_kept(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    receiver.behaviour = servers.endless
    story.ended(ada)
    story.deliver()
    sent = story.only()
    assert sent.status == "delivered"
    assert sent.last["answer"] == "x" * outcome.MAX_ANSWER_CHARACTERS


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]:{port}/",
    ],
)
def test_private_addresses_are_not_asked(ada, receiver, settings, url):
    settings.OUTBOUND_PRIVATE = ""
    webhooks.make(ada, url=url.format(port=receiver.url.rpartition(":")[2]))
    story.ended(ada)
    story.deliver()
    assert receiver.messages == []
    assert story.only().last["error"]
    assert story.only().last["status"] is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://a/", "//a/", "https://", "https:///x", "javascript:alert(1)", "https://a b/"),
        *(
            "https://u:p@a.test/",
            "https://a.test/#x",
            "https://a.test:99999/",
            "https://[::1",
            "https://ä.test/",
        ),
        *("https://a.test/\r\nX: 1", "https://a.test/" + "x" * 2048, "https://a.test:0/"),
    ],
)
def test_what_is_no_address_of_a_server(ada, url):
    with pytest.raises(webhooks.InvalidWebhook):
        webhooks.make(ada, url=url)


def test_a_large_payload_is_trimmed_and_says_so(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    row = story.ended(ada)
    Delivery.objects.all().delete()
    row.output, row.logs = {"images": [], "text": "é" * MAX_PAYLOAD_BYTES}, "line " * MAX_PAYLOAD_BYTES
    row.save()
    again = Outbox.objects.create(
        task="playground.prediction_closed", payload={"prediction": row.public_id.hex}
    )
    closed(message_id=again.pk)
    story.deliver()
    message = receiver.messages[-1]
    assert len(message.body) <= MAX_PAYLOAD_BYTES
    told = Verifier(hook.secret).verify(message.body, message.headers)
    assert (told["trimmed"], told["data"]["output"], told["data"]["logs"]) == (["output", "logs"], None, "")
    assert told["data"]["urls"]["get"].endswith(row.uid)


def test_a_secret_input_is_told_to_nobody(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    request = predictions.Request(model="kiln/vase", input={"prompt": "a vase", "token": "hush-hush"})
    story.ended(ada, request=request)
    story.deliver()
    assert b"hush-hush" not in receiver.messages[0].body


def test_a_crash_between_sending_and_recording_sends_once_more(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    story.ended(ada)
    (claim,) = claims.take(10)
    row = story.only()
    signer = row.webhook
    postman.attempt(row, url=receiver.url, signer=signer)  # and the process dies
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


def test_there_are_only_so_many(ada):
    for _ in range(webhooks.MAX_WEBHOOKS):
        webhooks.make(ada, url="https://a.test/")
    with pytest.raises(webhooks.TooMany):
        webhooks.make(ada, url="https://a.test/")


def test_the_log_is_kept_for_a_month(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    story.ended(ada)
    assert webhooks.tidy() == 0
    Delivery.objects.update(created_at=dt.datetime.now(dt.UTC) - dt.timedelta(days=31))
    assert webhooks.tidy() == 1


def test_what_was_told_of_a_deleted_run_goes_with_it(ada, receiver):
    webhooks.make(ada, url=receiver.url)
    taken, waiting = story.ended(ada), None
    story.deliver()
    receiver.behaviour = servers.say(500)
    waiting = story.ended(ada)
    story.deliver()
    deletion.delete(ada, [taken.public_id, waiting.public_id], by=None)
    assert webhooks.tidy() == 0  # it may be undone
    Deletion.objects.update(created_at=dt.datetime.now(dt.UTC) - deletion.UNDO - dt.timedelta(seconds=1))
    deletion.purge()
    assert webhooks.tidy() == 1
    assert Delivery.objects.get().prediction_id == waiting.pk  # what is promised is kept
    receiver.behaviour = servers.say(200)
    story.let_pass()
    story.deliver()
    assert webhooks.tidy() == 1


def test_what_a_closed_workspace_was_told_goes_with_it(ada, receiver):
    request = predictions.Request(model="kiln/vase", input={"prompt": "a vase"}, webhook=receiver.url)
    story.ended(ada, request=request)
    story.ended(cast.payer(name="mal"), request=request)
    story.deliver()
    assert webhooks.tidy() == 0
    type(ada).objects.filter(pk=ada.pk).update(closed_at=dt.datetime.now(dt.UTC))
    assert webhooks.tidy() == 1
    assert Delivery.objects.exclude(workspace=ada).count() == 1


def test_what_is_deleted_takes_its_deliveries_along(ada, receiver):
    hook = webhooks.make(ada, url=receiver.url)
    story.ended(ada)
    webhooks.remove(hook)
    assert not Delivery.objects.exists()
    assert story.deliver() == 0
