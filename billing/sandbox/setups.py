"""Setup intents: a card is saved for later, without a payment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.sandbox import cards, charges, customers, events, store
from billing.sandbox.models import Thing
from billing.sandbox.refusals import Declined, Json, Refused, unexpected
from billing.sandbox.serving import Call, merged, only, serves

OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}


def make(*, now: datetime, **data: Any) -> Thing:
    """A new one."""
    name = store.new_name("setup_intent")
    fresh = {
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "metadata": {},
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "status": "requires_confirmation" if data.get("payment_method") else "requires_payment_method",
        "usage": "off_session",
    }
    given = {"id": name, "client_secret": f"{name}_secret_{store.token(24)}"}
    row = store.put("setup_intent", {**fresh, **given, **data}, now=now)
    events.tell("setup_intent.created", row.data, now=now)
    return row


@serves("post", "/v1/setup_intents")
def create(call: Call) -> Json:
    only(
        call, "automatic_payment_methods", "confirm", "customer", "description", "metadata",
        "payment_method", "payment_method_types", "return_url", "usage",
    )  # fmt: skip
    data: Json = {name: call.get(name) for name in ("customer", "description") if name in call.params}
    if data.get("customer"):
        customers.find(data["customer"])
    data |= {"usage": call.get("usage", "off_session"), "metadata": merged({}, call.get("metadata"))}
    if call.get("payment_method"):
        data["payment_method"] = customers.payment_method(call.params["payment_method"], now=call.now).name
    row = make(now=call.now, **data)
    if call.get("confirm"):
        _confirm(row, call)
    return dict(row.data)


@serves("get", "/v1/setup_intents/{intent}")
def retrieve(call: Call) -> Json:
    call.params.pop("client_secret", None)
    return dict(store.find("setup_intent", call.named["intent"], param="intent").data)


@serves("get", "/v1/setup_intents")
def some(call: Call) -> Json:
    by = ("customer", "payment_method")
    return store.listed("setup_intent", call.params, url="/v1/setup_intents", by=by)


@serves("post", "/v1/setup_intents/{intent}/confirm")
def confirm(call: Call) -> Json:
    only(call, "payment_method", "return_url")
    row = store.find("setup_intent", call.named["intent"], param="intent")
    _must_be_open(row)
    if call.get("payment_method"):
        found = customers.payment_method(call.params["payment_method"], now=call.now)
        store.change(row, payment_method=found.name)
    _confirm(row, call)
    return dict(row.data)


@serves("post", "/v1/setup_intents/{intent}/cancel")
def cancel(call: Call) -> Json:
    only(call, "cancellation_reason")
    row = store.find("setup_intent", call.named["intent"], param="intent")
    _must_be_open(row)
    give_up(row, reason=call.get("cancellation_reason"), now=call.now)
    return dict(row.data)


def give_up(row: Thing, *, reason: str | None, now: datetime) -> None:
    """No card is saved by it any more, also not one whose holder is being asked."""
    store.change(row, status="canceled", cancellation_reason=reason, next_action=None)
    events.tell("setup_intent.canceled", row.data, now=now)


def _must_be_open(row: Thing) -> None:
    if row.data["status"] not in OPEN:
        message = f"This SetupIntent could not be changed because it has a status of {row.data['status']}."
        raise unexpected(message, code="setup_intent_unexpected_state", setup_intent=row.data)


def _confirm(row: Thing, call: Call) -> None:
    method = row.data["payment_method"] and store.find("payment_method", row.data["payment_method"])
    if not method:
        raise Refused("This SetupIntent has no payment method.", param="payment_method")
    error = attempt(row, method, now=call.now, return_url=call.get("return_url", ""))
    if error is not None:
        told = {name: error[name] for name in ("code", "decline_code") if error.get(name)}
        raise Declined(error["message"], **told, setup_intent=row.data, payment_method=method.data)


def attempt(row: Thing, method: Thing, *, now: datetime, return_url: str = "") -> Json | None:
    """Save the card: done, waiting for its holder, or the error of a decline, which is returned."""
    card = customers.card_of(method)
    store.change(row, payment_method=method.name, last_setup_error=None, next_action=None)
    if card.behaviour.startswith("authenticates"):
        url = charges.page(f"authenticate/{row.data['client_secret']}")
        way = {"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": return_url}}
        row.hidden = {**row.hidden, "return_url": return_url}
        store.change(row, status="requires_action", next_action=way)
        events.tell("setup_intent.requires_action", row.data, now=now)
        return None
    if not card.attaches:
        return _failed(row, method, now=now, code=card.code, decline=card.decline_code)
    _succeed(row, method, now=now)
    return None


def authenticated(row: Thing, *, is_approved: bool, now: datetime) -> None:
    """The holder of the card was asked, and answered. Raises Refused if nobody asks."""
    if row.data["status"] != "requires_action":
        raise unexpected("Nobody is asked about this card.", code="setup_intent_unexpected_state")
    method = store.find("payment_method", row.data["payment_method"])
    store.change(row, next_action=None)
    if is_approved:
        _succeed(row, method, now=now)
    else:
        _failed(row, method, now=now, code="setup_intent_authentication_failure", decline="")


def _succeed(row: Thing, method: Thing, *, now: datetime) -> None:
    if row.data["customer"]:
        owner = customers.find(row.data["customer"])
        customers.attach(method, owner, now=now, is_set_up=row.data["usage"] == "off_session")
    store.change(row, status="succeeded")
    events.tell("setup_intent.succeeded", row.data, now=now)


def _failed(row: Thing, method: Thing, *, now: datetime, code: str, decline: str) -> Json:
    error = {"type": "card_error", "code": code, "message": cards.message(code, decline)}
    if decline:
        error["decline_code"] = decline
    store.change(
        row,
        status="requires_payment_method",
        payment_method=None,
        last_setup_error={**error, "payment_method": method.data},
    )
    events.tell("setup_intent.setup_failed", row.data, now=now)
    return error
