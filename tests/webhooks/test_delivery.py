"""Telling: what arrives, how often, and signed by whom."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from marketplace.models import Outbox
from playground import predictions, webhooks
from playground.models import Delivery, Webhook
from playground.models.webhook import STARTED_EVENT
from playground.predictions.work import STARTED_TASK
from playground.webhooks import signing
from playground.webhooks.events import MAX_PAYLOAD_BYTES, closed, started
from tests.predictions import cast
from tests.webhooks import receiver as servers
from tests.webhooks import story


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


def test_a_request_may_ask_to_be_told_of_the_start(ada, receiver):
    wanted = predictions.Request(
        model="kiln/vase",
        input={"prompt": "a vase"},
        webhook=receiver.url,
        webhook_events_filter=[STARTED_EVENT],
    )
    webhooks.make(ada, url=f"{receiver.url}/all")  # of all events that can be subscribed to, and this is none
    predictions.submit(predictions.Caller(workspace=ada), wanted)
    (job,) = cast.claim()
    assert cast.release(job)
    cast.claim()  # it begins again
    for row in Outbox.objects.filter(task=STARTED_TASK):
        started(message_id=row.pk)
    assert story.deliver() == 1
    (message,) = receiver.messages
    told = Verifier(webhooks.request_secret(ada).secret).verify(message.body, message.headers)
    assert (told["type"], told["data"]["status"]) == (STARTED_EVENT, "running")


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
