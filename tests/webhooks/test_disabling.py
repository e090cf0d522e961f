"""Webhooks that are paused, gone or failing: what is held, who is told, and how they come back."""

from __future__ import annotations

import datetime as dt
import json

from marketplace.models import Membership, User
from playground import webhooks
from playground.models import Delivery, Webhook
from tests.people.cast import letters, link_in
from tests.webhooks import receiver as servers
from tests.webhooks import story


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
