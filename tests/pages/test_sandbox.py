"""The pages of Stripe's sandbox: what buyers, card holders and recipients do there, and the staff's control room."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from billing.sandbox import asking, balances, modes, rooms, store  # noqa: F401
from billing.sandbox.models import Fault, Notice, Thing
from marketplace.models import User

pytestmark = pytest.mark.django_db
AFTER = "http://testserver/after?s={CHECKOUT_SESSION_ID}"
LINE = {
    "quantity": 1,
    "price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Credit"}},
}
PAYER = {"email": "ada@example.com", "card": "visa"}


def ask(path, given, verb="post", now=None):
    answer = asking.answer(verb, path, given, now=now or timezone.now(), is_text=False)
    assert answer.status == 200, answer.body
    return answer.body


def session(**more):
    given = {
        "mode": "payment",
        "line_items": [LINE],
        "success_url": AFTER,
        "cancel_url": "http://testserver/back",
    }
    return ask("/v1/checkout/sessions", {**given, **more})


def path_of(url):
    return url.removeprefix(settings.PUBLIC_URL)


@pytest.fixture
def nobody():
    """Somebody with no account, whose forms need their token."""
    return Client(enforce_csrf_checks=True)


def send(client, path, **given):
    """Send a form as a browser does."""
    client.get(path)
    return client.post(path, {**given, "csrfmiddlewaretoken": client.cookies["csrftoken"].value})


def test_a_checkout_is_paid(nobody):
    made = session()
    page = nobody.get(path_of(made["url"]))
    assert page.status_code == 200
    assert b"Test mode" in page.content
    assert b"$25.00" in page.content
    assert "form-action 'self' http://testserver;" in page["Content-Security-Policy"]
    after = send(nobody, path_of(made["url"]), **PAYER)
    assert (after.status_code, after["Location"]) == (302, AFTER.replace("{CHECKOUT_SESSION_ID}", made["id"]))
    assert Thing.objects.get(name=made["id"]).data["payment_status"] == "paid"
    again = send(nobody, path_of(made["url"]), **PAYER)
    assert again["Location"] == after["Location"]
    assert Thing.objects.filter(kind="charge").count() == 1
    charge = Thing.objects.get(kind="charge")
    assert b"$25.00" in nobody.get(path_of(charge.data["receipt_url"])).content


def test_a_form_from_elsewhere_pays_nothing(nobody):
    made = session()
    assert nobody.post(path_of(made["url"]), PAYER).status_code == 403
    assert Thing.objects.filter(kind="charge").count() == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"email": "nobody"}, b"Enter an email address"),
        ({"card": "gold"}, b"Choose a card"),
        ({"email": "a\x00@b.c"}, b"Enter"),
    ],
)
def test_what_is_wrong_is_said(nobody, wrong, says):
    page = send(nobody, path_of(session()["url"]), **{**PAYER, **wrong})
    assert (page.status_code, says in page.content) == (422, True)


def test_a_decline_is_said_and_another_card_pays(nobody):
    url = path_of(session()["url"])
    page = send(nobody, url, **{**PAYER, "card": "chargeDeclinedInsufficientFunds"})
    assert page.status_code == 422
    assert b"insufficient funds" in page.content
    assert send(nobody, url, **PAYER).status_code == 302


@pytest.mark.parametrize(("answer", "status"), [("approve", "complete"), ("refuse", "open")])
def test_the_holder_is_asked(nobody, answer, status):
    made = session()
    asked = send(nobody, path_of(made["url"]), **{**PAYER, "card": "authenticationRequired"})["Location"]
    assert b"3184" in nobody.get(asked).content
    after = send(nobody, asked, answer=answer)["Location"]
    assert Thing.objects.get(name=made["id"]).data["status"] == status
    assert after == (
        AFTER.replace("{CHECKOUT_SESSION_ID}", made["id"]) if status == "complete" else made["url"]
    )
    if status == "open":
        assert b"It was not paid" in nobody.get(path_of(made["url"])).content
    assert nobody.get(asked + "x").status_code == 404


def test_tax_by_country(nobody):
    made = session(automatic_tax={"enabled": True}, invoice_creation={"enabled": True})
    url = path_of(made["url"])
    assert b"$29.75" in nobody.get(url, {"country": "DE"}).content
    assert send(nobody, url, **PAYER, country="DE").status_code == 302
    invoice = Thing.objects.get(kind="invoice")
    assert b"$4.75" in nobody.get(path_of(invoice.data["hosted_invoice_url"])).content


def test_a_checkout_that_is_over(nobody):
    made = ask("/v1/checkout/sessions", {"mode": "setup", "currency": "usd", "success_url": AFTER},
               now=timezone.now() - timedelta(hours=25))  # fmt: skip
    page = nobody.get(path_of(made["url"]))
    assert (page.status_code, b"This checkout is over" in page.content) == (410, True)


ACCOUNT = {
    "dashboard": "express",
    "display_name": "Pia",
    "identity": {"country": "us"},
    "configuration": {
        "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
    },
    "defaults": {"responsibilities": {"fees_collector": "application", "losses_collector": "application"}},
    "include": ["configuration.recipient"],
}


def onboarding():
    account = ask("/v2/core/accounts", ACCOUNT)["id"]
    ways = {"refresh_url": "http://testserver/fresh", "return_url": "http://testserver/done"}
    use = {"type": "account_onboarding", "account_onboarding": ways}
    return account, path_of(ask("/v2/core/account_links", {"account": account, "use_case": use})["url"])


def test_an_account_link_opens_once(nobody):
    account, link = onboarding()
    page = nobody.get(link)["Location"]
    assert b"Get paid by Vitrine" in nobody.get(page).content
    assert nobody.get(link)["Location"] == "http://testserver/fresh"
    refused = send(nobody, page, name="", act="finish", outcome="active", bank="pays")
    assert refused.status_code == 422
    done = send(nobody, page, name="Pia Pub", terms="on", act="finish", outcome="active", bank="pays")
    assert done["Location"] == "http://testserver/done"
    found = ask(f"/v2/core/accounts/{account}", {"include": ["configuration.recipient"]}, "get")
    assert (
        found["configuration"]["recipient"]["capabilities"]["stripe_balance"]["stripe_transfers"]["status"]
        == "active"
    )
    login = path_of(ask(f"/v1/accounts/{account}/login_links", {})["url"])
    assert b"in the balance" in nobody.get(login).content


def test_onboarding_is_left_for_later(nobody):
    account, link = onboarding()
    page = nobody.get(link)["Location"]
    assert send(nobody, page, act="later")["Location"] == "http://testserver/done"
    assert Thing.objects.get(name=account).hidden["submitted"] is False
    assert nobody.get("/-/stripe/onboarding/page/guessed").status_code == 404


def test_the_portal_keeps_cards(nobody):
    customer = ask("/v1/customers", {"email": "ada@example.com"})["id"]
    given = {"customer": customer, "return_url": "http://testserver/billing"}
    portal = path_of(ask("/v1/billing_portal/sessions", given)["url"])
    assert b"No card is saved" in nobody.get(portal).content
    assert send(nobody, portal, act="add", card="visa").status_code == 302
    (card,) = Thing.objects.filter(kind="payment_method")
    assert send(nobody, portal, act="prefer", card=card.name).status_code == 302
    assert b"preferred" in nobody.get(portal).content
    others = ask("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    theirs = Thing.objects.get(kind="payment_method", data__customer=others)
    assert send(nobody, portal, act="remove", card=theirs.name).status_code == 422
    assert send(nobody, portal, act="remove", card=card.name).status_code == 302
    assert Thing.objects.filter(data__customer=others, kind="payment_method").exists()


def test_there_is_no_page_where_there_is_no_sandbox(nobody, settings):
    url = path_of(session()["url"])
    settings.STRIPE_SANDBOX = False
    assert nobody.get(url).status_code == 404


# The control room


@pytest.fixture
def staff():
    user = User.objects.create_user("olga@example.test", "a long password")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    client = Client()
    client.force_login(user)
    return client


def act(client, name, **given):
    return client.post(f"/-/stripe/act/{name}", given, follow=True).content.decode()


def test_staff_set_the_modes(staff):
    given = {"webhooks": "withheld", "refunds": "fail", "webhook_copies": "2", "settle_seconds": "60"}
    assert "behaves so from now on" in act(staff, "modes", **given)
    assert (modes.behaviour().webhook_copies, modes.behaviour().refunds) == (2, "fail")
    ask("/v1/customers", {})
    assert [one.state for one in Notice.objects.all()] == ["withheld"] * 2
    assert "2 notices are on the way" in act(staff, "release")
    assert "is a number from 0 to 10" in act(staff, "modes", webhook_copies="11")
    assert "no whole number" in act(staff, "modes", webhook_copies="-1")


def test_staff_plan_what_goes_wrong(staff):
    said = act(staff, "fault", kind="drop", operation="post /v1/transfers", times="3")
    assert "It is planned" in said
    assert [(one.verb, one.path, one.left) for one in Fault.objects.all()] == [("post", "/v1/transfers", 3)]
    assert "a fault is one of" in act(staff, "fault", kind="fire", operation="* *", times="1")
    assert "Nothing goes wrong" in act(staff, "forget-faults")
    assert not Fault.objects.exists()


def test_staff_play_banks_and_holders(staff):
    given = {"amount": 2000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    charge = ask("/v1/payment_intents", given)["latest_charge"]
    assert "was opened" in act(staff, "dispute", target=charge)
    assert "cannot be disputed" in act(staff, "dispute", target=charge)
    assert ">Needs an answer</span>" in staff.get("/-/stripe").content.decode()
    dispute = Thing.objects.get(kind="dispute")
    assert "is won" in act(staff, "decide", target=dispute.name, value="won")
    account, _ = onboarding()
    assert "is active" in act(staff, "capability", target=account, value="active")
    assert "No such charge" in act(staff, "dispute", target="ch_none")
    assert "No such charge" in act(staff, "dispute", target="\0")
    assert "There is no such act" in act(staff, "nothing")
    page = staff.get("/-/stripe").content.decode()
    for name in (charge, dispute.name, account, "charge.dispute.closed", ">Won</span>", ">Active</span>"):
        assert name in page


def test_programs_have_the_control_room_too(nobody):
    def control(given, key=settings.STRIPE_SECRET_KEY):
        headers = {"Authorization": f"Bearer {key}"}
        return nobody.post(
            "/-/stripe/control", json.dumps(given), content_type="application/json", headers=headers
        )

    assert control({}, key="sk_test_guessed").status_code == 401
    found = control(
        {"modes": {"webhooks": "withheld"}, "fault": {"kind": "busy", "operation": "get /v1/balance"}}
    )
    assert found.json()["modes"]["webhooks"] == "withheld"
    assert found.json()["faults"][0]["kind"] == "busy"
    assert control({"act": "funds", "value": "1500"}).json()["available"] == 1500
    assert control({"modes": {"webhooks": "loud"}}).status_code == 422
    assert control({"modes": "all"}).status_code == 400
    assert control([]).status_code == 400
    for operation in (5, None, ["get"], "get /v1/balance\0", "\0 /v1/balance"):
        assert control({"fault": {"kind": "busy", "operation": operation}}).status_code == 422


def test_what_no_path_has_is_no_fault(staff):
    assert "no path has" in act(staff, "fault", kind="busy", operation="get /v1/balance\0", times="1")
    assert not Fault.objects.exists()
