"""Servers that misbehave, addresses that nobody may be sent to, and what neither can do about it."""

from __future__ import annotations

import pytest

from playground import webhooks
from playground.webhooks import outcome, postman
from tests.webhooks import receiver as servers
from tests.webhooks import story


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
