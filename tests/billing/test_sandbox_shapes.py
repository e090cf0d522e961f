"""What the sandbox answers has the shape that the library's own classes say: nothing missing, nothing made up."""

from __future__ import annotations

import typing
from datetime import timedelta
from importlib import import_module

import pytest
from django.utils import timezone
from stripe._object_classes import OBJECT_CLASSES, V2_OBJECT_CLASSES

from billing.sandbox import asking, balances, cards, checkout, clockwork, disputes, rooms, store
from billing.sandbox.models import Thing

pytestmark = pytest.mark.django_db
# Of what the library's classes have no word, though the API sends it: a thin event says what it is about.
BESIDES = {"v2.core.event": {"related_object"}, "v2.core.account_link": {"id"}}
# Refers to parts that are expanded, or that the API leaves out for tests.
LEFT_OUT = {"reversals", "payments"}


def class_of(name):
    module, found = (V2_OBJECT_CLASSES if name.startswith("v2.") else OBJECT_CLASSES)[name]
    return getattr(import_module(module), found)


def literals(hint):
    """The texts that a member may be; None where it may be any."""
    if typing.get_origin(hint) is typing.Literal:
        return set(typing.get_args(hint))
    found = [literals(one) for one in typing.get_args(hint) if one not in {str, type(None)}]
    return set().union(*found) if found and all(one is not None for one in found) else None


def wrong_with(cls, data, where):
    """How an object differs from its class, in sentences."""
    hints = {name: hint for name, hint in vars(cls)["__annotations__"].items() if "ClassVar" not in str(hint)}
    for name, hint in hints.items():
        is_optional = "Optional" in str(hint) or type(None) in typing.get_args(hint)
        if name not in data and not is_optional and name not in LEFT_OUT:
            yield f"{where}.{name} is missing"
        if data.get(name) is None and name in data and not is_optional:
            yield f"{where}.{name} is null"
        allowed = literals(hint)
        if allowed is not None and isinstance(data.get(name), str) and data[name] not in allowed:
            yield f"{where}.{name} is {data[name]!r}"
    for name in data.keys() - hints.keys() - BESIDES.get(data.get("object"), set()):
        yield f"{where}.{name} is no member"
    for name, inner in getattr(cls, "_inner_class_types", {}).items():
        for one in data.get(name) if isinstance(data.get(name), list) else [data.get(name)]:
            if isinstance(one, dict) and one.get("object") is None and "__annotations__" in vars(inner):
                yield from wrong_with(inner, one, f"{where}.{name}")


def ask(path, given, verb="post", **more):
    answer = asking.answer(verb, path, given, now=timezone.now(), is_text=False, **more)
    assert answer.status in {200, 402}, answer.body
    return answer.body


def paid(card, **more):
    line = {
        "quantity": 2,
        "price_data": {"currency": "usd", "unit_amount": 1500, "product_data": {"name": "Credit"}},
    }
    made = ask(
        "/v1/checkout/sessions",
        {"mode": "payment", "line_items": [line], "success_url": "http://127.0.0.1/", **more},
    )
    row = store.find(checkout.KIND, made["id"])
    checkout.pay(row, cards.BY_NAME[f"pm_card_{card}"], now=timezone.now(), email="a@b.c", country="DE")
    return row


def everything():
    """One of everything, in every state that this can bring about."""
    paid("visa", automatic_tax={"enabled": True}, invoice_creation={"enabled": True})
    for card in ("chargeDeclined", "authenticationRequired", "createDispute", "slow", "slowFails"):
        paid(card, payment_intent_data={"setup_future_usage": "off_session"})
    setup = {"mode": "setup", "currency": "usd", "success_url": "http://127.0.0.1/"}
    row = store.find(checkout.KIND, ask("/v1/checkout/sessions", setup)["id"])
    checkout.pay(row, cards.BY_NAME["pm_card_authenticationRequired"], now=timezone.now(), email="a@b.c")
    ask("/v1/checkout/sessions", setup)
    charge = Thing.objects.filter(kind="charge", data__paid=True, data__disputed=False).first()
    ask("/v1/refunds", {"charge": charge.name, "amount": 100})
    ask("/v1/customers", {"email": "a@b.c", "payment_method": "pm_card_visa"})
    ask("/v1/billing_portal/sessions", {"customer": Thing.objects.filter(kind="customer").first().name})
    account = recipient()
    balances.write("topup", 5000, source="tu_1", now=timezone.now())
    transfer = ask("/v1/transfers", {"amount": 900, "currency": "usd", "destination": account})
    ask(f"/v1/transfers/{transfer['id']}/reversals", {"amount": 100})
    ask("/v1/payouts", {"amount": 100, "currency": "usd"}, account=account)
    ask("/v1/webhook_endpoints", {"url": "http://127.0.0.1:1/x", "enabled_events": ["*"]})
    dispute = Thing.objects.filter(kind="dispute").first()
    disputes.close(dispute, "won", now=timezone.now())
    clockwork.advance(timezone.now() + timedelta(hours=25))


def recipient():
    given = {
        "dashboard": "express",
        "display_name": "Pia",
        "identity": {"country": "us"},
        "configuration": {
            "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
        },
        "defaults": {
            "responsibilities": {"fees_collector": "application", "losses_collector": "application"}
        },
    }
    account = ask("/v2/core/accounts", given)["id"]
    ways = {"refresh_url": "http://127.0.0.1/"}
    ask(
        "/v2/core/account_links",
        {"account": account, "use_case": {"type": "account_onboarding", "account_onboarding": ways}},
    )
    rooms.accounts.onboard(rooms.accounts.find(account), "active", now=timezone.now(), name="Pia Pub")
    return account


def test_every_object_has_the_shape_of_its_class():
    everything()
    kinds = set(Thing.objects.values_list("kind", flat=True))
    assert len(kinds) >= 19
    wrong = {
        f"{sentence} ({row.data['type']})" if row.kind == "event" else sentence
        for row in Thing.objects.all()
        for sentence in wrong_with(class_of(row.kind), row.data, row.kind)
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_answers_that_are_kept_nowhere_have_it_too():
    account = recipient()
    found = ask(f"/v1/accounts/{account}", {}, "get")
    balance = ask("/v1/balance", {}, "get")
    link = ask(f"/v1/accounts/{account}/login_links", {})
    wrong = [
        one
        for data in (found, balance, link)
        for one in wrong_with(class_of(data["object"]), data, data["object"])
    ]
    assert wrong == []
