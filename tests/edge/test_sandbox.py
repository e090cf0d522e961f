"""The sandbox behind the real web process: answers that break off, and threads that never wait for each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from billing.sandbox import faults, modes
from billing.sandbox.models import Thing
from tests.edge.web import serving

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_answer_is_lost_after_it_was_done(world, settings):
    from billing.gateway.client import client

    modes.change(webhooks="withheld")
    with serving() as web:
        settings.STRIPE_SANDBOX_URL = f"http://127.0.0.1:{web.port}"
        faults.plan("drop", verb="post", path="/v1/customers")
        with pytest.raises(stripe.APIConnectionError):
            client().v1.customers.create({"email": "ada@example.com"}, {"idempotency_key": "ada"})
        assert Thing.objects.filter(kind="customer").count() == 1
        made = client().v1.customers.create({"email": "ada@example.com"}, {"idempotency_key": "ada"})
        assert (made.email, Thing.objects.filter(kind="customer").count()) == ("ada@example.com", 1)
        with ThreadPoolExecutor(12) as pool:  # more than there are threads for them
            found = list(pool.map(lambda _: client().v1.balance.retrieve().object, range(24)))
        assert found == ["balance"] * 24
