"""Customers and the cards that they save."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.sandbox import cards, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Declined, Json, Refused, missing
from billing.sandbox.serving import Call, merged, only, serves

PLAIN = ("description", "email", "name", "phone", "address", "shipping", "preferred_locales", "tax_exempt")
NOBODY: Json = {"address": None, "email": None, "name": None, "phone": None, "tax_id": None}


def make(*, now: datetime, **data: Any) -> Thing:
    """A new customer."""
    settings = {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
    }
    fresh: Json = {
        "balance": 0,
        "currency": None,
        "delinquent": False,
        "invoice_prefix": store.token(8).upper(),
        "invoice_settings": settings,
        "metadata": {},
        "tax_exempt": "none",
        "preferred_locales": [],
    }
    row = store.put("customer", {**fresh, **data}, now=now)
    events.tell("customer.created", row.data, now=now)
    return row


def find(name: str, *, param: str = "customer") -> Thing:
    return store.find("customer", name, param=param)


@serves("post", "/v1/customers")
def create(call: Call) -> Json:
    only(call, *PLAIN, "metadata", "payment_method", "invoice_settings", "tax", "tax_id_data")
    data = {name: call.get(name) for name in PLAIN if name in call.params}
    row = make(now=call.now, metadata=merged({}, call.get("metadata")), **_without_nothing(data))
    if call.get("payment_method"):
        attach(payment_method(call.params["payment_method"], now=call.now), row, now=call.now)
    _prefer(row, call)
    return dict(row.data)


def _without_nothing(data: Json) -> Json:
    return {name: value for name, value in data.items() if value is not None}


def _prefer(row: Thing, call: Call) -> None:
    """Take over `invoice_settings[default_payment_method]`, of the customer's own."""
    wanted = (call.get("invoice_settings") or {}).get("default_payment_method")
    if wanted is None:
        return
    if wanted:
        method = store.find("payment_method", wanted, param="invoice_settings[default_payment_method]")
        if method.data["customer"] != row.name:
            message = "The customer does not have a payment method with this ID."
            raise Refused(f"{message} ({wanted})", param="invoice_settings[default_payment_method]")
    store.change(
        row, invoice_settings={**row.data["invoice_settings"], "default_payment_method": wanted or None}
    )


@serves("get", "/v1/customers/{customer}")
def retrieve(call: Call) -> Json:
    row = Thing.objects.filter(kind="customer", name=call.named["customer"]).first()
    if row is None:
        raise missing("customer", call.named["customer"])
    return dict(row.data)


@serves("post", "/v1/customers/{customer}")
def update(call: Call) -> Json:
    only(call, *PLAIN, "metadata", "invoice_settings", "tax")
    row = find(call.named["customer"], param="id")
    data = {name: call.get(name) for name in PLAIN if name in call.params}
    if "metadata" in call.params:
        data["metadata"] = merged(row.data["metadata"], call.params["metadata"])
    store.change(row, **data)
    _prefer(row, call)
    events.tell("customer.updated", row.data, now=call.now)
    return dict(row.data)


@serves("delete", "/v1/customers/{customer}")
def delete(call: Call) -> Json:
    row = find(call.named["customer"], param="id")
    for method in Thing.objects.filter(kind="payment_method", data__customer=row.name):
        method.hidden = {**method.hidden, "detached": True}
        store.change(method, customer=None)
    row.data = {"id": row.name, "object": "customer", "deleted": True}
    store.change(row)
    events.tell("customer.deleted", row.data, now=call.now)
    return dict(row.data)


@serves("get", "/v1/customers")
def some(call: Call) -> Json:
    return store.listed("customer", call.params, url="/v1/customers", by=("email",))


# Cards


def usable(method: Thing) -> Thing:
    """The card, unless it was taken away from its customer. Raises Refused."""
    if method.hidden.get("detached"):
        message = "This PaymentMethod was detached from a Customer, and may not be used again."
        raise Refused(message, param="payment_method", code="payment_method_unexpected_state")
    return method


def payment_method(name: str, *, now: datetime, param: str = "payment_method") -> Thing:
    """The card of that id; a `pm_card_…` is made anew, as each use of one is a card of its own."""
    if name in cards.BY_NAME:
        return new_method(cards.BY_NAME[name], now=now)
    return usable(store.find("payment_method", name, param=param))


def new_method(card: cards.Card, *, now: datetime, billing: Json | None = None) -> Thing:
    """A card that was just typed in."""
    data = {
        "allow_redisplay": "unspecified",
        "billing_details": {**NOBODY, **(billing or {})},
        "card": cards.described(card, now_year=now.year),
        "metadata": {},
        "type": "card",
    }
    return store.put("payment_method", data, now=now, card=card.name)


def card_of(method: Thing) -> cards.Card:
    return cards.BY_NAME[f"pm_card_{method.hidden['card']}"]


def attach(method: Thing, customer: Thing, *, now: datetime, is_set_up: bool = False) -> None:
    """Save a card with a customer. Raises Declined for one that cannot be saved, Refused for somebody else's."""
    if method.data["customer"] not in {None, customer.name}:
        raise Refused("This payment method is attached to another customer.", param="payment_method")
    card = card_of(method)
    if not card.attaches:
        why = cards.message(card.code, card.decline_code)
        raise Declined(
            why, code=card.code, **({"decline_code": card.decline_code} if card.decline_code else {})
        )
    is_new = method.data["customer"] is None
    method.hidden = {**method.hidden, "is_set_up": method.hidden.get("is_set_up", False) or is_set_up}
    store.change(method, customer=customer.name)
    if is_new:
        events.tell("payment_method.attached", method.data, now=now)


@serves("post", "/v1/payment_methods")
def create_method(call: Call) -> Json:
    only(call, "type", "card", "billing_details", "metadata", "allow_redisplay")
    if call.get("type") != "card":
        raise Refused("The sandbox plays cards only.", param="type", code="sandbox_unsupported")
    given = call.get("card") or {}
    card = cards.BY_TOKEN.get(given.get("token", "")) or cards.BY_NUMBER.get(given.get("number", ""))
    if card is None:
        raise Refused("The sandbox knows test cards only.", param="card", code="incorrect_number")
    row = new_method(card, now=call.now, billing=call.get("billing_details"))
    return dict(store.change(row, metadata=merged({}, call.get("metadata"))).data)


@serves("get", "/v1/payment_methods/{payment_method}")
def retrieve_method(call: Call) -> Json:
    return dict(store.find("payment_method", call.named["payment_method"]).data)


@serves("post", "/v1/payment_methods/{payment_method}/attach")
def attach_method(call: Call) -> Json:
    only(call, "customer")
    method = payment_method(call.named["payment_method"], now=call.now)
    attach(method, find(call.params.get("customer", "")), now=call.now)
    return dict(method.data)


@serves("post", "/v1/payment_methods/{payment_method}/detach")
def detach_method(call: Call) -> Json:
    method = store.find("payment_method", call.named["payment_method"])
    detach(method, now=call.now)
    return dict(method.data)


def detach(method: Thing, *, now: datetime) -> None:
    """Take a card away from its customer, for good. Raises Refused if nobody has it."""
    owner = Thing.objects.filter(kind="customer", name=method.data["customer"] or "").first()
    if owner is None:
        raise Refused("The payment method is not attached to a customer.", param="payment_method")
    method.hidden = {**method.hidden, "detached": True}
    store.change(method, customer=None)
    if (owner.data.get("invoice_settings") or {}).get("default_payment_method") == method.name:
        store.change(
            owner, invoice_settings={**owner.data["invoice_settings"], "default_payment_method": None}
        )
    events.tell("payment_method.detached", method.data, now=now, before={"customer": owner.name})


@serves("get", "/v1/payment_methods")
def some_methods(call: Call) -> Json:
    if "customer" not in call.params:
        raise Refused("The sandbox lists the cards of a customer.", param="customer")
    return store.listed("payment_method", call.params, url="/v1/payment_methods", by=("customer", "type"))


@serves("get", "/v1/customers/{customer}/payment_methods")
def methods_of(call: Call) -> Json:
    owner = find(call.named["customer"], param="customer")
    url = f"/v1/customers/{owner.name}/payment_methods"
    return store.listed(
        "payment_method", call.params, url=url, matching={"customer": owner.name}, by=("type",)
    )


@serves("get", "/v1/customers/{customer}/payment_methods/{payment_method}")
def method_of(call: Call) -> Json:
    method = store.find("payment_method", call.named["payment_method"])
    if method.data["customer"] != call.named["customer"]:
        raise missing("payment_method", method.name)
    return dict(method.data)
