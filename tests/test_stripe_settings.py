"""Whose Stripe it is: the sandbox without a key, Stripe's with one, and never real money in a play house."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHOW = """
import json, sys, django
django.setup()
from django.conf import settings
from billing.gateway import client
names = []
if "map" in sys.argv:
    from django.urls import get_resolver
    names = [one.name for one in get_resolver().url_patterns]
print(json.dumps({
    "book": settings.LEDGER_BOOK,
    "sandbox": settings.STRIPE_SANDBOX,
    "pages": sorted(one for one in names if one.startswith(("hosted-", "sandbox"))),
    "base": client.client()._requestor.base_addresses["api"] if client.is_configured() else "",
    "secrets": len(client.webhook_secrets()),
    "test": client.is_test(),
}))
"""


def start(*what, **env):
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *what],
        cwd=PROJECT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_without_a_key_it_is_the_sandbox():
    found = start("map", PORT="8123")
    assert (found["book"], found["sandbox"], found["test"], found["secrets"]) == ("test", True, True, 1)
    assert found["base"] == "http://127.0.0.1:8123/-/stripe"
    assert len(found["pages"]) == 12


def test_with_a_test_key_it_is_stripe():
    found = start(STRIPE_SECRET_KEY="sk_test_1", STRIPE_WEBHOOK_SECRET="whsec_1, whsec_2")
    assert (found["book"], found["sandbox"], found["pages"], found["secrets"]) == ("test", False, [], 2)
    assert found["base"] == "https://api.stripe.com"


def test_a_live_key_turns_the_book_and_closes_the_sandbox():
    found = start("map", STRIPE_SECRET_KEY="rk_live_1")
    assert (found["book"], found["sandbox"], found["pages"], found["test"]) == ("live", False, [], False)
    assert found["base"] == "https://api.stripe.com"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_SANDBOX": "1"}, "STRIPE_SANDBOX sells play money"),
        ({"LEDGER_BOOK": "live", "STRIPE_SANDBOX": "1"}, "STRIPE_SANDBOX sells play money"),
        ({"STRIPE_SECRET_KEY": "sk_live_1", "LEDGER_BOOK": "test"}, "never share a book"),
        ({"STRIPE_SECRET_KEY": "sk_test_1", "LEDGER_BOOK": "live"}, "never share a book"),
        ({"STRIPE_SECRET_KEY": "pk_live_1"}, "must start with"),
    ],
)
def test_what_does_not_go_together_does_not_start(env, says):
    assert says in start(**env)


def test_nothing_is_sold_where_there_is_neither():
    for env in ({"STRIPE_SANDBOX": "0"}, {"LEDGER_BOOK": "live"}):
        found = start(**env)
        assert (found["sandbox"], found["pages"], found["base"]) == (False, [], "")


def test_the_check_sees_what_was_set_by_hand(settings):
    from django.core.checks import run_checks

    assert [one.id for one in run_checks() if one.id == "sandbox.E001"] == []
    settings.STRIPE_IS_LIVE = True
    assert [one.id for one in run_checks() if one.id == "sandbox.E001"] == ["sandbox.E001"]


@pytest.mark.django_db(transaction=True)
def test_stripe_is_never_asked_inside_a_transaction():
    from django.db import transaction

    from billing.gateway.client import InTransaction, client

    with pytest.raises(InTransaction), transaction.atomic():
        client().v1.balance.retrieve()
