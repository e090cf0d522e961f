"""What is kept of deliveries, for how long, and what goes with a deleted run, webhook or workspace."""

from __future__ import annotations

import datetime as dt

import pytest

from playground import predictions, webhooks
from playground.models import Deletion, Delivery, Webhook
from playground.predictions import delete as deletion
from tests.predictions import cast
from tests.webhooks import receiver as servers
from tests.webhooks import story


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
