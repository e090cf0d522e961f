"""The webhook of a request: what receivers written for fal check, and what they read."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from playground import predictions, webhooks
from playground.facades.fal import letters
from playground.models import Delivery
from tests.clients.fal.receiving import is_genuine
from tests.predictions import cast
from tests.webhooks import story
from tests.webhooks.conftest import ada, receiver  # noqa: F401 - fixtures


def request(url: str) -> predictions.Request:
    return predictions.Request(
        model="kiln/vase",
        input={"prompt": "a vase"},
        webhook=url,
        webhook_events_filter=letters.EVENTS,
        asked={"dialect": "fal"},
    )


@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_an_end_is_told_in_fals_words_and_signed(ada, receiver, how):  # noqa: F811
    webhooks.make(ada, url=f"{receiver.url}/own")
    row = story.ended(ada, how, request=request(f"{receiver.url}/theirs"))
    story.deliver()
    (message,) = receiver.at("/theirs")
    found = Client().get("/fal/rest/.well-known/jwks.json")
    assert found["Cache-Control"] == "public, max-age=3600"
    assert is_genuine(message, found.json())
    told = json.loads(message.body)
    named = str(row.public_id)
    assert {told["request_id"], told["gateway_request_id"], message.headers["x-fal-webhook-request-id"]} == {
        named
    }
    if how == "succeeded":
        assert (told["status"], told["error"], len(told["payload"]["images"])) == ("OK", None, 1)
    else:
        status = {"failed": 500, "canceled": 499}[how]
        assert (told["status"], told["error"]) == ("ERROR", f"Invalid status code: {status}")
        assert told["payload"]["detail"]
    message.body += b" "
    assert not is_genuine(message, found.json())
    (own,) = receiver.at("/own")  # the workspace's webhook hears our own words
    assert json.loads(own.body)["type"] == f"prediction.{how}"
    assert "webhook-signature" in own.headers


def test_each_attempt_is_signed_at_its_own_time(ada, receiver):  # noqa: F811
    story.ended(ada, request=request(receiver.url))
    row = Delivery.objects.get()
    now = row.created_at
    first, later = (letters.Letters().headers(row, now=now + cast.later(minutes=n)) for n in (0, 10))
    assert int(later["X-Fal-Webhook-Timestamp"]) - int(first["X-Fal-Webhook-Timestamp"]) == 600
    assert first["X-Fal-Webhook-Signature"] != later["X-Fal-Webhook-Signature"]
