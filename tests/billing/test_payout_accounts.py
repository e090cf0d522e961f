"""Where a publisher's money goes: connected and gated, named by hand, and which share of a run it is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils import timezone

from billing import payouts
from marketplace.models import Publisher
from tests.billing.buyers import USD, clean_books, follow_all, mails
from tests.billing.cast import new_workspace
from tests.billing.payees import DAY, LATER, WAYS, connected, earn, owner, rich


def test_a_publisher_is_connected_and_only_the_capability_opens_the_way(stripe_sandbox, pia):
    rich(stripe_sandbox, pia)
    url = payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    assert url.startswith(f"{stripe_sandbox.url}/-/stripe/onboarding/")
    row = payouts.account_of(pia)
    assert (row.method, row.state, row.is_connected) == ("stripe", "restricted", False)
    assert row.due
    with pytest.raises(payouts.Refused, match="not ready"):
        payouts.start(pia, by=None)
    stripe_sandbox.onboard(row.account_id, "pending")
    assert payouts.look(row, now=timezone.now()).state == "pending"
    with pytest.raises(payouts.Refused, match="not ready"):
        payouts.start(pia, by=None)
    stripe_sandbox.set_capability(row.account_id, "active")
    stripe_sandbox.deliver()
    follow_all()
    row.refresh_from_db()
    assert row.is_connected
    assert payouts.start(pia, by=None).amount_micros == 80 * USD
    assert f"{pia.name}: payouts are set up" in mails()
    clean_books()


def test_the_account_is_made_once_although_its_answer_is_lost(stripe_sandbox, pia):
    stripe_sandbox.fault("drop", "post", "/v2/core/accounts")
    with pytest.raises(payouts.Unavailable):
        payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    payouts.connect(pia, by=owner(pia), country="us", **WAYS)
    (made,) = stripe_sandbox.things("v2.core.account")
    assert payouts.account_of(pia).account_id == made["id"]


@pytest.mark.parametrize("country", ["", "xx", "usa", "U$", "\0\0"])
def test_countries_are_those_of_the_list(stripe_sandbox, pia, country):
    with pytest.raises(payouts.Refused):
        payouts.connect(pia, by=owner(pia), country=country, **WAYS)
    assert not stripe_sandbox.things("v2.core.account")


@pytest.mark.parametrize("order", ["made", "reversed", "random"])
def test_what_is_said_of_an_account_in_any_order_and_five_times(stripe_sandbox, pia, order):
    row = connected(stripe_sandbox, pia)
    for status in ("restricted", "active", "restricted"):
        stripe_sandbox.set_capability(row.account_id, status)
    stripe_sandbox.deliver(copies=5, order=order, at_once=5, seed=3)
    follow_all()
    row.refresh_from_db()
    assert (row.state, row.is_connected) == ("restricted", False)
    stripe_sandbox.set_capability(row.account_id, "active")
    assert payouts.check_due(now=timezone.now() + DAY) == 1  # no webhook came
    row.refresh_from_db()
    assert row.is_connected


def test_where_it_goes_is_plain_text_that_is_there(by_hand):
    for text in ("", " \n ", "x" * 1001, "a\0b", "a\u202eb"):
        with pytest.raises(payouts.Refused):
            payouts.set_method(by_hand, "manual", bank_details=text, by=None)
    for method in ("stripe", "", "bitcoin"):
        with pytest.raises(payouts.Refused):
            payouts.set_method(by_hand, method, bank_details="x", by=None)


def test_a_payout_goes_where_it_was_to_go_when_it_began(by_hand):
    earn(by_hand, 100 * USD, now=timezone.now() - LATER)
    row = payouts.start(by_hand, by=None)
    payouts.set_method(by_hand, "manual", bank_details="Mal", by=None)
    row.refresh_from_db()
    assert row.destination.startswith("Pia Pub")


def test_a_share_is_the_settings_for_new_publishers_and_ones_own_afterwards(db, settings):
    settings.PUBLISHER_SHARE_PERCENT = 65
    newer = Publisher.objects.create(workspace=new_workspace(), name="newer")
    assert newer.share_percent == 65
    settings.PUBLISHER_SHARE_PERCENT = 90
    newer.refresh_from_db()
    assert newer.share_percent == 65
    payouts.set_share(newer, Decimal("70.25"))
    newer.refresh_from_db()
    assert newer.share_percent == Decimal("70.25")
    for wrong in ("-1", "100.01", "1.234", "NaN", "Infinity"):
        with pytest.raises(payouts.Refused):
            payouts.set_share(newer, Decimal(wrong))
