"""The sandbox, asked by Stripe's own library over HTTP: recipients, transfers, payouts, refunds and disputes."""

from __future__ import annotations

from datetime import timedelta

import pytest
import stripe
from django.utils import timezone

RECIPIENT = {
    "contact_email": "pia@example.com",
    "display_name": "Pia",
    "dashboard": "express",
    "identity": {"country": "us"},
    "configuration": {
        "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
    },
    "defaults": {"responsibilities": {"fees_collector": "application", "losses_collector": "application"}},
    "include": ["configuration.recipient", "requirements"],
}
WAYS = {"refresh_url": "http://127.0.0.1/again", "return_url": "http://127.0.0.1/back"}


def status(account):
    return account.configuration.recipient.capabilities.stripe_balance.stripe_transfers.status


def recipient(sandbox, **more):
    client = sandbox.client()
    account = client.v2.core.accounts.create(RECIPIENT)
    sandbox.onboard(account.id, **more)
    return client, account.id


def send(client, account, amount=1000, **more):
    return client.v1.transfers.create(
        {"amount": amount, "currency": "usd", "destination": account, "transfer_group": "payout_1", **more},
        {"idempotency_key": "payout-1"},
    )


def funds(client, account=None):
    options = {"stripe_account": account} if account else {}
    return client.v1.balance.retrieve({}, options).available[0].amount


def test_a_recipient_is_onboarded(stripe_sandbox):
    client = stripe_sandbox.client()
    account = client.v2.core.accounts.create(RECIPIENT)
    assert status(account) == "restricted"
    assert len(account.requirements.entries) == 3
    link = client.v2.core.account_links.create(
        {"account": account.id, "use_case": {"type": "account_onboarding", "account_onboarding": WAYS}}
    )
    assert link.url.startswith(f"{stripe_sandbox.url}/-/stripe/onboarding/")
    stripe_sandbox.onboard(account.id)
    assert client.v2.core.accounts.retrieve(account.id).configuration is None  # what is not asked for
    found = client.v2.core.accounts.retrieve(
        account.id, {"include": ["configuration.recipient", "requirements"]}
    )
    assert (status(found), found.requirements.entries) == ("active", [])
    told = [one["type"] for one in stripe_sandbox.things("v2.core.event")]
    assert told[-1] == "v2.core.account[configuration.recipient].capability_status_updated"


def test_what_the_version_took_away_is_refused(stripe_sandbox):
    client, account = recipient(stripe_sandbox)
    use = {"type": "account_onboarding", "account_onboarding": {**WAYS, "configurations": ["recipient"]}}
    with pytest.raises(stripe.InvalidRequestError, match="configurations"):
        client.v2.core.account_links.create({"account": account, "use_case": use})


def test_a_transfer_needs_the_capability_and_the_money(stripe_sandbox):
    client, account = recipient(stripe_sandbox, outcome="pending")
    stripe_sandbox.add_funds(1500)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        send(client, account)
    assert caught.value.code == "insufficient_capabilities_for_transfer"
    stripe_sandbox.advance(timezone.now() + timedelta(seconds=10))
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.transfers.create({"amount": 1501, "currency": "usd", "destination": account})
    assert caught.value.code == "balance_insufficient"
    made = client.v1.transfers.create({"amount": 1000, "currency": "usd", "destination": account})
    assert (made.amount, funds(client), funds(client, account)) == (1000, 500, 1000)


def test_a_transfer_is_made_once(stripe_sandbox):
    client, account = recipient(stripe_sandbox)
    stripe_sandbox.add_funds(5000)
    stripe_sandbox.fault("drop", "post", "/v1/transfers")
    with pytest.raises(stripe.APIConnectionError):
        send(client, account)
    (found,) = client.v1.transfers.list({"transfer_group": "payout_1"})
    assert send(client, account).id == found.id
    with pytest.raises(stripe.IdempotencyError):
        send(client, account, 999)
    assert funds(client) == 4000


@pytest.mark.parametrize(
    ("kind", "error", "done"),
    [
        ("error", stripe.APIError, 0),
        ("late_error", stripe.APIError, 1),
        ("busy", stripe.RateLimitError, 0),
        ("hang", stripe.APIConnectionError, 1),
    ],
)
def test_faults(stripe_sandbox, kind, error, done):
    client, account = recipient(stripe_sandbox)
    stripe_sandbox.add_funds(5000)
    stripe_sandbox.fault(kind, "post", "/v1/transfers", seconds=1.5)
    with pytest.raises(error):
        send(stripe_sandbox.client(retries=0, seconds=0.75), account)
    assert len(stripe_sandbox.things("transfer")) == done
    send(client, account)
    assert len(stripe_sandbox.things("transfer")) == 1


def test_a_reversal_takes_what_the_recipient_still_has(stripe_sandbox):
    client, account = recipient(stripe_sandbox)
    stripe_sandbox.add_funds(5000)
    transfer = send(client, account, 3000)
    client.v1.payouts.create({"amount": 2500, "currency": "usd"}, {"stripe_account": account})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.transfers.reversals.create(transfer.id, {"amount": 501})
    assert caught.value.code == "balance_insufficient"
    client.v1.transfers.reversals.create(transfer.id, {"amount": 500})
    after = client.v1.transfers.retrieve(transfer.id)
    assert (after.amount_reversed, after.reversed, funds(client), funds(client, account)) == (
        500,
        False,
        2500,
        0,
    )


@pytest.mark.parametrize(
    ("bank", "last", "left"), [("pays", "payout.paid", 0), ("fails", "payout.failed", 700)]
)
def test_money_goes_to_the_bank(stripe_sandbox, bank, last, left):
    client, account = recipient(stripe_sandbox, bank=bank)
    stripe_sandbox.add_funds(5000)
    send(client, account, 700)
    stripe_sandbox.advance()
    assert funds(client, account) == 700
    for minutes in (2, 3):
        stripe_sandbox.advance(timezone.now() + timedelta(minutes=minutes))
    (payout,) = client.v1.payouts.list({}, {"stripe_account": account})
    assert (payout.status, payout.automatic) == (last.partition(".")[2], True)
    entries = client.v1.balance_transactions.list({}, {"stripe_account": account})
    assert sum(one.net for one in entries) == left
    told = [one for one in stripe_sandbox.things("event") if one["type"] == last]
    assert [one["account"] for one in told] == [account]


def paid(sandbox, card="visa", amount=2000):
    return sandbox.client().v1.payment_intents.create(
        {"amount": amount, "currency": "usd", "payment_method": f"pm_card_{card}", "confirm": True}
    )


def test_refunds_are_bounded(stripe_sandbox):
    client = stripe_sandbox.client()
    intent = paid(stripe_sandbox)
    client.v1.refunds.create({"payment_intent": intent.id, "amount": 1500})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 501})
    client.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"
    charge = client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (2000, True)
    assert funds(client) == -88  # the fee of the payment stays


def test_a_refund_that_fails_later(stripe_sandbox):
    client = stripe_sandbox.client()
    intent = paid(stripe_sandbox, "refundFail")
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    before = funds(client)
    stripe_sandbox.advance()
    assert client.v1.refunds.retrieve(refund.id).status == "failed"
    assert funds(client) == before + 2000
    assert stripe_sandbox.things("event")[-1]["type"] == "refund.failed"


@pytest.mark.parametrize(("decision", "left"), [("won", 412), ("lost", -1588)])
def test_disputes(stripe_sandbox, decision, left):
    client = stripe_sandbox.client()
    intent = paid(stripe_sandbox)
    dispute = stripe_sandbox.dispute(intent.latest_charge)
    assert client.v1.disputes.retrieve(dispute).status == "needs_response"
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": intent.id})
    client.v1.disputes.update(dispute, {"evidence": {"uncategorized_text": "It was made."}})
    stripe_sandbox.decide(dispute, decision)
    assert client.v1.disputes.retrieve(dispute).status == decision
    assert funds(client) == left
    told = [one["type"] for one in stripe_sandbox.things("event") if "dispute" in one["type"]]
    assert told[:3] == ["charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"]
    assert ("charge.dispute.funds_reinstated" in told) is (decision == "won")


def test_a_login_link_and_a_portal(stripe_sandbox):
    client, account = recipient(stripe_sandbox)
    assert "/-/stripe/express/" in client.v1.accounts.login_links.create(account).url
    customer = client.v1.customers.create({"email": "ada@example.com"})
    portal = client.v1.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "http://127.0.0.1/billing"}
    )
    assert "/-/stripe/portal/" in portal.url


def test_others_accounts_are_not_seen(stripe_sandbox):
    client, account = recipient(stripe_sandbox)
    stripe_sandbox.add_funds(5000)
    send(client, account, 700)
    payout = client.v1.payouts.create({"amount": 100, "currency": "usd"}, {"stripe_account": account})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payouts.retrieve(payout.id)
    with pytest.raises(stripe.PermissionError):
        client.v1.payouts.list({}, {"stripe_account": "acct_of_nobody"})
    with pytest.raises(stripe.InvalidRequestError, match="does not play"):
        client.v1.customers.create({}, {"stripe_account": account})
