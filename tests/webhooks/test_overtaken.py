"""Webhooks that go while they are being told."""

from __future__ import annotations

import functools

import pytest

from marketplace.models import Outbox
from playground import webhooks
from tests.overtaking import overtaking
from tests.predictions import cast
from tests.webhooks import story


@pytest.mark.django_db(transaction=True)
def test_one_that_is_deleted_while_an_end_is_told_is_told_nothing():
    cast.shelve()
    owner = cast.payer(name="quitting")
    kept, gone = (webhooks.make(owner, url=f"https://example.test/{name}") for name in ("kept", "gone"))
    cast.submit(owner)
    cast.succeed(cast.claim()[0])
    assert overtaking(functools.partial(webhooks.remove, gone), story.handle_outbox) is None
    assert not Outbox.objects.exists()
    assert story.only().webhook == kept
